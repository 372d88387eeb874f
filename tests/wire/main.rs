//! The wire protocol as bytes in and values out: every split of the bytes, every fault, and the client's own
//! encoder and reader against the server's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod replies;

use bytes::{Bytes, BytesMut};
use lictor::client;
use lictor::wire::{Decoder, Fault, MAX_ARGUMENTS, MAX_HEAD_BYTES, MAX_HEADERS, Phase, Request, Sequence};
use proptest::prelude::*;

const MAX_BODY_BYTES: usize = 10_000;

/// Decodes `pieces`, fed one after the other; ends at the first fault.
fn decode(pieces: &[&[u8]]) -> (Vec<Request>, Option<Fault>) {
    let mut decoder = Decoder::new(MAX_BODY_BYTES);
    let mut buffer = BytesMut::new();
    let mut requests = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(fault) => return (requests, Some(fault)),
            }
        }
    }
    (requests, None)
}

fn only(bytes: &[u8]) -> Request {
    let (mut requests, fault) = decode(&[bytes]);
    assert_eq!(fault, None, "{}", bytes.escape_ascii());
    assert_eq!(requests.len(), 1, "{}", bytes.escape_ascii());
    requests.remove(0)
}

fn arguments(bytes: &[u8]) -> Vec<String> {
    only(bytes).arguments().map(str::to_owned).collect()
}

