//! Encoding of answers, and their reading by a client.

use bytes::BytesMut;
use lictor::client::{Frame, Plain, ReplyReader};
use lictor::wire::{
    Code, CommandError, Fault, Outcome, Sent, Sequence, encode_fault, encode_reply, is_plain_text,
};
use proptest::prelude::*;

fn encoded(sequence: Option<&str>, answer: Result<&[u8], &CommandError>) -> (String, Sent) {
    let mut out = BytesMut::new();
    let sequence = sequence.map(|sequence| Sequence::parse(sequence).unwrap());
    let sent = encode_reply(sequence.as_ref(), answer, &mut out);
    (String::from_utf8(out.to_vec()).unwrap(), sent)
}

#[test]
fn replies_are_the_contracts() {
    let error =
        CommandError { code: Code::NotFound, outcome: Outcome::Failed, message: "No such\r\nkey".into() };
    let silent = CommandError::not_run(Code::Busy, "");
    for (sequence, answer, expected) in [
        (None, Ok(&b"hello"[..]), "hello\r\n\r\n"),
        (None, Ok(b""), "\r\n\r\n"),
        (None, Err(&error), "ERR No such\\r\\nkey\r\n\r\n"),
        (None, Err(&silent), "ERR busy\r\n\r\n"),
        (Some("7"), Ok(b"a\r\n\r\nb"), "OK\r\nSequence: 7\r\nSize: 6\r\n\r\na\r\n\r\nb"),
        (
            Some("x"),
            Err(&error),
            "ERR No such\\r\\nkey\r\nSequence: x\r\nCode: not-found\r\nOutcome: failed\r\nSize: 0\r\n\r\n",
        ),
    ] {
        assert_eq!(encoded(sequence, answer), (expected.to_owned(), Sent::Whole));
    }
}

#[test]
fn what_would_be_two_plain_replies_is_refused() {
    for text in [&b"a\r\n\r\nb"[..], b"a\r\n", b"\r\n", b"\r\na", b"\xff"] {
        is_not_sent_plainly(text);
    }
    for text in [&b"a\r\nb"[..], b"a\r", b"a\r\n\r", b"a\n", b"\n\n", b"\r", b"\ra", b""] {
        assert_eq!(encoded(None, Ok(text)).1, Sent::Whole, "{}", text.escape_ascii());
    }
}

#[track_caller]
fn is_not_sent_plainly(text: &[u8]) {
    let (reply, sent) = encoded(None, Ok(text));
    let refused = ("ERR Reply needs a Sequence header\r\n\r\n", Sent::Unframeable);
    assert_eq!((reply.as_str(), sent), refused, "{}", text.escape_ascii());
    // With a `Sequence` the text is unchanged.
    let (reply, sent) = encoded(Some("s"), Ok(std::str::from_utf8(text).map_or(&b"x"[..], str::as_bytes)));
    assert!(reply.starts_with("OK\r\nSequence: s\r\n") && sent == Sent::Whole);
}

#[test]
fn a_result_that_reads_as_a_frame_or_an_error_is_not_sent_plainly() {
    for text in [
        "OK\r\nSequence: pay-17\r\nSize: 0",
        "OK\r\n\r",
        "OK\r\nx",
        "PART\r\nSequence: 1\r\nSize: 3",
        "ERR no",
        "ERR ",
        "ERR",
        "ERR\r\nSequence: 1",
        "ERR no\r\nSequence: 1\r\nCode: denied\r\nOutcome: failed\r\nSize: 0",
        "\r\nOK\r\nSequence: 1\r\nSize: 0",
    ] {
        is_not_sent_plainly(text.as_bytes());
    }
    for text in
        ["OK", "OK\r", "OK\n", "OK ", "OKAY\r\nx", "ok\r\nx", "PART", "PARTY\r\nx", "ERRATA", "ERROR: x", "E"]
    {
        assert_eq!(encoded(None, Ok(text.as_bytes())), (format!("{text}\r\n\r\n"), Sent::Whole));
    }
}

/// Simulates a client that reads line by line and takes every possible line for a frame; returns the
/// `Sequence`s of all frames.
fn frames_by_line(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let mut sequences = Vec::new();
    while let Some(status) = lines.next() {
        let headers: Vec<&str> = match status {
            "" => continue,
            _ => lines.by_ref().take_while(|line| !line.is_empty()).collect(),
        };
        if matches!(status.split(' ').next(), Some("OK" | "PART" | "ERR")) {
            sequences
                .extend(headers.iter().filter_map(|line| Some(line.strip_prefix("Sequence: ")?.to_owned())));
        }
    }
    sequences
}

