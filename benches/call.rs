//! Costs of calling a plugin in a warm and in a fresh instance, and of reading and writing state through one.
//!
//! Needs `plugins/kv.wasm`, which `cargo xtask plugins` builds.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lictor::files::Authors;
use lictor::identity::{PeerIdentity, Roster, Thumbprint, authenticate};
use lictor::plugin::{
    Call, Compiling, Exchange, Grants, Instances, Kept, Plugin, Sandbox, SandboxLimits, Spec, Stores,
    VolumeLimits, run_one,
};
use lictor::state::{Engine, MemoryEngine, Namespace, Quota, SqliteEngine, SqliteOptions};
use lictor::telemetry::{ConnectionId, RequestId};
use lictor::wire::Decoder;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;

fn call(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let caller = caller();
    let mut group = c.benchmark_group("call");
    for (name, instances) in [("warm", Instances::Shared), ("fresh", Instances::PerRequest)] {
        let component = Path::new(env!("OUT_DIR")).join("echo.wasm");
        let plugin = plugin(&runtime, component, instances, Grants::default());
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| {
                let (plugin, caller) = (Arc::clone(&plugin), caller.clone());
                async move {
                    run_one(None, &plugin, Arc::new(request("echo hello", caller))).await.reply.unwrap()
                }
            });
        });
    }
    group.finish();
}

/// Durable writes and reads of a key through the plugin `kv` in warm instances; one caller, and 32 at once.
fn keyvalue(c: &mut Criterion) {
    const CALLERS: u64 = 32;
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteEngine::open(&folder.path().join("state.db"), SqliteOptions::default()).unwrap();
    let engines: [(&str, Arc<dyn Engine>); 2] =
        [("memory", Arc::new(MemoryEngine::new())), ("sqlite", Arc::new(sqlite))];
    let caller = caller();
    let mut group = c.benchmark_group("keyvalue");
    for (name, engine) in engines {
        let store = runtime.block_on(engine.open(Namespace::new("kv", "default"), Quota::default())).unwrap();
        let stores = Stores([("default".to_owned(), store.into())].into_iter().collect());
        let grants = Grants { stores: Some(stores), ..Grants::default() };
        let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/kv.wasm");
        let plugin = plugin(&runtime, component, Instances::Shared, grants);
        let run = |line: &str| run_one(None, &plugin, Arc::new(request(line, caller.clone())));
        runtime.block_on(run("kv-set key 0123456789abcdef")).reply.unwrap();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}/read"), |bencher| {
            bencher.to_async(&runtime).iter(|| run("kv-get key"));
        });
        group.bench_function(format!("{name}/write"), |bencher| {
            bencher.to_async(&runtime).iter(|| run("kv-set key 0123456789abcdef"));
        });
        group.throughput(Throughput::Elements(CALLERS));
        group.bench_function(format!("{name}/write-{CALLERS}"), |bencher| {
            bencher.to_async(&runtime).iter(|| {
                let mut writes = JoinSet::new();
                (0..CALLERS)
                    .for_each(|n| drop(writes.spawn(run(&format!("kv-set key{n} 0123456789abcdef")))));
                writes.join_all()
            });
        });
    }
    group.finish();
}

fn request(line: &str, caller: PeerIdentity) -> Call {
    let mut bytes = BytesMut::from(format!("{line}\r\nSequence: 1\r\n\r\n").as_bytes());
    let request = Decoder::new(0).decode(&mut bytes).unwrap().unwrap();
    let id = RequestId { connection: ConnectionId(1), number: 1 };
    let arrived = Instant::now();
    Call::new(Exchange::new(id, arrived, request), caller, arrived + Duration::from_secs(5))
}

fn plugin(runtime: &Runtime, component: PathBuf, instances: Instances, grants: Grants) -> Arc<Plugin> {
    let limits = SandboxLimits {
        concurrent_calls: 64,
        concurrent_streams: 1,
        waiting_calls: 64,
        max_wait: Duration::from_secs(1),
        http_requests: 64,
        memory_bytes: 1 << 30,
    };
    let spec = Spec {
        key: String::new(),
        authors: Authors::Trusted,
        name: "bench".into(),
        component,
        sha256: None,
        instances,
        timeout: Duration::from_secs(5),
        cpu_time: None,
        volume: VolumeLimits { calls: 1_000, bytes: 1 << 20 },
        memory_bytes: 16 << 20,
        reply_bytes: 1 << 20,
        concurrency: None,
        max_calls: u32::MAX,
        idle: Duration::from_secs(60),
        grants,
        compiling: Compiling {
            program: env!("CARGO_BIN_EXE_lictor").into(),
            component_bytes: 64 << 20,
            memory_bytes: 2 << 30,
            time: Duration::from_secs(60),
        },
    };
    let sandbox = Arc::new(Sandbox::new(limits, Kept::default()).unwrap());
    Arc::new(runtime.block_on(Plugin::load(sandbox, spec)).unwrap())
}

fn caller() -> PeerIdentity {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let roster: Roster =
        [(Thumbprint::sha256_of(certificate.der()), Arc::from("bench"))].into_iter().collect();
    authenticate(&[certificate.der().clone()], &roster, SystemTime::now()).unwrap()
}

criterion_group!(benches, call, keyvalue);
criterion_main!(benches);
