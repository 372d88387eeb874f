//! Requests through the server: TCP, TLS, protocol, permission, plugin and back. Server and client are two
//! tasks of one thread, so the client's part is counted too; it sends the same bytes each time and only
//! counts the bytes received.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use lictor::authz::{PermissionPattern, Permissions, Policy};
use lictor::client::{Address, Connection, Connector, Credentials, Frame, Request, Trust};
use lictor::idempotency::{Ledger, Limits};
use lictor::identity::Thumbprint;
use lictor::plugin::{ClientLimits, Instances};
use lictor::server::{
    AdmissionLimits, ConnectionLimits, Current, RateLimits, Rechecks, Server, Service, TlsFiles, TlsVersion,
    bind, tls_acceptor,
};
use lictor::state::MemoryEngine;
use lictor::telemetry::{Arguments, CommandLog};
use lictor::usage::{Clock, LastUse, Observed, Used};
use tempfile::TempDir;

use super::paths::{Identity, echo, identity, roster, runtime};

const LONG: Duration = Duration::from_secs(600);

/// The defaults of the limits.
const KEPT: Limits =
    Limits { window: LONG, max_keys: 10_000, max_bytes: 64 << 20, of_clients: BTreeMap::new() };

/// Sends `in_flight` framed requests of `command` at once and waits for the replies, `times` times.
pub(super) fn run(command: &str, in_flight: u64, times: u64) {
    let batch: Vec<u8> = (1..=in_flight).flat_map(|number| framed(command, number)).collect();
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let mut connection = connect(&folder).await;
        for _ in 0..times {
            connection.send(&batch).await.unwrap();
            for _ in 0..in_flight {
                assert!(matches!(connection.next_frame().await.unwrap(), Frame::Ok { .. }));
            }
        }
    });
}

fn framed(command: &str, number: u64) -> Vec<u8> {
    let words: Vec<&str> = command.split(' ').collect();
    Request::from_arguments(&words).unwrap().sequence(number).encode().unwrap()
}

async fn connect(folder: &TempDir) -> Connection {
    let (server, client) = (identity("server"), identity("client"));
    let path = |name: &str| folder.path().join(name);
    for (name, identity) in [("server", &server), ("client", &client)] {
        std::fs::write(path(&format!("{name}.pem")), identity.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), identity.key().serialize_pem()).unwrap();
    }
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let files = TlsFiles {
        certificate: path("server.pem"),
        chain: vec![server.der().clone()],
        private_key: path("server.key"),
        min_version: TlsVersion::V1_3,
    };
    let acceptor = tls_acceptor(&files).unwrap();
    let current = Current { service: Arc::new(service(&client).await), acceptor, handshake_timeout: LONG };
    let serving = Server::new(current, admission(), None).unwrap();
    tokio::spawn(async move { serving.accept(listener).await });
    let credentials = Credentials::load(&path("client.pem"), None).unwrap();
    let pin = Thumbprint::sha256_of(server.der());
    let trust = Trust::Pinned(vec![pin]);
    Connector::new(address, &trust, Some(&credentials)).unwrap().connect().await.unwrap()
}

async fn service(client: &Identity) -> Service {
    let any: Permissions =
        ["*", "@*"].map(|pattern| pattern.parse::<PermissionPattern>().unwrap()).into_iter().collect();
    let clock = Clock::default();
    clock.set(1);
    let used = || Used::from(Arc::new(LastUse::never(&clock)));
    let plugin = Observed::new(echo(Instances::Shared).await, used());
    Service {
        roster: roster(client),
        rechecks: Rechecks::default(),
        policy: [("bench".into(), any.observed(|_| used()))].into_iter().collect::<Policy>(),
        routes: [("echo".into(), plugin)].into_iter().collect(),
        client_limits: ClientLimits::new([("bench".into(), 64)], 64),
        rate_limits: RateLimits::default(),
        most_connections: HashMap::new(),
        idempotency: Ledger::new(Arc::new(MemoryEngine::new()), KEPT),
        limits: ConnectionLimits {
            in_flight: 64,
            in_flight_bytes: 1 << 20,
            body_bytes: 1 << 20,
            head_timeout: LONG,
            body_timeout: LONG,
            idle_timeout: LONG,
            write_timeout: LONG,
            slice: LONG,
        },
        close_on_error: false,
        log: CommandLog::new(
            0,
            Arguments::Hidden,
            ["bench".into()].into_iter(),
            [("echo".into(), "echo".into()), ("@ping".into(), "".into())],
            &[],
            0,
        ),
        traces: None,
    }
}

fn admission() -> AdmissionLimits {
    AdmissionLimits {
        connections: 16,
        per_address: 16,
        unauthenticated: 16,
        unauthenticated_per_address: 16,
        handshakes_per_second: NonZeroU32::MAX,
    }
}
