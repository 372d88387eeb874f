//! Revocation by a list, while a client tries to delay it.

use rcgen::CertificateParams;
use testkit::certs::{Authority, Identity, Key};
use testkit::client::Connection;
use testkit::server::{Entry, Server, Setup};

use crate::reload::is_cut_off;
use crate::strangers::with_chain;

/// Connections of the client with slow chains, and those of them that run something.
const CONNECTIONS: usize = 400;
const RUNNING: usize = 40;

/// Certificates that look like the authority's; each chain contains some.
const FORGED: u64 = 30;

const REVOKED: [&str; 4] = ["a", "b", "c", "d"];

fn uri(name: &str) -> String {
    format!("urn:example:{name}")
}

/// Starts a server that trusts `root` for the clients to be revoked and for another one, named slow.
fn serving(root: &Authority, tester: &Identity) -> Server {
    let setup = Setup::new();
    std::fs::write(setup.folder().join("ca.pem"), root.pem()).unwrap();
    let section = |name: &str| format!("[clients.{name}]\nuris = [\"{}\"]\ncommands = [\"*\"]", uri(name));
    let setup = setup
        .master("tester", tester)
        .echo()
        .hostile("timeout = \"10m\"")
        .section("[identity]\nauthorities = [\"ca.pem\"]")
        .section("[limits]\nconcurrent_commands_per_client = 256")
        .section(&section("slow"));
    REVOKED.iter().fold(setup, |setup, name| setup.section(&section(name))).start()
}

/// Opens connections of a client below `root`, each with a different chain. After its certificate come some
/// of its authority that `root` did not sign, which takes long to find out.
fn with_slow_chains(server: &Server, root: &Authority) -> Vec<Connection> {
    let (middle, forger) = (root.below("Middle", None), Authority::with_key("Root", Key::P521));
    let slow = middle.issue("slow", &uri("slow"));
    let forged: Vec<_> = (0..FORGED).map(|serial| forger.certify(&middle, "Middle", serial)).collect();
    let own = slow.chain();
    let places = 0..forged.len();
    let pairs = places.clone().flat_map(|a| (0..a).map(move |b| (a, b)));
    let connect = |(number, (a, b)): (usize, (usize, usize))| {
        let forged = [a, b, (a + number) % places.len()].map(|place| forged[place].clone());
        let chain = own[..1].iter().cloned().chain(forged).chain(own[1..].iter().cloned()).collect();
        let mut connection = Connection::open_with(server.address(), with_chain(&slow, chain)).unwrap();
        assert!(connection.is_greeted());
        connection
    };
    pairs.take(CONNECTIONS).enumerate().map(connect).collect()
}

#[test]
fn a_client_whose_chains_take_long_puts_off_no_revocation_and_nothing_of_it_runs_on_unverified() {
    let tester = Identity::new("tester");
    let root = Authority::with_key("Root", Key::P521);
    let server = serving(&root, &tester);
    let mut of_slow = with_slow_chains(&server, &root);
    for connection in of_slow.iter_mut().take(RUNNING) {
        connection.send("sleep 600000\r\nSequence: s\r\n\r\n");
    }
    let serials: Vec<u64> = (1..).take(REVOKED.len()).collect();
    let revoked = |(name, serial): (&&str, &u64)| {
        let numbered = |params: &mut CertificateParams| params.serial_number = Some((*serial).into());
        let mut connection = server.connect(&root.issue_with(name, &[&uri(name)], numbered));
        assert_eq!(connection.ask("echo in"), "in");
        connection
    };
    let mut of_revoked: Vec<_> = REVOKED.iter().zip(&serials).map(revoked).collect();

    std::fs::write(server.folder().join("list.pem"), root.revoking(&serials)).unwrap();
    server.edit(|text| text.replace("[identity]\n", "[identity]\nrevocation_lists = [\"list.pem\"]\n"));
    let mut operator = server.connect(&tester);
    assert_eq!(operator.ask("@reload"), "live     changed  identity.revocation_lists");
    for connection in &mut of_revoked {
        is_cut_off(connection, "was revoked");
    }

    // A client that is verified at last goes on; the others are told why they were stopped.
    let mut stopped = 0;
    for (number, connection) in of_slow.iter_mut().enumerate() {
        connection.send("echo still\r\nSequence: e\r\n\r\n");
        let mut frame = connection.read_frame();
        if number < RUNNING && frame.status != "OK" {
            assert_eq!(frame.failure(), ("cancelled", "unknown"), "{frame:?}");
            assert!(frame.message.contains("whether the client is still admitted"), "{frame:?}");
            stopped += 1;
            frame = connection.read_frame();
        }
        assert_eq!(frame.text(), "still");
    }
    assert!(stopped > 0, "all chains were verified within half a second");
    let log = server.log();
    let is_stopped =
        |entry: &Entry| entry.text("client") == Some("slow") && entry.text("code") == Some("cancelled");
    let last_cut_off = log.iter().rposition(|entry| entry.message() == "cut off");
    let first_stopped = log.iter().position(is_stopped);
    assert!(last_cut_off.is_some() && last_cut_off < first_stopped, "{last_cut_off:?} {first_stopped:?}");
}
