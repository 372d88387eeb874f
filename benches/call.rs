//! What it costs to call a plugin: in a warm instance, and in a fresh one.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use criterion::{Criterion, criterion_group, criterion_main};
use lictor::identity::{PeerIdentity, Roster, Thumbprint, authenticate};
use lictor::plugin::{
    Call, Grants, Instances, Kept, Plugin, Sandbox, SandboxLimits, Spec, VolumeLimits, invoke,
};
use lictor::telemetry::{ConnectionId, RequestId};
use lictor::wire::Decoder;
use tokio::runtime::Runtime;
use tokio::time::Instant;

fn call(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let caller = caller();
    let mut group = c.benchmark_group("call");
    for (name, instances) in [("warm", Instances::Shared), ("fresh", Instances::PerRequest)] {
        let plugin = plugin(&runtime, instances);
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| {
                let (plugin, caller) = (Arc::clone(&plugin), caller.clone());
                async move { invoke(plugin, Arc::new(echo(caller))).await.unwrap() }
            });
        });
    }
    group.finish();
}

fn echo(caller: PeerIdentity) -> Call {
    let mut bytes = BytesMut::from(&b"echo hello\r\nSequence: 1\r\n\r\n"[..]);
    let request = Decoder::new(0).decode(&mut bytes).unwrap().unwrap();
    let id = RequestId { connection: ConnectionId(1), number: 1 };
    Call::new(request, caller, id, Instant::now() + Duration::from_secs(5))
}

fn plugin(runtime: &Runtime, instances: Instances) -> Arc<Plugin> {
    let limits = SandboxLimits {
        concurrent_calls: 64,
        waiting_calls: 64,
        max_wait: Duration::from_secs(1),
        memory_bytes: 1 << 30,
    };
    let spec = Spec {
        name: "echo".into(),
        component: Path::new(env!("OUT_DIR")).join("echo.wasm"),
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
        grants: Grants::default(),
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

criterion_group!(benches, call);
criterion_main!(benches);
