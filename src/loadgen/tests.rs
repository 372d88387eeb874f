//! Tests of loads on a small peer with a one-byte dialect, which stalls on demand.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use testkit::let_pass;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;

use super::*;

/// The length of a stall: far longer than anything else here takes.
const STALL: Duration = Duration::from_millis(400);

/// A latency that only a stall can cause.
const LONG_NANOS: u64 = 200_000_000;

/// A request is `?`. A reply is `.`, or `!` for a failure; other bytes are invalid.
struct OneByte;

impl Dialect for OneByte {
    fn greeting(&self, _: &[u8]) -> Result<Option<usize>, String> {
        Ok(Some(0))
    }

    fn requests(&self, in_flight: usize) -> Result<Vec<Vec<u8>>, String> {
        Ok(vec![b"?".to_vec(); in_flight])
    }

    fn reply(&self, received: &[u8]) -> Result<Option<Reply>, String> {
        match received.first() {
            None => Ok(None),
            Some(b'.') => Ok(Some(Reply::in_order(1))),
            Some(b'!') => Ok(Some(Reply { failure: Some("no".to_owned()), ..Reply::in_order(1) })),
            Some(_) => Err("that is no reply".to_owned()),
        }
    }
}

/// The peer's behaviour.
#[derive(Clone, Copy)]
struct Manner {
    /// The byte sent for every reply.
    reply: u8,
    /// The peer stalls before this reply of each connection.
    stall_at: Option<usize>,
    /// The peer closes the connection after this reply.
    close_at: Option<usize>,
}

const GOOD: Manner = Manner { reply: b'.', stall_at: None, close_at: None };

async fn peer(manner: Manner) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, manner));
        }
    });
    Peer { address, tls: None, dialect: Arc::new(OneByte) }
}

async fn serve(mut stream: TcpStream, manner: Manner) {
    let mut buffer = [0; 256];
    let mut answered = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let stalls = manner.stall_at.is_some_and(|at| (answered..answered + count).contains(&at));
        if stalls {
            spawn_blocking(|| let_pass(STALL)).await.unwrap();
        }
        answered += count;
        let is_sent = stream.write_all(&vec![manner.reply; count]).await.is_ok();
        if !is_sent || manner.close_at.is_some_and(|at| at <= answered) {
            return;
        }
    }
}

fn plan(connections: usize, in_flight: usize, pace: Pace) -> Plan {
    Plan { connections, in_flight, pace, warm_up: Duration::ZERO, time: Duration::from_secs(1) }
}

fn on_and_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Runs a load on one thread, as programs do.
fn on_one_thread<T>(load: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(load)
}

fn long(histogram: &hdrhistogram::Histogram<u64>) -> u64 {
    histogram.count_between(LONG_NANOS, u64::MAX)
}

#[test]
fn a_closed_loop_shows_a_stall_once_and_corrected_as_often_as_it_was_felt() {
    let report = on_one_thread(async {
        let peer = peer(Manner { stall_at: Some(100), ..GOOD }).await;
        run(&peer, &plan(1, 1, Pace::Closed), &on_and_on).await.unwrap()
    });
    assert!((1..=3).contains(&long(&report.latency)), "{report:?}");
    assert!(long(&report.corrected) >= 100, "{}", long(&report.corrected));
    assert!(report.latency.max() >= STALL.as_nanos() as u64);
}

#[test]
fn an_open_loop_shows_a_stall_in_all_requests_that_were_due_in_it() {
    let report = on_one_thread(async {
        let peer = peer(Manner { stall_at: Some(100), ..GOOD }).await;
        run(&peer, &plan(1, 1, Pace::Open { per_second: 1000.0 }), &on_and_on).await.unwrap()
    });
    // Requests due in the first half of the stall waited longer than those of the second.
    assert!(long(&report.latency) >= 190, "{}", long(&report.latency));
    assert_eq!(report.latency.len() + report.unanswered, 1000);
    assert_eq!(report.corrected, report.latency);
}

#[test]
fn an_open_loop_sends_at_its_rate() {
    let report = on_one_thread(async {
        let peer = peer(GOOD).await;
        run(&peer, &plan(7, 2, Pace::Open { per_second: 2000.0 }), &on_and_on).await.unwrap()
    });
    assert_eq!(report.latency.len() + report.unanswered, 2000);
    assert_eq!(report.per_interval.len(), 10);
    assert_eq!(report.per_interval.iter().sum::<u64>(), report.replies);
}

