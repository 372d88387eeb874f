//! Replies read from bytes, however they are split.

use proptest::prelude::*;

use super::*;

fn part(sequence: &str, body: &'static [u8]) -> Frame {
    Frame::Part { sequence: sequence.to_owned(), body: Bytes::from_static(body) }
}

fn ok(sequence: &str, body: &'static [u8]) -> Frame {
    Frame::Ok { sequence: sequence.to_owned(), body: Bytes::from_static(body) }
}

fn err(sequence: Option<&str>, message: &str, code: Option<&str>, outcome: Option<&str>) -> Frame {
    let refusal = Refusal {
        message: message.to_owned(),
        code: code.map(str::to_owned),
        outcome: outcome.map(str::to_owned),
    };
    Frame::Err { sequence: sequence.map(str::to_owned), refusal }
}

/// Collects all frames of `pieces`, pushed one after the other.
fn frames(pieces: &[&[u8]]) -> Result<Vec<Frame>, ReplyError> {
    let mut reader = ReplyReader { max_body_bytes: 100, ..ReplyReader::default() };
    let mut frames = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(frame) = reader.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

const CONVERSATION: &[u8] = b"PART\r\nSequence: 1\r\nSize: 4\r\n\r\n\r\n\r\n\
    OK\r\nsequence: b\r\nX-Later: y\r\nSIZE: 0\r\n\r\n\
    ERR no: such\r\nSequence: 2\r\nCode: not-found\r\nOutcome: failed\r\nSize: 0\r\n\r\n\
    OK\r\nSequence: 1\r\nSize: 3\r\n\r\nOK\r\
    ERR Bad request: x\r\n\r\n";

fn conversation() -> Vec<Frame> {
    vec![
        part("1", b"\r\n\r\n"),
        ok("b", b""),
        err(Some("2"), "no: such", Some("not-found"), Some("failed")),
        ok("1", b"OK\r"),
        err(None, "Bad request: x", None, None),
    ]
}

#[test]
fn frames_are_the_same_over_every_split_in_two_and_byte_by_byte() {
    assert_eq!(frames(&[CONVERSATION]).unwrap(), conversation());
    for split in 0..=CONVERSATION.len() {
        let (first, second) = CONVERSATION.split_at(split);
        assert_eq!(frames(&[first, second]).unwrap(), conversation(), "split at {split}");
    }
    let bytes: Vec<&[u8]> = CONVERSATION.chunks(1).collect();
    assert_eq!(frames(&bytes).unwrap(), conversation());
}

proptest! {
    #[test]
    fn frames_are_the_same_over_many_splits(
        mut cuts in proptest::collection::vec(0..CONVERSATION.len(), 0..12),
    ) {
        cuts.extend([0, CONVERSATION.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &CONVERSATION[cut[0]..cut[1]]).collect();
        prop_assert_eq!(frames(&pieces).unwrap(), conversation());
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes: Vec<u8>,
        mut head in "(OK|PART|ERR x)(\r\n(Sequence|Size|X): ?[0-9a]{0,3}){0,4}",
    ) {
        let _ = frames(&[&bytes]);
        head.push_str("\r\n\r\n");
        let _ = frames(&[head.as_bytes(), &bytes]);
        let mut reader = ReplyReader::default();
        reader.push(&bytes);
        while let Ok(Some(_)) = reader.next_plain() {}
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    for bytes in [
        &b"\r\n\r\n"[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"OK\r\n\r\n",
        b"OK\r\nSequence: 1\r\n\r\n",
        b"OK\r\nSize: 0\r\n\r\n",
        b"PART\r\nSize: 0\r\n\r\n",
        b"OK\r\nSequence: 1\r\nSize: -1\r\n\r\n",
        b"OK\r\nSequence: 1\r\nSize: \r\n\r\n",
        b"OK\r\nSequence: 1\r\nSize: 0\r\nSize: 0\r\n\r\n",
        b"OK\r\nSequence: 1\r\nnonsense\r\nSize: 0\r\n\r\n",
        b"OK\r\nSequence: 1\nSize: 0\r\n\r\n",
        b"ERR \xff\r\n\r\n",
        b"OKAY\r\nSequence: 1\r\nSize: 0\r\n\r\n",
    ] {
        let result = frames(&[bytes]);
        assert!(matches!(result, Err(ReplyError::Malformed(_))), "{}: {result:?}", bytes.escape_ascii());
    }
}

#[test]
fn heads_and_bodies_have_bounds() {
    let head = |size: &str| format!("OK\r\nSequence: 1\r\nSize: {size}\r\n\r\n");
    assert_eq!(frames(&[head("100").as_bytes()]), Ok(vec![]));
    for size in ["101", "18446744073709551615", "99999999999999999999999"] {
        assert_eq!(frames(&[head(size).as_bytes()]), Err(ReplyError::BodyTooLong(100)), "{size}");
    }
    let endless = vec![b'x'; MAX_HEAD_BYTES + 4];
    assert_eq!(frames(&[&endless[..MAX_HEAD_BYTES + 3]]), Ok(vec![]));
    assert_eq!(frames(&[&endless]), Err(ReplyError::HeadTooLong));
    // The limit does not depend on the split.
    let longest = format!("ERR {}", "x".repeat(MAX_HEAD_BYTES - 4));
    assert_eq!(frames(&[longest.as_bytes(), END]).map(|frames| frames.len()), Ok(1));
    assert_eq!(frames(&[longest.as_bytes(), b"x", END]), Err(ReplyError::HeadTooLong));
}

#[test]
fn plain_replies_end_at_an_empty_line() {
    let bytes = b"OK\r\n\r\n\r\n\r\ntwo\r\nlines\r\n\r\nERR no\r\n\r\n\xff\r\n\r\nrest";
    let expected = [
        Plain::Text(Bytes::from_static(b"OK")),
        Plain::Text(Bytes::new()),
        Plain::Text(Bytes::from_static(b"two\r\nlines")),
        Plain::Err(Refusal { message: "no".to_owned(), ..Refusal::default() }),
        Plain::Text(Bytes::from_static(b"\xff")),
    ];
    for size in 1..=bytes.len() {
        let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
        for piece in bytes.chunks(size) {
            reader.push(piece);
            while let Some(reply) = reader.next_plain().unwrap() {
                replies.push(reply);
            }
        }
        assert_eq!(replies, expected, "in pieces of {size}");
        assert!(reader.is_within_a_reply());
    }
}

#[test]
fn a_refusal_is_shown_with_what_it_has() {
    let refusal = |code: Option<&str>, outcome: Option<&str>| match err(None, "no", code, outcome) {
        Frame::Err { refusal, .. } => refusal.to_string(),
        frame => panic!("{frame:?}"),
    };
    assert_eq!(refusal(Some("denied"), Some("failed")), "no (denied, failed)");
    assert_eq!(refusal(Some("denied"), None), "no (denied)");
    assert_eq!(refusal(None, None), "no");
}
