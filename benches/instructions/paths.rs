//! The hot paths, which every request takes.

use std::future::poll_fn;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use lictor::files::Authors;
use lictor::identity::{PeerIdentity, Roster, Thumbprint, authenticate};
use lictor::plugin::{
    Call, ClientLimits, Compiling, Exchange, Executor, Grants, Instances, Kept, Plugin, Sandbox,
    SandboxLimits, Spec, VolumeLimits,
};
use lictor::telemetry::{ConnectionId, RequestId};
use lictor::wire::{Decoder, Request, encode_reply};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::connection;

/// The paths, and the number of runs to count.
pub(super) const PATHS: &[(&str, u64)] = &[
    ("decode/plain", 20_000),
    ("decode/framed", 20_000),
    ("reply/framed", 20_000),
    ("call/warm", 2_000),
    ("call/fresh", 500),
    ("connection/ping-16", 300),
    ("connection/echo-1", 500),
    ("connection/echo-16", 200),
];

const PLAIN: &[u8] = b"echo 0123456789abcdef\r\n\r\n";
const FRAMED: &[u8] = b"echo 0123456789abcdef\r\nSequence: 12\r\n\r\n";

/// Runs the path `name` this many times.
pub(super) fn run(name: &str, times: u64) {
    match name {
        "decode/plain" => decode(PLAIN, times),
        "decode/framed" => decode(FRAMED, times),
        "reply/framed" => reply(times),
        "call/warm" => call(Instances::Shared, times),
        "call/fresh" => call(Instances::PerRequest, times),
        "connection/ping-16" => connection::run("@ping", 16, times),
        "connection/echo-1" => connection::run("echo 0123456789abcdef", 1, times),
        "connection/echo-16" => connection::run("echo 0123456789abcdef", 16, times),
        _ => panic!("there is no path {name}"),
    }
}

fn decode(bytes: &[u8], times: u64) {
    const AT_ONCE: usize = 16;
    let pipelined = bytes.repeat(AT_ONCE);
    let mut decoder = Decoder::new(0);
    for _ in 0..times / AT_ONCE as u64 {
        let mut buffer = BytesMut::from(&pipelined[..]);
        while let Some(request) = decoder.decode(&mut buffer).unwrap() {
            black_box(request);
        }
    }
}

fn reply(times: u64) {
    let request = request(FRAMED);
    let mut buffer = BytesMut::with_capacity(1024);
    for _ in 0..times {
        buffer.clear();
        black_box(encode_reply(request.sequence(), black_box(Ok(b"0123456789abcdef")), &mut buffer));
    }
}

/// A call, from the routed request to the plugin's bytes.
fn call(instances: Instances, times: u64) {
    let runtime = runtime();
    let plugin = runtime.block_on(echo(instances));
    let (caller, request) = (caller(&identity("bench")), request(FRAMED));
    runtime.block_on(async {
        let limit = ClientLimits::new([("bench".into(), 1)], 0).of(&caller);
        let mut executor = Executor::default();
        for number in 0..times {
            let id = RequestId { connection: ConnectionId(1), number };
            let arrived = Instant::now();
            let deadline = arrived + Duration::from_secs(60);
            let exchange = Exchange::new(id, arrived, request.clone());
            let calls = [Arc::new(Call::new(exchange, caller.clone(), deadline))];
            let mut replies = Vec::with_capacity(calls.len());
            let mut poll = |cx: &mut Context<'_>| {
                Poll::Ready(executor.poll(&limit, &plugin, &calls, deadline, &mut replies, cx))
            };
            assert!(poll_fn(&mut poll).await.is_none());
            black_box(replies);
        }
    });
}

fn request(bytes: &[u8]) -> Request {
    Decoder::new(0).decode(&mut BytesMut::from(bytes)).unwrap().unwrap()
}

/// Single-threaded: the order in which several threads run does not affect instructions.
pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A certificate and its key.
pub(super) type Identity = CertifiedIssuer<'static, KeyPair>;

pub(super) fn identity(name: &str) -> Identity {
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn roster(identity: &Identity) -> Roster {
    [(Thumbprint::sha256_of(identity.der()), Arc::from("bench"))].into_iter().collect()
}

fn caller(identity: &Identity) -> PeerIdentity {
    authenticate(&[identity.der().clone()], &roster(identity), SystemTime::now()).unwrap()
}

/// Loads the plugin `echo` in a sandbox of one slot, since valgrind has little address space.
pub(super) async fn echo(instances: Instances) -> Arc<Plugin> {
    let limits = SandboxLimits {
        concurrent_calls: 1,
        concurrent_streams: 1,
        waiting_calls: 64,
        max_wait: Duration::from_secs(60),
        http_requests: 1,
        memory_bytes: 1 << 30,
    };
    let spec = Spec {
        key: String::new(),
        authors: Authors::Trusted,
        name: "echo".into(),
        component: Path::new(env!("OUT_DIR")).join("echo.wasm"),
        sha256: None,
        instances,
        timeout: Duration::from_secs(60),
        cpu_time: None,
        volume: VolumeLimits { calls: 1_000, bytes: 1 << 20 },
        memory_bytes: 16 << 20,
        reply_bytes: 1 << 20,
        concurrency: None,
        max_calls: u32::MAX,
        idle: Duration::from_secs(60),
        grants: Grants::default(),
        compiling: Compiling {
            program: env!("CARGO_BIN_EXE_lictor").into(),
            component_bytes: 64 << 20,
            // Under valgrind a process takes many times the address space that it requests.
            memory_bytes: 1 << 40,
            time: Duration::from_secs(60),
        },
    };
    let sandbox = Arc::new(Sandbox::new(limits, Kept::default()).unwrap());
    Arc::new(Plugin::load(sandbox, spec).await.unwrap())
}
