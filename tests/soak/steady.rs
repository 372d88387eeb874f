//! Well-behaved clients. Each of their commands succeeds, or fails as it must, and every acknowledged write
//! is stored at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use testkit::client::Connection;

use crate::{Shift, Soak};

/// Number of counting clients.
pub const COUNTERS: usize = 2;

/// Acknowledged increments by key; the stored sums must equal them.
#[derive(Default)]
pub struct Tally {
    /// Increments of each client's own key.
    own: [AtomicU64; COUNTERS],
    /// Increments of the key that all of them count.
    all: AtomicU64,
    /// Increments of the key of clients that break off: these may or may not have had their effect.
    pub torn: Torn,
    /// Correct answers.
    pub answers: AtomicU64,
}

#[derive(Default)]
pub struct Torn {
    pub sent: AtomicU64,
    pub acknowledged: AtomicU64,
}

impl Tally {
    /// Returns the number of acknowledged increments.
    pub fn acknowledged(&self) -> u64 {
        let own: u64 = self.own.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        own + self.all.load(Ordering::Relaxed) + self.torn.acknowledged.load(Ordering::Relaxed)
    }

    /// Asserts that all of them are stored.
    pub fn check(&self, connection: &mut Connection) {
        let mut stored = |key: &str| -> u64 {
            let frame = connection.ask_framed(&format!("kv-get {key}"));
            frame.text().parse().expect("a counter is a number")
        };
        for (number, count) in self.own.iter().enumerate() {
            assert_eq!(stored(&own_key(number)), count.load(Ordering::Relaxed), "of client {number}");
        }
        assert_eq!(stored("all"), self.all.load(Ordering::Relaxed), "of all");
        let torn = stored("torn");
        let [least, most] =
            [&self.torn.acknowledged, &self.torn.sent].map(|count| count.load(Ordering::Relaxed));
        assert!((least..=most).contains(&torn), "{torn} of {least} acknowledged and {most} sent");
    }
}

fn own_key(number: usize) -> String {
    format!("count-{number}")
}

/// Counts, one by one, with its own key and a shared one. Only it uses the former, so each answer is known.
pub fn count(soak: &Soak, shift: &Shift<'_>) {
    let mut connection = soak.server.connect(&soak.steady);
    let (own, key) = (&soak.tally.own[shift.number], own_key(shift.number));
    shift.each(Duration::from_millis(40), |_| {
        let next = own.load(Ordering::Relaxed) + 1;
        let told = connection.ask_framed(&format!("kv-increment {key}"));
        assert_eq!(told.text(), next.to_string());
        own.store(next, Ordering::Relaxed);
        let before = soak.tally.all.load(Ordering::Relaxed);
        let told: u64 = connection.ask_framed("kv-increment all").text().parse().expect("a number");
        assert!(told > before, "{told} after {before}");
        soak.tally.all.fetch_add(1, Ordering::Relaxed);
        soak.tally.answers.fetch_add(2, Ordering::Relaxed);
    });
}

/// Sends many requests at once, and one after the other.
pub fn ask(soak: &Soak, shift: &Shift<'_>) {
    let mut connection = soak.server.connect(&soak.steady);
    let key = format!("note-{}", shift.number);
    shift.each(Duration::from_millis(80), |round| {
        let (echo, get) = (format!("echo {round} ☃"), format!("kv-get {key}"));
        let requests = [
            (echo.as_str(), ""),
            ("echo", "|a body"),
            ("@ping", ""),
            ("version", ""),
            ("kv-get nothing", ""),
            ("nosuch", ""),
            ("spin", ""),
            ("kv-increment", ""),
        ];
        let frames = connection.ask_all(&requests);
        assert_eq!(frames[0].text(), format!("{round} ☃"));
        assert_eq!((frames[1].text(), frames[2].text()), ("a body", "pong"));
        assert!(matches!(frames[3].text(), "Ak" | "Bk"), "{:?}", frames[3]);
        let failures = [
            ("not-found", "failed"),
            ("unknown-command", "not-run"),
            ("forbidden", "not-run"),
            ("bad-arguments", "failed"),
        ];
        for (frame, failure) in frames[4..].iter().zip(failures) {
            assert_eq!(frame.failure(), failure, "{frame:?}");
        }
        // An idempotent command may be sent twice.
        for _ in 0..2 {
            let set = connection.ask_framed(&format!("kv-set {key} {round}"));
            assert!(set.text().parse::<u64>().is_ok(), "{set:?}");
        }
        assert_eq!(connection.ask(&get), round.to_string());
        assert_eq!(connection.ask("echo plain"), "plain");
        soak.tally.answers.fetch_add(requests.len() as u64 + 4, Ordering::Relaxed);
    });
}
