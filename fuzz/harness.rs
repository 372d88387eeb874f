//! Properties that hold for any bytes: one function for each target in `targets/`.
//!
//! The targets call them with libFuzzer's inputs, and `tests/fuzz.rs` with the corpus.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use lictor::authz::PermissionPattern;
use lictor::config;
use lictor::identity::{Authority, Roster, Thumbprint, authenticate};
use lictor::wire::{
    Code, CommandError, Decoder, Fault, MAX_HEAD_BYTES, Request, Sent, Sequence, encode_fault, encode_reply,
};
use rustls::pki_types::CertificateDer;

/// A target's name, which is also that of its folder in `corpus/`, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("decode", decode),
    ("reply", reply),
    ("certificate", certificate),
    ("thumbprint", thumbprint),
    ("config", config),
    ("pattern", pattern),
];

/// Largest body that [`decode`] takes: small, so that inputs exceed it.
const MAX_BODY_BYTES: usize = 4096;

/// Number of further splits of its input that [`decode`] tries, besides no split and single bytes.
const SPLITS: u64 = 6;

/// The end of a head and of a plain reply.
const END: &[u8] = b"\r\n\r\n";

/// A client's bytes: neither the requests nor the fault at their end depend on how the bytes are split, or on
/// bodies that are refused; no limit is exceeded, and a fault makes one reply.
pub fn decode(bytes: &[u8]) {
    let whole = decoded([bytes], Bodies::Taken);
    assert_eq!(decoded(bytes.chunks(1), Bodies::Taken), whole, "in single bytes");
    assert_same_but_refused(&decoded(bytes.chunks(1), Bodies::Refused), &whole);
    for salt in 0..SPLITS {
        let pieces = pieces(bytes, salt);
        let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
        assert_eq!(decoded(pieces.clone(), Bodies::Taken), whole, "in pieces of {lengths:?} bytes");
        assert_same_but_refused(&decoded(pieces, Bodies::Refused), &whole);
    }
    let (requests, fault) = whole;
    for request in &requests {
        assert!(request.arguments().next().is_some_and(|command| !command.is_empty()));
        assert!(request.body().len() <= MAX_BODY_BYTES);
        assert!(request.headers().all(|(name, value)| is_one_line(name) && is_one_line(value)));
        // The idempotency key is the header that the plugin reads.
        assert_eq!(request.idempotency_key(), request.header("Idempotency-Key"));
    }
    if let Some(fault) = fault {
        let mut out = BytesMut::new();
        encode_fault(&fault, &mut out);
        assert_is_one_error(&out);
    }
}

/// Treatment of a body that has not fully arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bodies {
    Taken,
    Refused,
}

/// The decoded requests, and the fault after them.
type Decoded = (Vec<Request>, Option<Fault>);

/// A refused body is dropped as a whole, and not a byte more: its request is missing, and everything else is
/// as if the body had been taken. A request whose body never arrived in full is read only if bodies are
/// refused.
fn assert_same_but_refused((requests, fault): &Decoded, (whole, fault_of_whole): &Decoded) {
    assert_eq!(fault, fault_of_whole, "the fault behind refused bodies");
    let surplus = requests.len().checked_sub(whole.len());
    assert!(surplus == Some(0) || (surplus == Some(1) && fault.is_none()), "{surplus:?} requests more");
    for (request, of_whole) in requests.iter().zip(whole) {
        let mut expected = of_whole.clone();
        if request.body().is_empty() {
            expected.drop_body();
        }
        assert_eq!(*request, expected, "a body is refused, or as it was sent");
    }
}

/// Decodes `pieces`, fed one after the other; ends at the first fault.
fn decoded<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, bodies: Bodies) -> Decoded {
    let mut decoder = Decoder::new(MAX_BODY_BYTES);
    let mut buffer = BytesMut::new();
    let mut requests = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(fault) => {
                    assert_eq!(decoder.refuse_body(&mut buffer), None, "behind a fault nothing is read");
                    assert_eq!(decoder.decode(&mut buffer).as_ref(), Err(&fault), "a fault is final");
                    return (requests, Some(fault));
                }
            }
        }
        if bodies == Bodies::Refused {
            requests.extend(decoder.refuse_body(&mut buffer));
        }
        assert!(buffer.len() < MAX_HEAD_BYTES.max(MAX_BODY_BYTES), "{} bytes are held", buffer.len());
    }
    (requests, None)
}

