//! From an identity and a request to the handler: permission and routing, as a table.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::SystemTime;

use bytes::BytesMut;
use lictor::authz::{CommandPattern, Policy, permit};
use lictor::identity::{PeerIdentity, Roster, Thumbprint, authenticate};
use lictor::route::{BUILT_INS, Routes, Target};
use lictor::wire::{Decoder, Request};

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

fn policy(client: &str, patterns: &[&str]) -> Policy {
    let patterns = patterns.iter().map(|pattern| pattern.parse::<CommandPattern>().unwrap()).collect();
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
        let permitted = permit(&laptop, request(command), &policy("laptop", patterns));
        assert_eq!(permitted.is_ok(), allowed, "{patterns:?} {command}");
    }
}

#[test]
fn another_clients_patterns_do_not_count() {
    assert!(permit(&client("phone"), request("echo"), &policy("laptop", &["*"])).is_err());
}

#[test]
fn a_denied_request_comes_back_to_be_answered() {
    let denied = permit(&client("a"), request("echo hello"), &Policy::default()).unwrap_err();
    assert_eq!(denied.request.command(), "echo");
}

#[test]
fn a_permitted_request_goes_where_the_table_says() {
    let anybody = client("a");
    let policy = policy("a", &["*", "@*"]);
    let routes: Routes<u32> = [(Arc::from("echo"), 1), (Arc::from("kv-get"), 2)].into_iter().collect();
    let target = |line: &str| match routes.route(permit(&anybody, request(line), &policy).unwrap()) {
        Ok(Target::Plugin(plugin, request)) => {
            format!("{} {plugin} {}", request.command(), request.arguments().len())
        }
        Ok(Target::BuiltIn(built_in, _)) => format!("{built_in:?}"),
        Err(unknown) => format!("unknown {}", unknown.request.command()),
    };
    assert_eq!(target("echo a b"), "echo 1 3");
    assert_eq!(target("kv-get a"), "kv-get 2 2");
    assert_eq!(target("@ping"), "Ping");
    assert_eq!(target("kv"), "unknown kv");
    assert_eq!(target("@pin"), "unknown @pin");
    for (built_in, name, ..) in BUILT_INS {
        assert_eq!(target(name), format!("{built_in:?}"));
        assert!(routes.has(name));
    }
}
