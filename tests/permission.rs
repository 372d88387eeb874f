//! From an identity and a request to the handler: permission and routing, as a table.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use lictor::authz::{Grounds, PermissionPattern, Permissions, Policy, permit};
use lictor::identity::{PeerIdentity, Roster, Thumbprint, authenticate};
use lictor::route::{BUILT_INS, Routes, Target};
use lictor::wire::{Decoder, Request};
use proptest::prelude::*;
use proptest::sample::select;

fn client(name: &str) -> PeerIdentity {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let roster: Roster = [(Thumbprint::sha256_of(certificate.der()), Arc::from(name))].into_iter().collect();
    authenticate(&[certificate.der().clone()], &roster, SystemTime::now()).unwrap()
}

fn request(line: &str) -> Request {
    let mut bytes = BytesMut::from(format!("{line}\r\n\r\n").as_bytes());
    Decoder::new(0).decode(&mut bytes).unwrap().unwrap()
}

fn is_allowed(identity: &PeerIdentity, request: &Request, policy: &Policy) -> bool {
    let permit = permit(identity, request, policy, SystemTime::now);
    permit.is_some_and(|permit| permit.grounds() == Grounds::Allowed)
}

fn policy(client: &str, patterns: &[&str]) -> Policy {
    let patterns = patterns.iter().map(|pattern| pattern.parse::<PermissionPattern>().unwrap()).collect();
    [(Arc::from(client), patterns)].into_iter().collect()
}

#[test]
fn a_client_may_run_what_its_patterns_say_and_nothing_else() {
    let laptop = client("laptop");
    for (patterns, command, allowed) in [
        (&[][..], "echo", false),
        (&["echo"], "echo", true),
        (&["echo"], "Echo", false),
        (&["echo"], "echo2", false),
        (&["echo"], "ech", false),
        (&["kv-*"], "kv-get", true),
        (&["kv-*"], "kv-", true),
        (&["kv-*"], "kv", false),
        (&["*"], "echo", true),
        (&["*"], "@ping", false),
        (&["@*"], "@ping", true),
        (&["@*"], "echo", false),
        (&["@ping"], "@whoami", false),
        (&["echo", "@ping"], "@ping", true),
    ] {
        let is_allowed = is_allowed(&laptop, &request(command), &policy("laptop", patterns));
        assert_eq!(is_allowed, allowed, "{patterns:?} {command}");
    }
}