/// Splits `bytes` into pieces, by the bytes and `salt` alone, so that a finding can be replayed.
fn pieces(bytes: &[u8], salt: u64) -> Vec<&[u8]> {
    let mut state = bytes.iter().fold(salt, |state, byte| next(state ^ u64::from(*byte)));
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        state = next(state);
        let most = if state & 1 == 0 { 8 } else { 2048 };
        let length = 1 + (state >> 33) as usize % most.min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Returns the next state of a linear congruential generator, with Knuth's constants.
fn next(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

/// A command's answer: for any bytes the client reads one reply, and with a `Sequence` exactly these bytes.
/// Split at NULs, the input is several plain replies, none of which reads as a frame, alone or among the
/// others.
pub fn reply(answer: &[u8]) {
    let mut in_a_row = BytesMut::new();
    for answer in answer.split(|byte| *byte == 0) {
        let begin = in_a_row.len();
        encode_reply(None, Ok(answer), &mut in_a_row);
        assert_has_no_frame(&in_a_row[begin..]);
    }
    assert_has_no_frame(&in_a_row);

    let mut plain = BytesMut::new();
    let sent = encode_reply(None, Ok(answer), &mut plain);
    assert_eq!(first_end(&plain), Some(plain.len() - END.len()), "a plain reply ends once");
    match sent {
        Sent::Whole => assert_eq!(&plain[..plain.len() - END.len()], answer),
        Sent::Unframeable => assert_is_one_error(&plain),
    }

    let sequence = Sequence::parse("s");
    let mut framed = BytesMut::new();
    encode_reply(sequence.as_ref(), Ok(answer), &mut framed);
    let head = format!("OK\r\nSequence: s\r\nSize: {}\r\n\r\n", answer.len());
    assert_eq!(framed.strip_prefix(head.as_bytes()), Some(answer));

    let error = CommandError::unknown(Code::PluginFailed, String::from_utf8_lossy(answer).into_owned());
    for sequence in [None, sequence.as_ref()] {
        let mut out = BytesMut::new();
        encode_reply(sequence, Err(&error), &mut out);
        assert_is_one_error(&out);
        let lines = String::from_utf8_lossy(&out).lines().count();
        assert_eq!(lines, if sequence.is_some() { 6 } else { 2 }, "a message adds no line");
    }
}

/// Asserts that a client reading plain `replies` line by line finds no head of a frame among them.
fn assert_has_no_frame(replies: &[u8]) {
    let text = std::str::from_utf8(replies).unwrap();
    let mut lines = text.split("\r\n");
    while let Some(first) = lines.next() {
        let others = match first {
            "" => 0,
            _ => lines.by_ref().take_while(|line| !line.is_empty()).count(),
        };
        let begins_head = matches!(first, "OK" | "PART" | "ERR") || first.starts_with("ERR ");
        assert!(!begins_head || others == 0, "{first:?} and {others} lines in {text:?}");
    }
}

fn first_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(END.len()).position(|window| window == END)
}

/// Asserts that `out` is `ERR …` with one empty line, at its end, and nothing that a terminal would obey.
fn assert_is_one_error(out: &[u8]) {
    assert!(out.starts_with(b"ERR ") && first_end(out) == Some(out.len() - END.len()));
    let text = std::str::from_utf8(out).unwrap();
    assert!(text.split("\r\n").all(is_one_line), "{text:?}");
}

fn is_one_line(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// An authority's certificate. The corpus of `certificate` has one that it signed; its key no longer exists.
const AUTHORITY: &[u8] = include_bytes!("authority");

/// A stranger's certificate: it is admitted only if it is pinned, or signed by an authority with a client's
/// URI, and within its dates. Its description, both to the stranger and in the log, is one short line.
pub fn certificate(der: &[u8]) {
    let chain = [CertificateDer::from(der)];
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let refusal = authenticate(&chain, &Roster::default(), now).unwrap_err().to_string();
    assert!(refusal.starts_with("certificate (") && refusal.ends_with("' is unknown"), "{refusal}");
    assert_is_short_line(&refusal);

    for pin in [Thumbprint::sha1_of(der), Thumbprint::sha256_of(der)] {
        let roster: Roster = [(pin, Arc::from("client"))].into_iter().collect();
        match authenticate(&chain, &roster, now) {
            Ok(identity) => {
                assert_eq!((identity.name(), identity.thumbprint()), ("client", Thumbprint::sha256_of(der)));
                assert_eq!(identity.validity().fault_at(now), None);
                assert_is_short_line(identity.certificate_name());
            }
            Err(refusal) => assert_is_short_line(&refusal.to_string()),
        }
    }

    let authority = Authority::new(AUTHORITY.into()).unwrap();
    let uris = [("urn:example:client".parse().unwrap(), Arc::from("client"))];
    let roster = Roster::default().with_uris([authority], uris);
    match authenticate(&chain, &roster, now) {
        Ok(identity) => {
            assert_eq!(identity.known_by().to_string(), "urn:example:client by Fuzz CA");
            assert_eq!((identity.name(), identity.validity().fault_at(now)), ("client", None));
            assert!(roster.check(&identity, &chain, now).is_ok());
        }
        Err(refusal) => {
            assert_is_short_line(&refusal.to_string());
            assert_is_short_line(refusal.detail().unwrap_or_default());
        }
    }
}

fn assert_is_short_line(text: &str) {
    assert!(is_one_line(text) && text.chars().count() < 1200, "{text:?}");
}

/// A thumbprint: it is shown as the digits that were read, which may follow a label, and reading them again
/// gives the same thumbprint.
pub fn thumbprint(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Thumbprint>() {
        Ok(thumbprint) => {
            let shown = thumbprint.to_string();
            let digits = text.to_lowercase().replace(|letter: char| !letter.is_ascii_hexdigit(), "");
            assert!(digits.ends_with(&shown), "{digits} and {shown}");
            assert_eq!(shown.parse(), Ok(thumbprint));
        }
        Err(error) => assert!(is_one_line(&error.to_string()), "{error}"),
    }
}

/// A config file: reading it is deterministic, every fault has words and a place in the text, and both ways
/// of showing a fault succeed.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let path = Path::new("nowhere/server.toml");
    let verdict = config::parse(path, &text);
    match (&verdict, config::parse(path, &text)) {
        (Ok(loaded), Ok(again)) => assert_eq!(loaded.config, again.config),
        (Err(faults), Err(again)) => assert_eq!(faults.to_string(), again.to_string()),
        (_, again) => panic!("{verdict:?} and then {again:?}"),
    }
    if let Err(faults) = verdict {
        assert!(faults.iter().next().is_some(), "refused without a word");
        let lines = text.matches('\n').count() + 1;
        for fault in faults.iter() {
            assert!(fault.position().is_none_or(|(line, column)| line <= lines && column >= 1), "{fault}");
            assert!(!fault.to_string().is_empty());
        }
        let _ = faults.render(lictor::config::Style::Colored);
    }
}

/// A character that stands for an unquoted or quoted `*` in [`pattern`]; no input may hold it.
const WILDCARD: char = '\u{F0000}';

/// A permission pattern on the first line, and arguments on the others: a naive matcher, which reads the
/// pattern's words as the wire does, decides alike.
pub fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let written = lines.next().unwrap_or_default();
    let parsed = match written.parse::<PermissionPattern>() {
        Ok(parsed) if !text.contains(WILDCARD) => parsed,
        Ok(_) => return,
        Err(invalid) => return assert!(!invalid.what.is_empty()),
    };
    assert_eq!(parsed.as_ref(), written, "it is shown as it was written");
    // The command is matched as it is, to get to the arguments.
    let command = parsed.command().as_ref().trim_end_matches('*');
    let command = if command.is_empty() { "c" } else { command };
    let arguments: Vec<String> = std::iter::once(command).chain(lines).map(str::to_owned).collect();
    let Ok(request) = Request::composed(&arguments, Bytes::new()) else { return };
    let expected = match written.split_once(' ') {
        None | Some((_, "...")) => true,
        Some((_, ".")) => arguments.len() == 1,
        Some((_, words)) => match words.strip_suffix(" ...") {
            Some(words) => match_naively(words, &arguments[1..], Further::Allowed),
            None => match_naively(words, &arguments[1..], Further::Refused),
        },
    };
    assert_eq!(parsed.allows(&request), expected);
}

