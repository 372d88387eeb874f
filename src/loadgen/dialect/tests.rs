//! Tests of replies from a Lictor server: complete, partial, and malformed.

use super::*;

fn dialect(mode: Mode) -> Lictor {
    Lictor::new(Request::from_line("echo hello").unwrap(), mode)
}

fn reply(slot: usize, failure: Option<&str>) -> Reply {
    Reply { length: 0, slot: Some(slot), is_last: true, failure: failure.map(str::to_owned) }
}

/// Parses all replies in `bytes`, with their lengths set to 0. Every prefix that ends within a reply must be
/// reported as incomplete.
fn read_all(dialect: &Lictor, bytes: &[u8]) -> Vec<Reply> {
    let (mut rest, mut replies) = (bytes, Vec::new());
    while !rest.is_empty() {
        let reply = dialect.reply(rest).unwrap().expect("a whole reply");
        for split in 0..reply.length {
            assert_eq!(
                dialect.reply(&rest[..split]),
                Ok(None),
                "{:?}",
                rest[..split].escape_ascii().to_string()
            );
        }
        assert_eq!(dialect.reply(&rest[..reply.length]), Ok(Some(reply.clone())));
        rest = &rest[reply.length..];
        replies.push(Reply { length: 0, ..reply });
    }
    replies
}

#[test]
fn framed_replies_are_found_over_every_split() {
    let bytes = b"OK\r\nSequence: 3\r\nSize: 5\r\n\r\nhello\
        OK\r\nSequence: 0\r\nSize: 0\r\n\r\n\
        OK\r\nSequence: 12\r\nSize: 8\r\n\r\n\r\n\r\nOK\r\n\
        ok\r\n";
    let replies = read_all(&dialect(Mode::Framed), &bytes[..bytes.len() - 4]);
    assert_eq!(replies, [reply(3, None), reply(0, None), reply(12, None)]);
}

#[test]
fn failures_and_parts_are_told() {
    let bytes = b"PART\r\nSequence: 1\r\nSize: 4\r\n\r\n\r\n\r\n\
        ERR Unknown command x\r\nSequence: 0\r\nCode: unknown-command\r\nOutcome: not-run\r\nSize: 0\r\n\r\n\
        OK\r\nSequence: 1\r\nSize: 0\r\n\r\n\
        ERR\r\nSequence: 2\r\n\r\n\
        ERR some\r\nsize: 3\r\nFuture: x\r\nCODE:  busy \r\nsEQUENCE:7\r\n\r\nabc";
    let replies = read_all(&dialect(Mode::Framed), bytes);
    let part = Reply { is_last: false, ..reply(1, None) };
    assert_eq!(
        replies,
        [
            part,
            reply(0, Some("unknown-command")),
            reply(1, None),
            reply(2, Some("ERR")),
            reply(7, Some("busy"))
        ]
    );
}

#[test]
fn plain_replies_end_with_an_empty_line() {
    let bytes = b"hello\r\n\r\n\r\n\r\nERR no\r\n\r\nERRor\r\n\r\n";
    let replies = read_all(&dialect(Mode::Plain), bytes);
    let failures: Vec<_> = replies.iter().map(|reply| reply.failure.as_deref()).collect();
    assert_eq!(failures, [None, None, Some("ERR"), None]);
    assert!(replies.iter().all(|reply| reply.slot.is_none() && reply.is_last));
}

#[test]
fn what_is_no_reply_is_told() {
    let endless = vec![b'x'; MAX_HEAD_BYTES + 1];
    for (bytes, words) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], "neither OK, PART nor ERR"),
        (b"OK\r\nSequence: 1\r\n\r\n", "no Size"),
        (b"OK\r\nSequence: 1\r\nSize: 1x\r\n\r\n", "no number"),
        (b"OK\r\nSequence: 1\r\nSize: 9999999999999999999999\r\n\r\n", "no number"),
        (b"OK\r\nSequence: 1\r\nSize: 999999999999\r\n\r\n", "too large"),
        (b"OK\r\nSequence: x\r\nSize: 0\r\n\r\n", "of no request"),
        (b"ERR Bad request: what\r\n\r\n", "gave up a connection: ERR Bad request: what"),
        (&endless, "does not end"),
    ] {
        let error = dialect(Mode::Framed).reply(bytes).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_greeting_is_awaited_or_refused() {
    let dialect = dialect(Mode::Framed);
    let whole = b"OK\r\n\r\n";
    for split in 0..whole.len() {
        assert_eq!(dialect.greeting(&whole[..split]), Ok(None));
    }
    assert_eq!(dialect.greeting(whole), Ok(Some(6)));
    assert_eq!(dialect.greeting(b"ERR certificate (x) is unk"), Ok(None));
    let refused = dialect.greeting(b"ERR No certificate was provided\r\n\r\n");
    assert_eq!(refused, Err("ERR No certificate was provided".to_owned()));
    for other in ["220 mail", "OKAY", "ERROR", "\r\n\r\n"] {
        assert!(dialect.greeting(other.as_bytes()).is_err(), "{other}");
    }
}

#[test]
fn each_slot_has_its_own_sequence() {
    let requests = dialect(Mode::Framed).requests(2).unwrap();
    assert_eq!(requests, [b"echo hello\r\nSequence: 0\r\n\r\n", b"echo hello\r\nSequence: 1\r\n\r\n"]);
    assert_eq!(dialect(Mode::Plain).requests(2).unwrap(), [b"echo hello\r\n\r\n", b"echo hello\r\n\r\n"]);
    let long = Request::from_line(&"x".repeat(8190)).unwrap();
    assert!(Lictor::new(long, Mode::Framed).requests(1).is_err());
}
