//! Servers that `lictor call` trusts, and that endlessly send invalid replies.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use testkit::certs::Identity;
use testkit::tools::{Finished, finish, lictor};

const GREETING: &str = "OK\r\n\r\n";

/// Far less than any unbounded wait, or the transfer of 256 MiB, would take.
const SOON: Duration = Duration::from_secs(10);

/// Greets each client with `greeting`, and endlessly sends `piece`.
fn endless(identity: &Identity, greeting: &'static str, piece: &str) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![identity.certificate()], identity.key()).unwrap());
    let pieces = piece.repeat((256 << 10) / piece.len());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            // Until the client gives up.
            let _ = flood(socket, Arc::clone(&config), greeting, &pieces);
        }
    });
    address
}

fn flood(socket: TcpStream, config: Arc<ServerConfig>, greeting: &str, pieces: &str) -> io::Result<()> {
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, socket);
    stream.write_all(greeting.as_bytes())?;
    loop {
        stream.write_all(pieces.as_bytes())?;
    }
}

/// Runs `lictor call` against it, without a deadline.
fn called(greeting: &'static str, piece: &str) -> Finished {
    let (tester, own) = (Identity::new("tester"), Identity::of_server());
    let address = endless(&own, greeting, piece).to_string();
    let folder = tempfile::tempdir().unwrap();
    tester.write(folder.path(), "tester");
    let pin = format!("sha256:{}", own.sha256());
    let target = ["call", "--server", &address, "--cert", "tester.pem", "--pin", &pin];
    let begun = Instant::now();
    let finished = finish(lictor(folder.path()).args(target).args(["echo", "hello"]));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    finished
}

#[test]
fn what_a_server_sends_without_end_keeps_no_client_waiting() {
    for (greeting, piece, code, words) in [
        (
            "",
            "x",
            3,
            "did not greet as a Lictor server does: the server sent a head of more than 16384 bytes",
        ),
        ("OK\r\n", "x\r\n", 3, "the server sent a head of more than 16384 bytes"),
        (GREETING, "x", 1, "the server sent a head of more than 16384 bytes"),
        (GREETING, "OK\r\nSequence: 7\r\nSize: 1\r\n\r\nx", 1, "to requests that nobody waits for"),
        (GREETING, "PART\r\nSequence: 7\r\nSize: 0\r\n\r\n", 1, "to requests that nobody waits for"),
        (GREETING, "ERR no\r\nSequence: 7\r\n\r\n", 1, "to requests that nobody waits for"),
    ] {
        let finished = called(greeting, piece);
        assert!(finished.code == Some(code) && finished.stderr.contains(words), "{piece}: {finished:?}");
    }
}