/// Arguments beyond a pattern's words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Further {
    Allowed,
    Refused,
}

fn match_naively(words: &str, arguments: &[String], further: Further) -> bool {
    let line = format!("c {}\r\n\r\n", words.replace('*', &WILDCARD.to_string()));
    let decoded = Decoder::new(0).decode(&mut BytesMut::from(line.as_bytes()));
    let Ok(Some(request)) = decoded else { panic!("the words are a client's line: {decoded:?}") };
    let words: Vec<Vec<char>> = request.arguments().skip(1).map(|word| word.chars().collect()).collect();
    let fits = words.len() == arguments.len() || further == Further::Allowed && words.len() < arguments.len();
    let matches = |(word, argument): (&Vec<char>, &String)| {
        // The places that the word's start may reach in the argument, letter by letter.
        let argument: Vec<char> = argument.chars().collect();
        let mut reached = vec![false; argument.len() + 1];
        reached[0] = true;
        for letter in word {
            if *letter == WILDCARD {
                let first = reached.iter().position(|reached| *reached).unwrap_or(reached.len());
                reached[first..].fill(true);
            } else {
                let after = (0..argument.len()).map(|place| reached[place] && argument[place] == *letter);
                reached = std::iter::once(false).chain(after).collect();
            }
        }
        reached[argument.len()]
    };
    fits && words.iter().zip(arguments).all(matches)
}
