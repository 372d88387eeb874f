//! Peers that break TLS, made with `tlslite-ng` in `hostile_tls.py`: each holds the key of an admitted
//! certificate, and so gets as far as possible.

use std::io::{ErrorKind, Read, Write};
use std::process::Command;

use testkit::certs::Identity;
use testkit::client::tcp;
use testkit::server::{Server, Setup};

use crate::{assert_serves, server_with, tools};

/// Outcome for a disconnected peer whose last words may get lost: the server closes while the peer sends.
const ENDED: &str = "ended";

/// Runs attacks of peers with the certificate of `client`, and asserts the outcome of each. A well-behaved
/// peer comes first, so that the other outcomes are due to the attacks. Does nothing and returns false if the
/// tools are unavailable.
fn check(server: &Server, client: &Identity, attacks: &[(&str, &str)]) -> bool {
    let Some(python) = tools::python() else { return false };
    let (certificate, key) = client.write(server.folder(), "attacker");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/adversary/hostile_tls.py");
    for (attack, wanted) in [("nothing", "served")].iter().chain(attacks) {
        let mut peer = Command::new(python);
        peer.arg(script)
            .arg(server.address().to_string())
            .arg(&certificate)
            .arg(&key)
            .args(attack.split(' '));
        let became = tools::output(&mut peer);
        let became = became.trim();
        let is_ended = became == "closed" || became.starts_with("alert ");
        assert!(became == *wanted || (*wanted == ENDED && is_ended), "{attack}: {became}");
        assert_serves(server, client);
    }
    true
}

#[test]
fn messages_that_do_not_belong_there_end_the_connection() {
    let (server, tester) = server_with("");
    let attacks = [
        ("changed_cipher_spec", "alert unexpected_message"),
        ("heartbeat", "alert decode_error"),
        ("unknown_record", "alert decode_error"),
        ("second_hello", "alert decode_error"),
        ("unknown_key_update", "alert illegal_parameter"),
    ];
    check(&server, &tester, &attacks);
}

#[test]
fn records_that_the_peer_did_not_protect_end_the_connection() {
    let (server, tester) = server_with("");
    let attacks = [("forged_record", "alert bad_record_mac"), ("plain_command", "alert decode_error")];
    if check(&server, &tester, &attacks) {
        server.wait_for_log("the fault", |entry| entry.message() == "TLS fault");
        server.wait_for_log("the end", |entry| entry.text("reason") == Some("a fault of TLS"));
    }
}

#[test]
fn what_is_larger_than_tls_allows_ends_the_connection() {
    let (server, tester) = server_with("");
    check(&server, &tester, &[("giant_record", "alert decode_error"), ("giant_message", ENDED)]);
}

#[test]
fn floods_of_small_messages_end_the_connection() {
    let (server, tester) = server_with("");
    let attacks = [
        ("requested_key_updates 20", "served"),
        ("requested_key_updates 1000", ENDED),
        ("key_updates 20", "served"),
        ("key_updates 1000", ENDED),
        ("empty_records 20", "served"),
        ("empty_records 1000", ENDED),
        ("warnings 3", "served"),
        ("warnings 1000", ENDED),
    ];
    check(&server, &tester, &attacks);
}

#[test]
fn a_handshake_with_a_wrong_proof_is_refused() {
    let (server, tester) = server_with("");
    let attacks = [("wrong_finished", "alert decrypt_error"), ("wrong_signature", "alert decrypt_error")];
    check(&server, &tester, &attacks);
}

#[test]
fn nothing_is_run_after_the_peer_has_ended_its_side() {
    let (server, tester) = server_with("");
    check(&server, &tester, &[("command_after_the_end", "closed")]);
}

#[test]
fn a_ticket_that_nobody_gave_out_is_not_looked_at() {
    let (server, tester) = server_with("");
    check(&server, &tester, &[("invented_key", "served")]);
    server.wait_for_log("a full handshake with the certificate", |entry| entry.message() == "admitted");
}

#[test]
fn nobody_renegotiates() {
    let tester = Identity::new("tester");
    let setup = Setup::new().server("min_tls_version = \"1.2\"").master("tester", &tester).echo();
    check(
        &setup.start(),
        &tester,
        &[("renegotiation 1", "alert no_renegotiation"), ("renegotiation 1000", ENDED)],
    );
}

/// Without a library: a ClientHello that announces 16 MB is neither waited for nor buffered.
#[test]
fn a_giant_hello_is_cut_off() {
    let (server, tester) = server_with("");
    let mut socket = tcp(server.address());
    socket.write_all(&[0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0xff, 0xff, 0xff]).unwrap();
    let block = [0; 0x4000 - 4];
    let mut sent = 0;
    while sent < 16 << 20
        && socket.write_all(&block).is_ok()
        && socket.write_all(&[0x16, 3, 1, 0x3f, 0xfc]).is_ok()
    {
        sent += block.len();
    }
    assert!(sent < 8 << 20, "the server took {sent} bytes");
    let end = socket.read_to_end(&mut Vec::new());
    assert!(!end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "the connection stays open");
    assert_serves(&server, &tester);
}
