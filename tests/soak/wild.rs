//! Clients that misuse plugins or send invalid requests, and strangers. Each learns its fault.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use testkit::client::{Connection, Frame, Tls, tcp};

use crate::{Shift, Soak};

/// Stands for a success among the codes of a misdeed.
const OK: &str = "OK";

/// Requests to the hostile plugin, and the allowed codes of each answer. The load of the machine decides
/// which bound is met first.
const MISDEEDS: [(&str, &[&str]); 23] = [
    ("spin", &["plugin-limit", "timeout"]),
    ("grow", &["plugin-limit", "timeout", "busy"]),
    ("recurse", &["plugin-trapped", "plugin-limit", "timeout"]),
    ("trap", &["plugin-trapped"]),
    ("panic at the disco", &["plugin-trapped"]),
    ("exit 3", &["plugin-trapped"]),
    ("sleep 60000", &["timeout"]),
    ("sleep 5", &[OK]),
    ("flood", &["plugin-limit", "timeout"]),
    ("flood-line 100000", &[OK]),
    ("forge-log", &[OK]),
    ("big 60000", &[OK]),
    ("big 1000000", &["plugin-limit"]),
    ("blank-line", &[OK]),
    ("not-utf8", &[OK]),
    ("fail conflict no", &["conflict"]),
    ("fail-big", &["plugin-limit", "plugin-failed"]),
    ("alloc 60000000", &["plugin-limit"]),
    ("hoard 5000", &["plugin-limit", "timeout", "busy"]),
    ("queue-more", &["plugin-trapped", "plugin-limit", "timeout", OK]),
    ("queue-leave", &["plugin-trapped", "timeout", OK]),
    ("queue-exit", &["plugin-trapped", "timeout", OK]),
    ("queue-exit late", &["plugin-trapped", "timeout", OK]),
];

/// The first client requests one misdeed after the other, the second all of them at once.
pub fn misbehave(soak: &Soak, shift: &Shift<'_>) {
    let mut connection = soak.server.connect(&soak.wild);
    let is_right = |(misdeed, codes): (&str, &[&str]), frame: &Frame| {
        let (code, outcome) = if frame.status == OK { (OK, "") } else { frame.failure() };
        // A request that has to wait for the others may wait too long.
        assert!(codes.contains(&code) || outcome == "not-run", "{misdeed}: {frame:?}");
    };
    if shift.number == 0 {
        shift.each(Duration::from_millis(100), |round| {
            let misdeed = MISDEEDS[round as usize % MISDEEDS.len()];
            is_right(misdeed, &connection.ask_framed(misdeed.0));
            soak.tally.answers.fetch_add(1, Ordering::Relaxed);
        });
        return;
    }
    shift.each(Duration::from_secs(2), |_| {
        let frames = connection.ask_all(&MISDEEDS.map(|(misdeed, _)| (misdeed, "")));
        MISDEEDS.iter().zip(&frames).for_each(|(misdeed, frame)| is_right(*misdeed, frame));
        soak.tally.answers.fetch_add(frames.len() as u64, Ordering::Relaxed);
    });
}

/// Resources that plugins make the host hold, and the allowed codes of each answer.
const HOLDINGS: [(&str, &[&str]); 6] = [
    ("hoard-methods 300 1000000", &["plugin-limit", "timeout", OK]),
    ("hoard-paths 20 16000", &["plugin-limit", "timeout", OK]),
    ("hoard-fields 100000", &["plugin-limit", "timeout", OK]),
    ("hold-lists 30 /data", &["plugin-limit", "timeout", OK]),
    ("list /data", &["plugin-limit", "timeout", OK]),
    ("hold-streams 100", &["plugin-limit", "timeout", OK]),
];

/// Entries of the listed folder.
const ENTRIES: usize = 5000;

/// Makes the folder whose listings are held.
pub fn crowded(folder: &Path) {
    let crowded = folder.join("crowded");
    fs::create_dir(&crowded).unwrap();
    (0..ENTRIES)
        .for_each(|number| fs::write(crowded.join(format!("an-entry-of-some-length-{number}")), "").unwrap());
}

/// Requests one held resource after the other.
pub fn hold(soak: &Soak, shift: &Shift<'_>) {
    let mut connection = soak.server.connect(&soak.wild);
    shift.each(Duration::from_millis(200), |round| {
        let (holding, codes) = HOLDINGS[round as usize % HOLDINGS.len()];
        let frame = connection.ask_framed(holding);
        let (code, outcome) = if frame.status == OK { (OK, "") } else { frame.failure() };
        assert!(codes.contains(&code) || outcome == "not-run", "{holding}: {frame:?}");
        soak.tally.answers.fetch_add(1, Ordering::Relaxed);
    });
}