#[test]
fn a_pattern_with_arguments_allows_these_arguments_alone() {
    let laptop = client("laptop");
    for (pattern, line, allowed) in [
        ("deploy", "deploy staging now", true),
        ("deploy staging", "deploy staging", true),
        ("deploy staging", "deploy \"staging\"", true),
        ("deploy staging", "deploy", false),
        ("deploy staging", "deploy Staging", false),
        ("deploy staging", "deploy staging now", false),
        ("deploy staging", "undeploy staging", false),
        ("deploy staging *", "deploy staging v1", true),
        ("deploy staging *", "deploy staging \"\"", true),
        ("deploy staging *", "deploy staging \"v1 now\"", true),
        ("deploy staging *", "deploy staging", false),
        ("deploy staging *", "deploy staging v1 v2", false),
        ("deploy staging ...", "deploy staging", true),
        ("deploy staging ...", "deploy staging v1 v2", true),
        ("deploy staging ...", "deploy", false),
        ("deploy ...", "deploy", true),
        ("deploy ...", "deploy a b", true),
        ("deploy .", "deploy", true),
        ("deploy .", "deploy .", false),
        ("deploy \".\"", "deploy .", true),
        ("deploy \".\"", "deploy", false),
        ("deploy . x", "deploy . x", true),
        ("deploy \"...\"", "deploy ...", true),
        ("deploy \"...\"", "deploy a", false),
        ("deploy \"\"", "deploy \"\"", true),
        ("deploy \"\"", "deploy", false),
        ("get users/*", "get users/1", true),
        ("get users/*", "get users/", true),
        ("get users/*", "get groups/1", false),
        ("get \"users/*\"", "get users/1", true),
        (r#"get "users/\x2a""#, "get users/*", true),
        (r#"get "users/\x2a""#, "get users/1", false),
        (r#"say "a b" *"#, "say \"a b\" c", true),
        (r#"say "a b" *"#, "say a b c", false),
        (r#"say "a\"b""#, r#"say "a\"b""#, true),
        (r#"say "\xc3\xa4""#, "say ä", true),
        (r#"say "a\r\n*""#, r#"say "a\r\nb""#, true),
        (r#"say a"b c\d"#, r#"say a"b c\d"#, true),
        ("kv-* users/*", "kv-set users/1", true),
        ("kv-* users/*", "kv-set users/1 x", false),
        ("* -h", "anything -h", true),
        ("* -h", "@drain -h", false),
        ("@status .", "@status", true),
        ("@status .", "@status metrics", false),
        ("@* metrics", "@status metrics", true),
    ] {
        let is_allowed = is_allowed(&laptop, &request(line), &policy("laptop", &[pattern]));
        assert_eq!(is_allowed, allowed, "{pattern:?} {line}");
    }
}

#[test]
fn the_closest_patterns_are_named_with_the_argument_that_differs() {
    let policy =
        policy("laptop", &["deploy staging *", "deploy * now", "deploy --help", "kv-*", "deploy .", "@ping"]);
    let laptop = client("laptop");
    for (line, closest) in [
        (
            "deploy prod now2",
            "`deploy * now` (argument 2 differs), `deploy staging *` (argument 1 differs), `deploy --help` (argument 1 differs)",
        ),
        (
            "deploy staging",
            "`deploy staging *` (argument 2 is missing), `deploy * now` (argument 2 is missing), `deploy --help` (argument 1 differs)",
        ),
        (
            "deploy --help me",
            "`deploy * now` (argument 2 differs), `deploy --help` (argument 2 is one too many), `deploy staging *` (argument 1 differs)",
        ),
        ("deploy", ""),
        (
            "deploy x y z",
            "`deploy * now` (argument 2 differs), `deploy staging *` (argument 1 differs), `deploy --help` (argument 1 differs)",
        ),
        ("other", ""),
        ("kv-get x", ""),
    ] {
        assert_eq!(policy.closest(&laptop, &request(line)).unwrap_or_default(), closest, "{line}");
    }
    let policy = self::policy("laptop", &["deploy ."]);
    let closest = policy.closest(&laptop, &request("deploy x"));
    assert_eq!(closest.as_deref(), Some("`deploy .` (no argument is allowed)"));
}

#[test]
fn neither_headers_nor_the_body_have_a_say() {
    let mut bytes = BytesMut::from(&b"deploy staging\r\nBody-Length: 5\r\nMode: now\r\n\r\nprod\n"[..]);
    let request = Decoder::new(10).decode(&mut bytes).unwrap().unwrap();
    assert!(is_allowed(&client("a"), &request, &policy("a", &["deploy staging"])));
}

#[test]
fn a_wrong_pattern_is_refused_with_its_place() {
    let many = format!("a{}", " b".repeat(32));
    let long = format!("a {}", "b".repeat(1023));
    for (pattern, what) in [
        ("a  b", "a word is missing at position 3"),
        ("a b ", "a word is missing at position 5"),
        ("a ", "a word is missing at position 3"),
        (" a", "the pattern begins with a space"),
        ("\"a\" b", "'\"' at position 1 can't stand in a command's name"),
        ("a*b c", "`*` may stand only at the end of a pattern"),
        ("a ä \"b", "the quote at position 5 is not closed"),
        ("a \"b\\", "the `\\` at position 5 begins no escape"),
        ("a \"b\\x2", "the `\\` at position 5 begins no escape"),
        ("a \"ä\\*\"", "the `\\` at position 5 begins no escape"),
        ("a \"b\"c", "a space is missing at position 6"),
        ("a \"\\xff\"", "the word at position 3 is not UTF-8, which every argument is"),
        ("a \"\\xc3*\\xa4\"", "the word at position 3 is not UTF-8, which every argument is"),
        ("a ... b", "`...` at position 3 is not the last word"),
        ("a b\tc", "'\\t' at position 4 can't stand in a pattern"),
        ("a \"b\nc\"", "'\\n' at position 5 can't stand in a pattern"),
        (&many, "a pattern has at most 32 words"),
        (&long, "a pattern has at most 1024 bytes, this has 1025"),
    ] {
        let invalid = pattern.parse::<PermissionPattern>().unwrap_err();
        assert_eq!(invalid.what, what, "{pattern:?}");
        assert!(invalid.advice.is_some(), "{pattern:?}");
    }
    assert!(many[..many.len() - 2].parse::<PermissionPattern>().is_ok());
    assert!(long[..long.len() - 1].parse::<PermissionPattern>().is_ok());
}

/// Words of patterns and arguments: short ones of few letters, so that they match often.
fn words(of: &'static str) -> impl Strategy<Value = Vec<String>> {
    let word = proptest::collection::vec(select(of.chars().collect::<Vec<_>>()), 0..6);
    proptest::collection::vec(word.prop_map(String::from_iter), 1..4)
}

/// Matches by trying each length for each `*`.
fn matches_naively(pattern: &[char], argument: &[char]) -> bool {
    match pattern {
        [] => argument.is_empty(),
        ['*', rest @ ..] => (0..=argument.len()).any(|skipped| matches_naively(rest, &argument[skipped..])),
        [first, rest @ ..] => argument.first() == Some(first) && matches_naively(rest, &argument[1..]),
    }
}

fn composed(arguments: &[String]) -> Request {
    let all: Vec<_> = std::iter::once("c".to_owned()).chain(arguments.iter().cloned()).collect();
    Request::composed(&all, bytes::Bytes::new()).unwrap()
}

/// Writes a pattern of the command `c` with these words, each in quotes.
fn pattern(words: &[String]) -> PermissionPattern {
    words.iter().fold("c".to_owned(), |text, word| format!("{text} \"{word}\"")).parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_narrowest_pattern_of_a_request_allows_it_alone(
        arguments in proptest::collection::vec("[a.*\"\\\\ \r\n\t\u{7f}ä-]{0,3}", 0..35),
        other in proptest::collection::vec("[a.*\"\\\\ \r\n\t\u{7f}ä-]{0,3}", 0..35),
    ) {
        let pattern: PermissionPattern = PermissionPattern::only(&composed(&arguments)).parse().unwrap();
        prop_assert!(pattern.allows(&composed(&arguments)), "{}", pattern);
        prop_assert!(pattern.near(&composed(&arguments)).is_none());
        if arguments.len() < 31 && other != arguments {
            prop_assert!(!pattern.allows(&composed(&other)), "{} {:?}", pattern, other);
            prop_assert!(pattern.near(&composed(&other)).is_some());
        }
    }

    #[test]
    fn a_pattern_matches_as_a_naive_matcher_does(words in words("aä*"), arguments in words("aä")) {
        let chars = |text: &String| text.chars().collect::<Vec<_>>();
        let each = || words.iter().zip(&arguments).all(|(word, argument)| matches_naively(&chars(word), &chars(argument)));
        let expected = words.len() == arguments.len() && each();
        prop_assert_eq!(pattern(&words).allows(&composed(&arguments)), expected);
    }

    #[test]
    fn narrowed_permissions_allow_what_both_do_and_nothing_else(
        lists in proptest::collection::vec((proptest::collection::vec(words("a*"), 0..4), ends()), 2..6),
        arguments in proptest::collection::vec(words("ab"), 20),
    ) {
        let all: Vec<Permissions> =
            lists.iter().map(|(list, until)| permissions(list).reporting_until(*until)).collect();
        let narrowed = all[1..].iter().fold(all[0].clone(), |narrowed, wanted| narrowed.narrowed_to(wanted));
        for arguments in &arguments {
            let request = composed(arguments);
            let expected = all.iter().all(|permissions| permissions.allows(&request));
            prop_assert_eq!(narrowed.allows(&request), expected);
            for now in (0..4).map(at) {
                let runs = |it: &Permissions| it.allows(&request) || it.reports(&request, now);
                prop_assert_eq!(runs(&narrowed), all.iter().all(runs));
            }
        }
        for wanted in &all {
            prop_assert_eq!(narrowed.narrowed_to(wanted), narrowed.clone());
            prop_assert_eq!(wanted.narrowed_to(wanted), wanted.clone());
        }
    }
}

fn permissions(list: &[Vec<String>]) -> Permissions {
    list.iter().map(|words| pattern(words)).collect()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The end of reporting, if there is any.
fn ends() -> impl Strategy<Value = Option<SystemTime>> {
    proptest::option::of((0..4_u64).prop_map(at))
}

#[test]
fn denials_of_plugins_commands_are_reported_until_their_time() {
    let patterns = ["echo public *", "@ping ."].map(|pattern| pattern.parse::<PermissionPattern>().unwrap());
    let of_laptop = patterns.into_iter().collect::<Permissions>().reporting_until(Some(at(100)));
    let policy: Policy = [("laptop", of_laptop), ("desk", Permissions::default())]
        .map(|(name, permissions)| (Arc::from(name), permissions))
        .into_iter()
        .collect();
    let [laptop, desk, phone] = ["laptop", "desk", "phone"].map(client);
    for (identity, line, now, runs) in [
        (&laptop, "echo private x", 99, true),
        (&laptop, "echo private x", 100, false),
        (&laptop, "echo public x y", 0, true),
        (&laptop, "other", 99, true),
        (&laptop, "@status", 0, false),
        (&laptop, "@ping x", 0, false),
        (&laptop, "@nosuch", 0, false),
        (&desk, "echo", 0, false),
        (&phone, "echo", 0, false),
    ] {
        let denied = request(line);
        assert_eq!(policy.lets_run(identity, &denied, at(now)), runs, "{line} at {now}");
        let grounds = permit(identity, &denied, &policy, || at(now)).map(|permit| permit.grounds());
        assert_eq!(grounds, runs.then_some(Grounds::Reported), "{line} at {now}");
    }
    for now in [0, 200] {
        assert!(is_allowed(&laptop, &request("echo public x"), &policy));
        assert!(policy.lets_run(&laptop, &request("echo public x"), at(now)));
    }
    assert_eq!(policy.reporting(at(99)).into_iter().collect::<Vec<_>>(), [("laptop", at(100))]);
    assert!(policy.reporting(at(100)).is_empty());
    for (since, now, ended) in
        [(0, 99, false), (99, 100, true), (0, 500, true), (100, 101, false), (101, 0, false)]
    {
        assert_eq!(policy.ended_reporting(at(since), at(now)), ended, "{since} {now}");
    }
    // Patterns alone decide what is listed.
    assert!(policy.of_command(&laptop, "other").is_empty());
}

#[test]
fn permissions_that_are_narrowed_without_end_stay_small_and_allow_nothing_more() {
    let of = |number: usize| -> Permissions {
        let patterns = [format!("c *{number}* *"), format!("c * *{number}*"), "c x y".to_owned()];
        patterns.iter().map(|pattern| pattern.parse::<PermissionPattern>().unwrap()).collect()
    };
    let narrowed = (1..100).fold(of(0), |narrowed, number| narrowed.narrowed_to(&of(number)));
    assert!(narrowed.allows(&request("c x y")));
    assert!(!narrowed.allows(&request("c 98 98")));
    assert_eq!(narrowed.narrowed_to(&of(99)), narrowed);
}

#[test]
fn another_clients_patterns_do_not_count() {
    assert!(!is_allowed(&client("phone"), &request("echo"), &policy("laptop", &["*"])));
}

#[test]
fn a_permitted_request_goes_where_the_table_says() {
    let anybody = client("a");
    let policy = policy("a", &["*", "@*", "@watch"]);
    let routes: Routes<u32> = [(Arc::from("echo"), 1), (Arc::from("kv-get"), 2)].into_iter().collect();
    let target = |line: &str| {
        let request = request(line);
        let permit = permit(&anybody, &request, &policy, || panic!("an allowed request asks for no time"));
        match routes.route(&permit.unwrap()) {
            Some(Target::Plugin(plugin)) => plugin.to_string(),
            Some(Target::BuiltIn(built_in)) => format!("{built_in:?}"),
            None => "unknown".to_owned(),
        }
    };
    assert_eq!(target("echo a b"), "1");
    assert_eq!(target("kv-get a"), "2");
    assert_eq!(target("@ping"), "Ping");
    assert_eq!(target("kv"), "unknown");
    assert_eq!(target("@pin"), "unknown");
    for (built_in, name, ..) in BUILT_INS {
        assert_eq!(target(name), format!("{built_in:?}"));
        assert!(routes.has(name));
    }
}

#[test]
fn a_config_may_name_the_built_ins_that_there_are() {
    let mut named: Vec<_> = BUILT_INS.iter().map(|(_, name, ..)| *name).collect();
    let mut of_config = lictor::config::BUILT_INS.to_vec();
    named.sort_unstable();
    of_config.sort_unstable();
    assert_eq!(of_config, named);
}
