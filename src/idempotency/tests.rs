//! Tests of the ledger's guarantees, over an engine with a stopped clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::time::advance;

use super::record::PART_BYTES;
use super::{Asked, Claim, Claimed, Kept, Ledger, Limits, full};
use crate::state::{Clock, Engine, MemoryEngine, Namespace, Quota, Store, Usage};
use crate::wire::{Code, CommandError, Decoder, Outcome, Reply, Request};

const LIMITS: Limits =
    Limits { window: Duration::from_secs(60), max_keys: 10, max_bytes: 8 << 20, of_clients: BTreeMap::new() };

/// A request as it would arrive over the wire.
pub(super) fn request(line: &str, headers: &str, body: &str) -> Request {
    let text = format!("{line}\r\n{headers}Size: {}\r\n\r\n{body}", body.len());
    Decoder::new(1 << 20).decode(&mut BytesMut::from(text.as_bytes())).unwrap().unwrap()
}

#[derive(Default)]
struct HeldClock(AtomicU64);

impl HeldClock {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HeldClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Fixture {
    ledger: Ledger,
    engine: Arc<MemoryEngine>,
    clock: Arc<HeldClock>,
}

fn fixture(limits: Limits) -> Fixture {
    let clock = Arc::new(HeldClock::default());
    let engine = Arc::new(MemoryEngine::with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
    Fixture { ledger: Ledger::new(Arc::clone(&engine) as Arc<dyn Engine>, limits), engine, clock }
}

impl Fixture {
    /// Asks for `line` under `key`; `has_begun` tells whether the command has begun.
    async fn ask(&self, client: &str, key: &str, line: &str, has_begun: &Arc<AtomicBool>) -> Claimed<()> {
        let (client, request, begun) = (client.into(), request(line, "", ""), Arc::clone(has_begun));
        let asked = Asked { client: &client, key, request: &request, time_left: Duration::from_secs(5) };
        self.ledger.claim(asked, (), move || begun.load(Ordering::SeqCst)).await
    }

    async fn claim(&self, key: &str) -> Claim<()> {
        match self.ask("a", key, "pay", &Arc::default()).await {
            Claimed::Free(claim) => claim,
            Claimed::Kept(_) => panic!("{key} is not free"),
            Claimed::Refused(error) => panic!("{key} is not free: {error:?}"),
        }
    }

    /// Runs a request to its end.
    async fn settle(&self, key: &str, answer: &Reply) {
        let settled = self.claim(key).await.settle(answer.clone(), ()).await;
        assert_eq!(settled.map(|(answer, ..)| answer).as_ref(), Some(answer));
    }

    async fn told_for(&self, client: &str, key: &str, line: &str) -> Reply {
        match self.ask(client, key, line, &Arc::default()).await {
            Claimed::Refused(error) => Err(error),
            Claimed::Kept(kept) => {
                let bytes = kept.bytes();
                let answer = kept.read().await.expect("it is still there");
                assert!(answer.as_ref().map_or(0, Vec::len) <= bytes, "{key}");
                answer
            }
            Claimed::Free(_) => panic!("{key} is free"),
        }
    }

    async fn kept(&self, key: &str) -> Kept {
        match self.ask("a", key, "pay", &Arc::default()).await {
            Claimed::Kept(kept) => kept,
            Claimed::Free(_) | Claimed::Refused(_) => panic!("{key} is not kept"),
        }
    }

    async fn told(&self, key: &str) -> Reply {
        self.told_for("a", key, "pay").await
    }

    /// Waits for the final writes of dropped claims.
    async fn settled(&self) {
        self.ledger.close().await;
    }

    async fn usage(&self) -> Usage {
        let quota = Quota { max_keys: 1, max_bytes: 1 };
        let store: Arc<dyn Store> =
            self.engine.open(Namespace::new("@idempotency", "a"), quota).await.unwrap();
        store.usage().await.unwrap()
    }
}

#[track_caller]
fn is_refused(answer: &Reply, code: Code, outcome: Outcome, words: &str) {
    let error = answer.as_ref().expect_err("a refusal");
    assert_eq!((error.code, error.outcome), (code, outcome), "{error:?}");
    assert!(error.message.contains(words), "{error:?}");
}

#[tokio::test]
async fn an_answer_is_given_again_until_its_window_has_passed() {
    let fixture = fixture(LIMITS);
    for (key, answer) in [
        ("ok", Ok(b"paid".to_vec())),
        ("empty", Ok(Vec::new())),
        ("failed", Err(CommandError::failed(Code::NotFound, "no such account"))),
        ("unknown", Err(CommandError::unknown(Code::Timeout, "too slow"))),
    ] {
        fixture.settle(key, &answer).await;
        fixture.clock.pass(LIMITS.window - Duration::from_millis(1));
        assert_eq!(fixture.told(key).await, answer, "{key}");
        fixture.clock.pass(Duration::from_millis(1));
        drop(fixture.claim(key).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_who_ask_at_once_get_the_answer_that_is_kept() {
    let fixture = Arc::new(fixture(LIMITS));
    let answer = Ok(b"paid".to_vec());
    fixture.settle("k", &answer).await;
    let asking = (0..8).map(|_| {
        let (fixture, answer) = (Arc::clone(&fixture), answer.clone());
        tokio::spawn(async move {
            for _ in 0..2_000 {
                assert_eq!(fixture.told("k").await, answer);
            }
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
}

#[tokio::test]
async fn the_window_begins_with_the_answer() {
    let fixture = fixture(LIMITS);
    let claim = fixture.claim("k").await;
    fixture.clock.pass(LIMITS.window * 3);
    is_refused(&fixture.told("k").await, Code::Conflict, Outcome::NotRun, "still running");
    claim.settle(Ok(b"late".to_vec()), ()).await.unwrap().0.ok();
    fixture.clock.pass(LIMITS.window / 2);
    assert_eq!(fixture.told("k").await, Ok(b"late".to_vec()));
}

#[tokio::test]
async fn one_runs_at_a_time_and_others_are_told() {
    let fixture = fixture(LIMITS);
    let claim = fixture.claim("k").await;
    is_refused(&fixture.told("k").await, Code::Conflict, Outcome::NotRun, "still running");
    is_refused(
        &fixture.told_for("a", "k", "steal").await,
        Code::Conflict,
        Outcome::NotRun,
        "another request",
    );
    // A different key, or another client's key, is independent.
    drop(fixture.claim("l").await);
    assert!(matches!(fixture.ask("b", "k", "steal", &Arc::default()).await, Claimed::Free(_)));
    claim.settle(Ok(b"paid".to_vec()), ()).await.unwrap().0.ok();
    is_refused(
        &fixture.told_for("a", "k", "steal").await,
        Code::Conflict,
        Outcome::NotRun,
        "another request",
    );
    assert_eq!(fixture.told("k").await, Ok(b"paid".to_vec()));
}

#[tokio::test]
async fn what_did_not_run_leaves_its_key_free() {
    let fixture = fixture(LIMITS);
    let busy = Err(CommandError::not_run(Code::Busy, "later"));
    fixture.settle("k", &busy).await;
    drop(fixture.claim("k").await);
    fixture.settled().await;
    drop(fixture.claim("k").await);
    fixture.settled().await;
    assert_eq!(fixture.usage().await, Usage::default(), "nothing is left of it");
}

#[tokio::test]
async fn what_began_and_was_given_up_is_not_run_again() {
    let fixture = fixture(LIMITS);
    let has_begun = Arc::new(AtomicBool::new(false));
    let claimed = fixture.ask("a", "k", "pay", &has_begun).await;
    has_begun.store(true, Ordering::SeqCst);
    drop(claimed);
    fixture.settled().await;
    is_refused(&fixture.told("k").await, Code::Conflict, Outcome::Unknown, "its end is not known");
    is_refused(
        &fixture.told_for("a", "k", "steal").await,
        Code::Conflict,
        Outcome::NotRun,
        "another request",
    );
    // The mark lasts as long as the command might have run, plus the window.
    fixture.clock.pass(LIMITS.window + Duration::from_secs(5) - Duration::from_millis(1));
    is_refused(&fixture.told("k").await, Code::Conflict, Outcome::Unknown, "its end is not known");
    fixture.clock.pass(Duration::from_millis(1));
    drop(fixture.claim("k").await);
}

#[tokio::test]
async fn a_process_that_died_leaves_what_it_ran_unknown() {
    let fixture = fixture(LIMITS);
    let claim = fixture.claim("k").await;
    let next = Ledger::new(Arc::clone(&fixture.engine) as Arc<dyn Engine>, LIMITS);
    let next = Fixture { ledger: next, engine: Arc::clone(&fixture.engine), clock: Arc::default() };
    is_refused(&next.told("k").await, Code::Conflict, Outcome::Unknown, "its end is not known");
    claim.settle(Ok(b"paid".to_vec()), ()).await.unwrap().0.ok();
    assert_eq!(next.told("k").await, Ok(b"paid".to_vec()));
}

#[tokio::test]
async fn a_ledger_that_is_renewed_knows_what_runs() {
    let fixture = fixture(LIMITS);
    let claim = fixture.claim("k").await;
    let engine = Arc::clone(&fixture.engine) as Arc<dyn Engine>;
    let next = fixture.ledger.renewed(engine, Limits { max_keys: 1, ..LIMITS });
    let next = Fixture { ledger: next, engine: Arc::clone(&fixture.engine), clock: Arc::default() };
    is_refused(&next.told("k").await, Code::Conflict, Outcome::NotRun, "still running");
    is_refused(&next.told("l").await, Code::RateLimited, Outcome::NotRun, "1 keys");
    claim.settle(Ok(b"paid".to_vec()), ()).await.unwrap().0.ok();
    assert_eq!(next.told("k").await, Ok(b"paid".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn keys_are_bounded_for_each_client() {
    let fixture = fixture(Limits { max_keys: 2, ..LIMITS });
    fixture.settle("k", &Ok(Vec::new())).await;
    let running = fixture.claim("l").await;
    is_refused(&fixture.told("m").await, Code::RateLimited, Outcome::NotRun, "this client's 2 keys");
    assert!(matches!(fixture.ask("b", "m", "pay", &Arc::default()).await, Claimed::Free(_)));
    assert_eq!(fixture.told("k").await, Ok(Vec::new()), "what is kept is told all the same");
    running.settle(Ok(b"paid".to_vec()), ()).await.unwrap().0.ok();
    assert_eq!(fixture.told("l").await, Ok(b"paid".to_vec()));
    fixture.clock.pass(LIMITS.window);
    advance(full::HOLDS).await;
    drop(fixture.claim("m").await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_all_its_keys_is_refused_without_a_write_for_a_moment() {
    let fixture = fixture(Limits { max_keys: 2, ..LIMITS });
    let refused = async || is_refused(&fixture.told("m").await, Code::RateLimited, Outcome::NotRun, "2 keys");
    fixture.settle("k", &Ok(Vec::new())).await;
    let running = fixture.claim("l").await;
    refused().await;
    // There is room now, but the cached refusal still holds.
    fixture.clock.pass(LIMITS.window);
    advance(full::HOLDS - Duration::from_millis(1)).await;
    refused().await;
    advance(Duration::from_millis(1)).await;
    let other = fixture.claim("m").await;
    is_refused(&fixture.told("n").await, Code::RateLimited, Outcome::NotRun, "2 keys");
    // A freed key is available at once.
    drop(other);
    fixture.settled().await;
    let claim = fixture.claim("n").await;
    // New limits apply at once as well.
    is_refused(&fixture.told("o").await, Code::RateLimited, Outcome::NotRun, "2 keys");
    let engine = Arc::clone(&fixture.engine) as Arc<dyn Engine>;
    let ledger = fixture.ledger.renewed(engine, LIMITS);
    let next = Fixture { ledger, engine: Arc::clone(&fixture.engine), clock: Arc::default() };
    drop((next.claim("o").await, claim, running));
}

#[tokio::test]
async fn the_end_of_a_claim_is_written_in_its_place_whoever_waits_for_it() {
    let fixture = fixture(LIMITS);
    let client: Arc<str> = "a".into();
    for has_begun in [false, true] {
        for settles in [false, true] {
            let (place, held) = (Arc::new(()), Arc::new(()));
            let request = request("pay", "", "");
            let key = format!("{has_begun} {settles}").replace(' ', "-");
            let asked =
                Asked { client: &client, key: &key, request: &request, time_left: Duration::from_secs(5) };
            let Claimed::Free(claim) =
                fixture.ledger.claim(asked, Arc::clone(&place), move || has_begun).await
            else {
                panic!("{key} is not free")
            };
            assert_eq!(Arc::strong_count(&place), 2);
            if settles {
                // Polled once and dropped: the write goes on, and keeps the answer and both of these.
                let settling = claim.settle(Ok(b"paid".to_vec()), Arc::clone(&held));
                assert!(settling.now_or_never().is_none());
                assert_eq!((Arc::strong_count(&place), Arc::strong_count(&held)), (2, 2), "{key}");
            } else {
                drop(claim);
                assert_eq!(Arc::strong_count(&place), if has_begun { 1 } else { 2 }, "{key}");
            }
            fixture.settled().await;
            assert_eq!((Arc::strong_count(&place), Arc::strong_count(&held)), (1, 1), "{key}");
            if settles {
                assert_eq!(fixture.told(&key).await, Ok(b"paid".to_vec()));
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_forgotten_before_it_is_read_is_claimed_anew() {
    let fixture = fixture(LIMITS);
    for bytes in [3, PART_BYTES + 1] {
        let (key, answer) = (bytes.to_string(), Ok(vec![b'x'; bytes]));
        fixture.settle(&key, &answer).await;
        let [first, second, third] =
            [fixture.kept(&key).await, fixture.kept(&key).await, fixture.kept(&key).await];
        assert!(first.bytes() >= bytes && first.bytes() < bytes + 100);
        assert_eq!(first.read().await, Some(answer));
        fixture.clock.pass(LIMITS.window);
        assert_eq!(second.read().await, None);
        // A different answer, possibly larger than the memory reserved.
        fixture.settle(&key, &Ok(vec![b'y'; 2 * bytes])).await;
        assert_eq!(third.read().await, None);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_not_run_again() {
    let fixture = fixture(Limits { max_bytes: 3 * PART_BYTES as u64, ..LIMITS });
    // The first part of the one in parts would fit. It is removed again, which makes room for what follows.
    let sizes =
        [("one", PART_BYTES), ("in parts", 3 * PART_BYTES), ("other", PART_BYTES), ("last", PART_BYTES)];
    for (key, bytes) in sizes {
        fixture.settle(key, &Ok(vec![b'x'; bytes])).await;
    }
    for key in ["one", "other"] {
        assert_eq!(fixture.told(key).await.map(|answer| answer.len()), Ok(PART_BYTES), "{key}");
    }
    for key in ["in parts", "last"] {
        is_refused(&fixture.told(key).await, Code::Conflict, Outcome::Unknown, "could not be kept");
    }
    assert_eq!(fixture.usage().await.keys, 4);
}

#[tokio::test]
async fn a_large_answer_is_kept_in_parts() {
    let fixture = fixture(LIMITS);
    for bytes in [PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 2 * PART_BYTES + 7] {
        let key = bytes.to_string();
        let answer: Reply = Ok((0..bytes).map(|place| (place % 251) as u8).collect());
        fixture.settle(&key, &answer).await;
        fixture.clock.pass(LIMITS.window - Duration::from_millis(1));
        assert!(fixture.told(&key).await == answer, "{bytes}");
    }
}

#[tokio::test]
async fn a_server_without_a_window_takes_no_keys() {
    let fixture = fixture(Limits { window: Duration::ZERO, ..LIMITS });
    is_refused(&fixture.told("k").await, Code::Unavailable, Outcome::NotRun, "keeps no Idempotency-Keys");
}

#[tokio::test]
async fn without_an_engine_nothing_is_run() {
    let fixture = fixture(LIMITS);
    fixture.settle("k", &Ok(b"paid".to_vec())).await;
    fixture.engine.close().await.unwrap();
    is_refused(
        &fixture.told("l").await,
        Code::Unavailable,
        Outcome::NotRun,
        "cannot be kept; try again later",
    );
    assert_eq!(fixture.told("k").await, Ok(b"paid".to_vec()));
}