#[test]
fn an_open_loop_that_is_not_kept_up_with_tells_what_is_left() {
    let report = on_one_thread(async {
        let peer = peer(Manner { stall_at: Some(0), ..GOOD }).await;
        let plan = Plan { time: Duration::from_millis(50), ..plan(1, 1, Pace::Open { per_second: 1e8 }) };
        run(&peer, &plan, &on_and_on).await.unwrap()
    });
    assert_eq!(report.replies, 0);
    assert!(report.unanswered > 1_000_000, "{report:?}");
}

#[test]
fn failures_are_counted_by_what_they_say() {
    let report = on_one_thread(async {
        let peer = peer(Manner { reply: b'!', ..GOOD }).await;
        run(&peer, &plan(2, 16, Pace::Closed), &on_and_on).await.unwrap()
    });
    assert!(report.replies > 100, "{report:?}");
    assert_eq!(report.failures.into_iter().collect::<Vec<_>>(), [("no".to_owned(), report.replies)]);
}

#[test]
fn what_ends_a_load_is_told() {
    on_one_thread(async {
        let closed_plan = plan(2, 1, Pace::Closed);
        let closing = peer(Manner { close_at: Some(50), ..GOOD }).await;
        let error = run(&closing, &closed_plan, &on_and_on).await.unwrap_err();
        assert!(matches!(error, LoadError::Closed { replies: 50 }), "{error:?}");
        let babbling = peer(Manner { reply: b'x', ..GOOD }).await;
        let error = run(&babbling, &closed_plan, &on_and_on).await.unwrap_err();
        assert_eq!(error.to_string(), "that is no reply");
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = run(&Peer { address: free, ..babbling }, &closed_plan, &on_and_on).await.unwrap_err();
        assert!(error.is_unreachable(), "{error:?}");
        for nonsense in [
            plan(0, 1, Pace::Closed),
            plan(1, 0, Pace::Closed),
            plan(1, 1, Pace::Open { per_second: 0.0 }),
            plan(1, 1, Pace::Open { per_second: f64::NAN }),
            Plan { time: Duration::ZERO, ..plan(1, 1, Pace::Closed) },
        ] {
            let error = run(&closing, &nonsense, &on_and_on).await.unwrap_err();
            assert!(matches!(error, LoadError::Plan(_)), "{error:?}");
        }
    });
}

#[test]
fn a_load_ends_early_with_what_it_has() {
    let report = on_one_thread(async {
        let peer = peer(GOOD).await;
        let stop = |progress: Progress| {
            let is_enough = progress.elapsed >= Duration::from_millis(300);
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let plan = Plan { time: Duration::from_secs(3600), ..plan(3, 4, Pace::Open { per_second: 500.0 }) };
        run(&peer, &plan, &stop).await.unwrap()
    });
    assert!(report.elapsed >= Duration::from_millis(300) && report.elapsed < Duration::from_secs(60));
    assert!(report.replies > 0 && report.per_interval.len() >= 3, "{report:?}");
}

#[test]
fn a_load_that_ends_in_its_warm_up_has_measured_nothing() {
    for pace in [Pace::Closed, Pace::Open { per_second: 1000.0 }] {
        let report = on_one_thread(async {
            let peer = peer(GOOD).await;
            let plan = Plan { warm_up: Duration::from_secs(3600), ..plan(2, 1, pace) };
            run(&peer, &plan, &|_| ControlFlow::Break(())).await.unwrap()
        });
        assert_eq!((report.replies, report.unanswered, report.elapsed), (0, 0, Duration::ZERO), "{report:?}");
        assert!(report.latency.is_empty() && report.per_second() == 0.0 && report.cpu_share() == 0.0);
    }
}

#[test]
fn only_what_follows_the_warm_up_is_measured() {
    let report = on_one_thread(async {
        // The stall happens in the warm-up, and ends before it.
        let peer = peer(Manner { stall_at: Some(10), ..GOOD }).await;
        let plan = Plan { warm_up: 2 * STALL, ..plan(1, 1, Pace::Open { per_second: 100.0 }) };
        run(&peer, &plan, &on_and_on).await.unwrap()
    });
    assert_eq!(report.latency.len() + report.unanswered, 100);
    assert!(report.latency.max() < STALL.as_nanos() as u64, "{report:?}");
}

#[test]
fn connections_are_made_again_and_again_or_held() {
    on_one_thread(async {
        let peer = peer(GOOD).await;
        let plan = HandshakePlan { concurrent: 4, warm_up: Duration::ZERO, time: Duration::from_millis(300) };
        let report = handshakes(&peer, &plan, &on_and_on).await.unwrap();
        assert!(report.replies > 4 && report.failures.is_empty(), "{report:?}");
        let mut held = hold(&peer, 200).await.unwrap();
        assert_eq!(held.still_idle().await, 200);
    });
}
