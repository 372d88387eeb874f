//! Guests see ticks, counted or not.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};

use wasmtime::{Config, Instance, Module, Store, UpdateDeadline};

use super::*;
use crate::telemetry::metrics;

/// Longest wait for an event that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the number of ticks seen by uncounted guests.
fn uncounted() -> u64 {
    let mut counted = metrics::counted();
    counted.find(|(name, _)| *name == "lictor_guests_uncounted_total").map_or(0, |(_, count)| count)
}

fn engine() -> Engine {
    Engine::new(Config::new().epoch_interruption(true)).unwrap()
}

/// Runs a guest that loops for ever, until it has yielded so many times; each poll goes through `poll`.
fn loop_until_it_yields(engine: &Engine, times: u32, poll: fn(&mut dyn FnMut() -> bool) -> bool) {
    let text = "(module (func (export \"run\") (loop (br 0))))";
    let module = Module::new(engine, wat::parse_str(text).unwrap()).unwrap();
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|_| {
        note_tick();
        Ok(UpdateDeadline::Yield(1))
    });
    let mut running = pin!(async {
        let instance = Instance::new_async(&mut store, &module, &[]).await.unwrap();
        let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
        run.call_async(&mut store, ()).await
    });
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..times {
        assert!(poll(&mut || running.as_mut().poll(&mut cx).is_pending()), "it ended");
    }
}

/// Does `work` on a separate thread, since it would not return if the guest never yielded.
#[track_caller]
fn in_time(work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        work();
        done.send(())
    });
    is_done.recv_timeout(PATIENCE).expect("the guest yields");
}

/// Waits until the ticker dozes, provided that nobody else enters a guest.
fn wait_for_a_doze() {
    testkit::eventually("the ticker to doze", || IS_DOZING.load(Ordering::SeqCst).then_some(()));
}

#[test]
fn a_guest_that_nobody_counts_yields_all_the_same() {
    let (engine, ticker) = (engine(), Ticker::start().unwrap());
    ticker.add(engine.clone());
    wait_for_a_doze();
    let before = uncounted();
    in_time(move || loop_until_it_yields(&engine, 3, |poll| poll()));
    assert!(uncounted() >= before + 3);
}

#[test]
fn an_entry_wakes_a_ticker_that_dozes_and_is_counted_until_it_is_left() {
    let (engine, ticker) = (engine(), Ticker::start().unwrap());
    ticker.add(engine.clone());
    wait_for_a_doze();
    in_time(move || {
        loop_until_it_yields(&engine, 3, |poll| {
            entered(|| {
                assert!(ENTRIES.with(Entries::has_entered));
                poll()
            })
        });
        assert!(!ENTRIES.with(Entries::has_entered));
    });
}

#[test]
fn entries_within_an_entry_are_that_one_and_a_panic_ends_it() {
    let is_counted = || ENTRIES.with(Entries::has_entered);
    let entries = || ENTRIES.with(|entries| entries.0.load(Ordering::Relaxed));
    let before = entries();
    entered(|| {
        entered(|| assert!(is_counted()));
        assert!(is_counted());
    });
    assert!(!is_counted());
    assert_eq!(entries(), before + 2);
    assert!(std::panic::catch_unwind(|| entered(|| panic!("in the guest"))).is_err());
    assert!(!is_counted());
}

#[test]
fn the_entries_of_a_thread_go_with_it() {
    let entries = thread::spawn(|| {
        entered(|| ());
        ENTRIES.with(|entries| Arc::as_ptr(&entries.0) as usize)
    });
    let entries = entries.join().unwrap();
    assert!(!locked(&THREADS).iter().any(|known| Arc::as_ptr(known) as usize == entries));
}