/// Bytes that are not a request.
const NONSENSE: [&[u8]; 8] = [
    b"echo a\n",
    b"echo a\rb",
    b"echo \xff\r\n",
    b"\r\n\r\n",
    b"echo \"\\q\"\r\n\r\n",
    b"echo\r\nSize: many\r\n\r\n",
    b"echo\r\nSize: 1\r\nSize: 1\r\n\r\n",
    b"echo\r\nSize: 99999999\r\n\r\n",
];

/// Earlier requests are answered, then the fault is reported, then the connection ends.
pub fn send_nonsense(soak: &Soak, shift: &Shift<'_>) {
    shift.each(Duration::from_millis(200), |round| {
        let mut connection = soak.server.connect(&soak.wild);
        let nonsense = NONSENSE[round as usize % NONSENSE.len()];
        connection.send([b"echo before\r\n\r\n", nonsense].concat());
        assert_eq!(connection.read_reply(), "before");
        let told = connection.read_reply();
        assert!(told.starts_with("ERR Bad request: "), "{:?}: {told:?}", String::from_utf8_lossy(nonsense));
        connection.assert_closed();
        soak.tally.answers.fetch_add(2, Ordering::Relaxed);
    });
}

/// Keys of stored and repeated answers; there is room for some more.
const KEYS: u64 = 20;

/// Repeats requests by their `Idempotency-Key`, some of which have a thousand empty arguments; one connection
/// reads nothing and breaks off, the other reads, and also exceeds its quota of keys.
pub fn send_again(soak: &Soak, shift: &Shift<'_>) {
    let mut connection = soak.server.connect(&soak.wild);
    let keyed = |line: &str, number: u64, key: String| {
        format!("{line}\r\nSequence: {number}\r\nIdempotency-Key: {key}\r\n\r\n")
    };
    let again = |number: u64| keyed("big 60000", number, format!("k{}", number % KEYS));
    shift.each(Duration::from_millis(200), |round| {
        let mut unread = soak.server.connect(&soak.wild);
        let empty = |number| format!("echo{}\r\nSequence: e{number}\r\n\r\n", " ".repeat(1023));
        // At some point it is no longer read, and it may be cut off.
        let _ = unread.try_send((0..40).map(|number| again(number) + &empty(number)).collect::<String>());

        connection.send(again(round));
        let frame = connection.read_frame();
        // A request that has to wait may wait too long, and one that broke off may have begun.
        let is_told =
            frame.status != OK && (frame.failure().1 == "not-run" || frame.failure().0 == "conflict");
        assert!(is_told || frame.body.len() == 60000, "{frame:?}");
        connection.send((0..10).map(|n| keyed("echo new", n, format!("{round}-{n}"))).collect::<String>());
        for _ in 0..10 {
            let frame = connection.read_frame();
            assert!(frame.status == OK || frame.failure().1 == "not-run", "{frame:?}");
        }
        drop(unread);
        soak.tally.answers.fetch_add(11, Ordering::Relaxed);
    });
}

/// Concurrent half-open strangers.
const HALF_OPEN: usize = 20;

/// Shows an unknown certificate or none, speaks no TLS, or sends nothing and stays.
pub fn be_strange(soak: &Soak, shift: &Shift<'_>) {
    let (address, mut half_open) = (soak.server.address(), VecDeque::new());
    shift.each(Duration::from_millis(200), |round| match round % 4 {
        0 => {
            let told = refusal(Connection::open(address, Tls::showing(&soak.stranger)));
            assert!(
                told.starts_with("ERR certificate (stranger) thumbprint") && told.contains("unknown"),
                "{told:?}"
            );
        }
        1 => {
            let told = refusal(Connection::open(address, Tls::anonymous()));
            assert_eq!(told, "ERR No certificate was provided\r\n\r\n");
        }
        2 => {
            let mut socket = tcp(address);
            // The server may have closed before everything was sent.
            let _ = socket.write_all(b"GET / HTTP/1.1\r\nHost: lictor\r\n\r\n");
            let _ = socket.read_to_end(&mut Vec::new());
        }
        _ => {
            half_open.push_back(tcp(address));
            if half_open.len() > HALF_OPEN {
                half_open.pop_front();
            }
            let _ = half_open[0].write_all(&[0x16, 0x03, 0x01]);
        }
    });
}

/// Returns the message to a stranger at the end of its handshake.
fn refusal(connection: std::io::Result<Connection>) -> String {
    let (told, _) = connection.expect("in TLS 1.3 a client is done before it is refused").read_to_end();
    String::from_utf8_lossy(&told).into_owned()
}