/// Simulates a client that looks for empty lines, from each place where a reply may begin; returns the same.
fn frames_by_end(mut bytes: &[u8]) -> Vec<String> {
    let mut sequences = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let mut reader = ReplyReader::default();
        reader.push(bytes);
        match reader.next_frame() {
            Ok(Some(Frame::Part { sequence, .. } | Frame::Ok { sequence, .. })) => sequences.push(sequence),
            Ok(Some(Frame::Err { sequence, .. })) => sequences.extend(sequence),
            Ok(None) | Err(_) => {}
        }
        bytes = &bytes[end + 4..];
    }
    sequences
}

#[test]
fn a_fault_is_answered_plainly_but_a_large_body_by_its_sequence() {
    let mut out = BytesMut::new();
    encode_fault(&Fault::BareLf { at: 3 }, &mut out);
    assert_eq!(&out[..], b"ERR Bad request: bare LF at byte 3; a line ends with CR LF\r\n\r\n");
    out.clear();
    encode_fault(&Fault::TooLarge { size: 9, max: 1, sequence: Sequence::parse("s") }, &mut out);
    let reply = String::from_utf8(out.to_vec()).unwrap();
    assert!(reply.contains("\r\nSequence: s\r\nCode: too-large\r\nOutcome: not-run\r\n"), "{reply}");
}

/// Generates answers that look like frames, with some damage.
fn nearly_frames() -> impl Strategy<Value = Result<String, CommandError>> {
    let line = prop_oneof![
        4 => "(OK|PART|ERR|ERR no|ok|x)?",
        4 => "(Sequence: s|Size: [0-9]|Code: busy)",
        1 => "[a\r\n]{0,3}",
    ];
    let text = prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\r\n"));
    prop_oneof![
        6 => text.clone().prop_map(Ok),
        1 => text.prop_map(|text| Err(CommandError::failed(Code::Denied, text))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn what_the_server_encodes_is_what_a_client_reads(answer in prop::result::maybe_ok(prop::collection::vec(any::<u8>(), 0..300), any::<String>())) {
        let mut out = BytesMut::new();
        let error = answer.as_ref().err().map(|message| CommandError::unknown(Code::Timeout, message.clone()));
        let given = match &error { Some(error) => Err(error), None => Ok(answer.as_deref().unwrap()) };
        encode_reply(Sequence::parse("1").as_ref(), given, &mut out);
        let mut reader = ReplyReader::default();
        reader.push(&out);
        match (reader.next_frame().unwrap().unwrap(), answer) {
            (Frame::Ok { body, .. }, Ok(answer)) => prop_assert_eq!(body, answer),
            (Frame::Err { refusal, .. }, Err(_)) => prop_assert_eq!(refusal.code.as_deref(), Some("timeout")),
            (frame, answer) => prop_assert!(false, "{:?} for {:?}", frame, answer),
        }
    }

    #[test]
    fn no_sequence_of_plain_replies_reads_as_a_frame(answers in prop::collection::vec(nearly_frames(), 1..6)) {
        let mut out = BytesMut::new();
        for answer in &answers {
            encode_reply(None, answer.as_ref().map(String::as_bytes), &mut out);
        }
        prop_assert_eq!(frames_by_line(&out), Vec::<String>::new());
        prop_assert_eq!(frames_by_end(&out), Vec::<String>::new());
        // Each of them is one reply, and only errors read as errors.
        let mut reader = ReplyReader::default();
        reader.push(&out);
        for answer in &answers {
            let read = reader.next_plain().unwrap().unwrap();
            match answer {
                Ok(text) if is_plain_text(text.as_bytes()) => prop_assert_eq!(read, Plain::Text(text.clone().into())),
                _ => prop_assert!(matches!(read, Plain::Err(_)), "{:?} for {:?}", read, answer),
            }
        }
        prop_assert_eq!(reader.next_plain(), Ok(None));
    }

    #[test]
    fn a_plain_reply_ends_where_its_end_first_stands(text in "[a\r\n]{0,8}") {
        if is_plain_text(text.as_bytes()) {
            let reply = format!("{text}\r\n\r\n");
            prop_assert_eq!(reply.find("\r\n\r\n"), Some(text.len()));
        }
    }
}