#[test]
fn arguments_are_split_at_single_spaces_and_unquoted() {
    for (line, expected) in [
        ("echo hello", &["echo", "hello"][..]),
        ("echo", &["echo"]),
        ("echo  a ", &["echo", "", "a", ""]),
        (r#"echo "a b" c"#, &["echo", "a b", "c"]),
        (r#"echo """#, &["echo", ""]),
        (r#""echo" x"#, &["echo", "x"]),
        (r#"echo a"b \n"#, &["echo", "a\"b", "\\n"]),
        (r#"echo "\"\\\r\n\t\x41\xc3\xa9""#, &["echo", "\"\\\r\n\tA\u{e9}"]),
        (r#"echo "\x00""#, &["echo", "\0"]),
        ("écho ünï", &["écho", "ünï"]),
        ("a:b c", &["a:b", "c"]),
    ] {
        assert_eq!(arguments(format!("{line}\r\n\r\n").as_bytes()), expected, "{line}");
    }
}

#[test]
fn headers_keep_their_order_and_the_protocols_own_are_read() {
    let request = only(b"c\r\nA: 1\r\nsequence:  s-1 \r\nB:\r\na: 2\r\nTIMEOUT-MS: 0\r\nSize: 3\r\n\r\nxyz");
    assert_eq!(request.headers().collect::<Vec<_>>(), [("A", "1"), ("B", ""), ("a", "2")]);
    assert_eq!(request.header("a"), Some("1"));
    assert_eq!(request.header("Sequence"), None);
    assert_eq!(request.sequence(), Sequence::parse("s-1").as_ref());
    assert_eq!(request.timeout_ms(), Some(0));
    assert_eq!(&request.body()[..], b"xyz");
}

#[test]
fn every_fault_says_what_and_where() {
    let long = [b"a ".as_slice(), &[b'x'; MAX_HEAD_BYTES]].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"echo a\n\n", "bare LF at byte 7"),
        (b"echo a\rb", "bare CR at byte 7"),
        (b"echo a\0b", "control byte 0x00 at byte 7"),
        (b"echo a\tb", "control byte 0x09 at byte 7"),
        (b"echo \x7f", "control byte 0x7f at byte 6"),
        (b"echo \xff\r\n", "invalid UTF-8 at byte 6"),
        (b"echo \xc3\r\n", "invalid UTF-8 at byte 6"),
        (b"\r\n", "the first argument is empty at byte 1"),
        (b" echo\r\n", "the first argument is empty"),
        (b"\"\" a\r\n", "the first argument is empty"),
        (b"echo \"a\r\n", "argument 2 has no closing quote; it opens at byte 6"),
        (b"echo \"a\\\"\r\n", "argument 2 has no closing quote"),
        (b"echo \"a\"b\r\n", "closing quote of argument 2, at byte 9"),
        (b"echo \"\\q\"\r\n", "unknown escape at byte 7"),
        (b"echo \"\\x4\"\r\n", "unknown escape at byte 7"),
        (b"echo \"\\x+4\"\r\n", "unknown escape at byte 7"),
        (b"echo \"\\xff\"\r\n", "argument 2 is not UTF-8"),
        (b"echo\r\nheader\r\n", "no colon in the header in line 2"),
        (b"echo\r\nA: b\r\n: b\r\n", "the header's name in line 3"),
        (b"echo\r\nA : b\r\n", "the header's name in line 2"),
        (b"echo\r\n A: b\r\n", "the header's name in line 2"),
        (b"echo\r\nSize: 1\r\nsize: 1\r\n", "Size is repeated in line 3"),
        (b"echo\r\nSequence: 1\r\nSEQUENCE: 2\r\n", "Sequence is repeated in line 3"),
        (b"echo\r\nTimeout-Ms: 1\r\nTimeout-Ms: 1\r\n", "Timeout-Ms is repeated in line 3"),
        (b"echo\r\nSequence: a b\r\n", "Sequence in line 2"),
        (b"echo\r\nSequence:\r\n", "Sequence in line 2"),
        (b"echo\r\nSequence: \xc3\xa9\r\n", "Sequence in line 2"),
        (b"echo\r\nIdempotency-Key: a\r\nidempotency-key: a\r\n", "Idempotency-Key is repeated in line 3"),
        (b"echo\r\nIdempotency-Key: a b\r\n", "Idempotency-Key in line 2 is not 1 to 64 visible ASCII"),
        (b"echo\r\nIdempotency-Key:\r\n", "Idempotency-Key in line 2"),
        (b"echo\r\nIdempotency-Key: \xc3\xa9\r\n", "Idempotency-Key in line 2"),
        (b"echo\r\nSize: -1\r\n", "Size in line 2"),
        (b"echo\r\nSize: +1\r\n", "Size in line 2"),
        (b"echo\r\nSize: 0x1\r\n", "Size in line 2"),
        (b"echo\r\nSize:\r\n", "Size in line 2"),
        (b"echo\r\nSize: 99999999999999999999\r\n", "Size in line 2"),
        (b"echo\r\nTimeout-Ms: soon\r\n", "Timeout-Ms in line 2"),
        (b"echo\r\nSize: 10001\r\n\r\n", "a body of 10001 bytes is larger than the limit of 10000"),
        (&long, "the head is longer than 8192 bytes"),
    ];
    for (bytes, words) in cases {
        let (requests, fault) = decode(&[bytes]);
        let fault = fault.unwrap_or_else(|| panic!("no fault in {}", bytes.escape_ascii())).to_string();
        assert!(fault.contains(words), "{}: {fault}", bytes.escape_ascii());
        assert!(requests.is_empty());
    }
}

#[test]
fn a_sequence_has_1_to_64_characters() {
    let head = |length| format!("c\r\nSequence: {}\r\n\r\n", "s".repeat(length));
    assert!(decode(&[head(64).as_bytes()]).1.is_none());
    assert_eq!(decode(&[head(65).as_bytes()]).1, Some(Fault::Sequence { line: 2 }));
}

#[test]
fn an_idempotency_key_is_the_protocols_and_the_plugins() {
    let request = only(b"c a\r\nA: 1\r\nidempotency-KEY:  k-1 \r\nSequence: s\r\n\r\n");
    assert_eq!(request.idempotency_key(), Some("k-1"));
    assert_eq!(request.headers().collect::<Vec<_>>(), [("A", "1"), ("idempotency-KEY", "k-1")]);
    assert_eq!(only(b"c\r\nKey: k\r\n\r\n").idempotency_key(), None);
    let head = |length| format!("c\r\nIdempotency-Key: {}\r\n\r\n", "k".repeat(length));
    assert!(decode(&[head(64).as_bytes()]).1.is_none());
    assert_eq!(decode(&[head(65).as_bytes()]).1, Some(Fault::IdempotencyKey { line: 2 }));
}

#[test]
fn a_head_of_exactly_the_limit_is_read() {
    let head = |length: usize| format!("c {}\r\n\r\n", "x".repeat(length - 6));
    assert_eq!(only(head(MAX_HEAD_BYTES).as_bytes()).arguments().len(), 2);
    assert_eq!(decode(&[head(MAX_HEAD_BYTES + 1).as_bytes()]).1, Some(Fault::HeadTooLong));
}

#[test]
fn a_request_has_so_many_arguments_and_headers_and_no_more() {
    let line = |arguments: usize| format!("c{}\r\n\r\n", " ".repeat(arguments - 1));
    assert_eq!(only(line(MAX_ARGUMENTS).as_bytes()).arguments().len(), MAX_ARGUMENTS);
    let too_many = Fault::TooManyArguments { at: MAX_ARGUMENTS + 2 };
    assert_eq!(decode(&[line(MAX_ARGUMENTS + 1).as_bytes()]).1.as_ref(), Some(&too_many));
    // The first fault in byte order is reported.
    let behind = format!("c{}\"not closed\r\n", " ".repeat(MAX_ARGUMENTS));
    assert_eq!(decode(&[behind.as_bytes()]).1.as_ref(), Some(&too_many));
    let words = too_many.to_string();
    assert_eq!(
        words,
        "argument 1025 begins at byte 1026, and a request has 1024 at most; send many as a body, with a Size header"
    );

    let head = |headers: usize| format!("c\r\nSequence: 1\r\n{}Size: 0\r\n\r\n", "A:\r\n".repeat(headers));
    assert_eq!(only(head(MAX_HEADERS).as_bytes()).headers().len(), MAX_HEADERS);
    let fault = decode(&[head(MAX_HEADERS + 1).as_bytes()]).1.unwrap();
    assert_eq!(fault, Fault::TooManyHeaders { line: MAX_HEADERS + 3 });
    assert_eq!(
        fault.to_string(),
        "the header in line 131 is one more than the 128 that a request may have; send many as a body, with a Size header"
    );
    let arguments = vec!["c".to_owned(); MAX_ARGUMENTS + 1];
    assert!(Request::composed(&arguments[1..], Bytes::new()).is_ok());
    assert!(Request::composed(&arguments, Bytes::new()).is_err());
}

#[test]
fn what_a_request_holds_is_counted_and_not_what_was_sent() {
    let plain = only(b"c\r\n\r\n").size_bytes();
    let empty = only(format!("c{}\r\n\r\n", " ".repeat(1000)).as_bytes()).size_bytes();
    assert_eq!(empty - plain, 4 * 1000);
    let headers = only(format!("c\r\n{}\r\n", "A:\r\n".repeat(100)).as_bytes()).size_bytes();
    assert_eq!(headers - plain, 9 * 100);
    let body = only(format!("c\r\nSize: 5000\r\n\r\n{}", "b".repeat(5000)).as_bytes());
    assert_eq!(body.size_bytes() - plain, 5000);
}

#[test]
fn a_small_body_keeps_nothing_of_a_large_one_before_it() {
    let mut decoder = Decoder::new(1 << 20);
    let (mut buffer, mut kept) = (BytesMut::new(), Vec::new());
    for size in [1_000_000, 4097, 1_000_000, 5000] {
        buffer.extend_from_slice(format!("c\r\nSize: {size}\r\n\r\n").as_bytes());
        buffer.extend_from_slice(&vec![b'b'; size]);
        let request = decoder.decode(&mut buffer).unwrap().or_else(|| decoder.decode(&mut buffer).unwrap());
        kept.push(request.unwrap().body().clone());
    }
    for body in kept {
        // The buffer holds the body alone, with no room before or after it, and so is not shared.
        let (length, begin) = (body.len(), body.as_ptr());
        let whole = Vec::from(body);
        assert_eq!((whole.capacity(), whole.as_ptr()), (length, begin));
    }
}

#[test]
fn many_small_requests_in_a_full_buffer_are_no_large_one() {
    let (requests, fault) = decode(&[&b"echo a\r\n\r\n".repeat(10_000)]);
    assert_eq!((requests.len(), fault), (10_000, None));
}

#[test]
fn a_fault_is_final() {
    let mut decoder = Decoder::new(0);
    let mut buffer = BytesMut::from(&b"\r\n"[..]);
    let fault = decoder.decode(&mut buffer).unwrap_err();
    buffer.clear();
    buffer.extend_from_slice(b"echo a\r\n\r\n");
    assert_eq!(decoder.decode(&mut buffer), Err(fault));
}

#[test]
fn the_phase_tells_what_is_missing() {
    let mut decoder = Decoder::new(10);
    let mut buffer = BytesMut::new();
    let mut after = |bytes: &[u8]| {
        buffer.extend_from_slice(bytes);
        let decoded = decoder.decode(&mut buffer).unwrap().is_some();
        (decoded, decoder.phase())
    };
    assert_eq!(after(b""), (false, Phase::Idle));
    assert_eq!(after(b"e"), (false, Phase::Head));
    assert_eq!(after(b"cho\r\nSize: 2\r\n\r\n"), (false, Phase::Body));
    assert_eq!(after(b"a"), (false, Phase::Body));
    assert_eq!(after(b"b"), (true, Phase::Idle));
}

#[test]
fn a_body_that_is_refused_is_dropped_as_it_comes_and_the_next_request_is_read() {
    const BODY: &[u8] = b"Sequence: x\r\n\r\nbody";
    let head = format!("a\r\nSequence: s\r\nSize: {}\r\n\r\n", BODY.len());
    // Bytes of the body that have arrived when it is refused, and bytes in the next piece.
    for came in 0..BODY.len() {
        for next in 1..=BODY.len() - came {
            let mut decoder = Decoder::new(BODY.len());
            let mut input = BytesMut::from(&[head.as_bytes(), &BODY[..came]].concat()[..]);
            assert_eq!(decoder.refuse_body(&mut input), None, "its head is not decoded");
            assert_eq!(decoder.decode(&mut input), Ok(None));
            let refused = decoder.refuse_body(&mut input).expect("a body has begun");
            assert_eq!((refused.command(), refused.body().len(), input.len()), ("a", 0, 0));
            assert_eq!(refused.sequence().map(ToString::to_string).as_deref(), Some("s"));
            assert_eq!((decoder.phase(), decoder.refuse_body(&mut input)), (Phase::Body, None));
            input.extend_from_slice(&BODY[came..came + next]);
            let is_whole = came + next == BODY.len();
            assert_eq!(decoder.decode(&mut input), Ok(None));
            assert_eq!((decoder.phase() == Phase::Idle, input.is_empty()), (is_whole, true));
            input.extend_from_slice(&BODY[came + next..]);
            input.extend_from_slice(b"b\r\n\r\nc");
            let behind = decoder.decode(&mut input).unwrap().expect("the next request");
            assert_eq!((behind.command(), &input[..]), ("b", &b"c"[..]));
        }
    }
}

#[test]
fn an_announced_body_reserves_little_before_it_comes() {
    let mut decoder = Decoder::new(1 << 30);
    let mut buffer = BytesMut::from(&b"c\r\nSize: 1000000000\r\n\r\n"[..]);
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    assert!(buffer.capacity() <= 128 << 10, "{}", buffer.capacity());
}

/// Generates bytes that look like requests, with some damage.
fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => "(echo|@ping|kv-get)( [a-z\"\\\\]{0,8}){0,3}\r\n".prop_map(String::into_bytes),
        6 => Just(b"\r\n".to_vec()),
        2 => "(Sequence|Size|Timeout-Ms|X-Y): ?[0-9a-z]{0,5}\r\n".prop_map(String::into_bytes),
        2 => "echo \"([a-z ]|\\\\\\\\|\\\\x[0-9a-f]{2}|\\\\n){0,10}\"\r\n\r\n".prop_map(String::into_bytes),
        2 => (0usize..300).prop_map(|size| [format!("put\r\nSize: {size}\r\n\r\n").into_bytes(), vec![b'b'; size]].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (0usize..9000).prop_map(|length| vec![b'x'; length]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn every_split_gives_the_same(bytes in nearly_requests(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        let mut taken = 0;
        for cut in cuts {
            let (piece, after) = rest.split_at(cut - taken);
            pieces.push(piece);
            (rest, taken) = (after, cut);
        }
        pieces.push(rest);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let whole = decode(&[&bytes]);
        prop_assert_eq!(&decode(&pieces), &whole);
        prop_assert_eq!(&decode(&single), &whole);
    }

    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_its_limits(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
        let mut decoder = Decoder::new(MAX_BODY_BYTES);
        let mut buffer = BytesMut::new();
        for piece in bytes.chunks(700) {
            buffer.extend_from_slice(piece);
            while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
            if decoder.decode(&mut buffer).is_err() {
                break;
            }
            prop_assert!(buffer.len() <= MAX_HEAD_BYTES.max(MAX_BODY_BYTES));
        }
    }

    #[test]
    fn what_a_client_encodes_is_what_the_server_reads(
        command in "[a-z]{1,10}",
        rest in prop::collection::vec(any::<String>().prop_filter("head", |text| text.len() < 200), 0..5),
        body in prop::collection::vec(any::<u8>(), 0..200),
        sequence in any::<u64>(),
    ) {
        let sent: Vec<String> = std::iter::once(command).chain(rest).collect();
        let request = client::Request::from_arguments(&sent).unwrap().sequence(sequence).body(body.clone());
        let read = only(&request.encode().unwrap());
        prop_assert_eq!(read.arguments().map(str::to_owned).collect::<Vec<_>>(), sent);
        prop_assert_eq!(&read.body()[..], &body[..]);
        prop_assert_eq!(read.sequence().unwrap().to_string(), sequence.to_string());
    }
}
