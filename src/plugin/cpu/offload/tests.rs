//! Calls that compute, wait, end and break off, all on one compute thread.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::*;

/// Computes until `is_over`, tick by tick; counts its ticks, and notes their threads.
async fn computes(is_over: Arc<AtomicBool>, ticks: Arc<AtomicUsize>) -> Vec<Option<String>> {
    let mut threads = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        threads.push(thread::current().name().map(str::to_owned));
        ticks.fetch_add(1, Ordering::Relaxed);
        super::yield_now().await;
    }
    threads
}

fn flags() -> (Arc<AtomicBool>, Arc<AtomicUsize>) {
    (Arc::default(), Arc::default())
}

async fn until(what: impl Fn() -> bool) {
    let waits = async {
        while !what() {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), waits).await.expect("it comes true");
}

#[tokio::test]
async fn what_computes_goes_on_elsewhere_and_comes_back_with_what_it_gives() {
    let pool = OffloadPool::of(1).unwrap();
    let (is_over, ticks) = flags();
    let call = Box::pin(computes(Arc::clone(&is_over), Arc::clone(&ticks)));
    let call = tokio::spawn(pool.offload(call));
    until(|| ticks.load(Ordering::Relaxed) > 2).await;
    is_over.store(true, Ordering::Relaxed);
    let threads = call.await.unwrap();
    assert!(threads[0].as_deref() != Some("compute"), "it begins in its task");
    assert!(threads[1..].iter().all(|name| name.as_deref() == Some("compute")), "{threads:?}");
}

#[tokio::test]
async fn many_get_one_tick_each() {
    const CALLS: usize = 4;
    let pool = OffloadPool::of(1).unwrap();
    let order = Arc::new(Mutex::new((Vec::new(), [0; CALLS])));
    let yields = |call: usize| {
        let order = Arc::clone(&order);
        async move {
            while order.lock().unwrap().1.iter().any(|had| *had < 100) {
                {
                    let mut order = order.lock().unwrap();
                    order.0.push(call);
                    order.1[call] += 1;
                }
                super::yield_now().await;
            }
        }
    };
    let tasks: Vec<_> = (0..CALLS).map(|call| tokio::spawn(pool.offload(Box::pin(yields(call))))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let order = &order.lock().unwrap().0;
    // Before that, the calls that have begun alternate alone.
    let begun = (0..CALLS).map(|call| order.iter().position(|of| *of == call).unwrap()).max().unwrap();
    for round in order[begun..].windows(CALLS) {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), CALLS, "{order:?}");
    }
}

#[tokio::test]
async fn what_waits_for_something_waits_in_its_task() {
    let pool = OffloadPool::of(1).unwrap();
    let (answer, asked) = oneshot::channel();
    let call = Box::pin(async move {
        super::yield_now().await;
        let there = thread::current().name().map(str::to_owned);
        let answer: u32 = asked.await.unwrap();
        super::yield_now().await;
        (there, answer)
    });
    let call = tokio::spawn(pool.offload(call));
    // The only thread is free for others meanwhile.
    let (is_over, ticks) = flags();
    let other = tokio::spawn(pool.offload(Box::pin(computes(Arc::clone(&is_over), Arc::clone(&ticks)))));
    until(|| ticks.load(Ordering::Relaxed) > 2).await;
    answer.send(7).unwrap();
    assert_eq!(call.await.unwrap(), (Some("compute".to_owned()), 7));
    is_over.store(true, Ordering::Relaxed);
    other.await.unwrap();
}

/// One call spins without end on the only thread; the deadline of another, which waits in the queue, holds.
#[tokio::test]
async fn a_deadline_is_met_however_long_the_queue() {
    let pool = OffloadPool::of(1).unwrap();
    let (is_over, ticks) = flags();
    let hog = {
        let (is_over, ticks) = (Arc::clone(&is_over), Arc::clone(&ticks));
        Box::pin(async move {
            super::yield_now().await;
            ticks.fetch_add(1, Ordering::Relaxed);
            while !is_over.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        })
    };
    let hog = tokio::spawn(pool.offload(hog));
    until(|| ticks.load(Ordering::Relaxed) == 1).await;
    let (never, _) = flags();
    let call = timeout(Duration::from_millis(20), computes(never, Arc::default()));
    let call = tokio::spawn(pool.offload(Box::pin(call)));
    assert!(call.await.unwrap().is_err());
    is_over.store(true, Ordering::Relaxed);
    hog.await.unwrap();
}

#[tokio::test]
async fn what_is_dropped_stops_and_frees_what_it_holds() {
    let pool = OffloadPool::of(1).unwrap();
    let (never, ticks) = flags();
    let held = Arc::new(());
    let hold = Arc::clone(&held);
    let counted = Arc::clone(&ticks);
    let call = Box::pin(async move {
        let _held = hold;
        computes(never, counted).await
    });
    let call = tokio::spawn(pool.offload(call));
    until(|| ticks.load(Ordering::Relaxed) > 2).await;
    call.abort();
    until(|| Arc::strong_count(&held) == 1).await;
}

#[tokio::test]
async fn a_panic_comes_back_and_the_thread_goes_on() {
    let pool = OffloadPool::of(1).unwrap();
    let panics = Box::pin(async {
        super::yield_now().await;
        panic!("of a call");
    });
    let ended = tokio::spawn(pool.offload(panics)).await;
    assert!(ended.is_err_and(|error| error.is_panic()));
    let goes_on = Box::pin(async {
        super::yield_now().await;
        1
    });
    assert_eq!(tokio::spawn(pool.offload(goes_on)).await.unwrap(), 1);
}

#[tokio::test]
async fn what_will_not_be_moved_computes_on_where_it_is() {
    let mut polls = 0;
    let here = thread::current().id();
    let call = async {
        super::yield_now().await;
        thread::current().id()
    };
    let mut call = std::pin::pin!(call);
    let computed = poll_fn(|cx| {
        polls += 1;
        call.as_mut().poll(cx)
    });
    assert_eq!((computed.await, polls), (here, 2));
}
