//! Costs of reading and writing state.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lictor::state::{Engine, Key, MemoryEngine, Namespace, Quota, SqliteEngine, SqliteOptions, Store, Value};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const KEYS: usize = 10_000;

fn name(number: usize) -> Key {
    Key::new(&format!("key{:06}", number % KEYS)).unwrap()
}

fn value(bytes: usize) -> Value {
    Value::new(vec![b'x'; bytes]).unwrap()
}

async fn filled(engine: &dyn Engine, bytes: usize) -> Arc<dyn Store> {
    let quota = Quota { max_keys: u64::MAX, max_bytes: u64::MAX };
    let store = engine.open(Namespace::new("bench", &bytes.to_string()), quota).await.unwrap();
    for start in (0..KEYS).step_by(500) {
        let entries = (start..start + 500).map(|n| (name(n), value(bytes))).collect();
        store.set_many(entries, None).await.unwrap();
    }
    store
}

fn engines(folder: &tempfile::TempDir) -> [(&'static str, Arc<dyn Engine>); 2] {
    let sqlite = SqliteEngine::open(&folder.path().join("state.db"), SqliteOptions::default()).unwrap();
    [("memory", Arc::new(MemoryEngine::new())), ("sqlite", Arc::new(sqlite))]
}

fn reads(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let engines = engines(&folder);
    let mut group = c.benchmark_group("state-read");
    for (engine_name, engine) in &engines {
        for bytes in [16, 1024, 16 << 10] {
            let store = runtime.block_on(filled(&**engine, bytes));
            let keys: Vec<_> = (0..KEYS).map(name).collect();
            let mut keys = keys.iter().cycle().step_by(7919);
            group.bench_function(format!("{engine_name}/get-{bytes}"), |bencher| {
                bencher.iter(|| black_box(runtime.block_on(store.get(keys.next().unwrap())).unwrap()));
            });
        }
        let store = runtime.block_on(filled(&**engine, 16));
        group.bench_function(format!("{engine_name}/list-1000"), |bencher| {
            bencher.iter(|| black_box(runtime.block_on(store.list_keys("key", None, 1000)).unwrap()));
        });
        let keys: Vec<_> = (0..100).map(name).collect();
        group.bench_function(format!("{engine_name}/get-many-100"), |bencher| {
            bencher.iter(|| black_box(runtime.block_on(store.get_many(&keys)).unwrap()));
        });
    }
    // Cost of a read that is handed to another thread.
    let store = runtime.block_on(filled(&*engines[1].1, 16));
    group.bench_function("sqlite/get-16-on-another-thread", |bencher| {
        let handle = runtime.handle().clone();
        bencher.iter(|| {
            let (store, inner) = (Arc::clone(&store), handle.clone());
            let read = handle.spawn_blocking(move || inner.block_on(store.get(&name(7))).unwrap());
            black_box(runtime.block_on(read).unwrap())
        });
    });
    group.finish();
}

fn writes(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let engines = engines(&folder);
    let mut group = c.benchmark_group("state-write");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(4)).sample_size(20);
    for (engine_name, engine) in &engines {
        let store = runtime.block_on(filled(&**engine, 16));
        for callers in [1, 32] {
            group.bench_function(format!("{engine_name}/set-{callers}-callers"), |bencher| {
                bencher.iter_custom(|writes| runtime.block_on(timed(&store, callers, writes)));
            });
        }
        group.bench_function(format!("{engine_name}/increment-32-callers"), |bencher| {
            bencher.iter_custom(|writes| runtime.block_on(timed_increments(&store, writes)));
        });
    }
    group.finish();
}

/// Times `writes` by `callers`, each caller waiting for every answer.
async fn timed(store: &Arc<dyn Store>, callers: usize, writes: u64) -> Duration {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let store = Arc::clone(store);
        let mine = share(caller, callers, writes);
        tasks.spawn(async move {
            for n in 0..mine {
                store.set(name(n * callers + caller), value(16), None).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    start.elapsed()
}

async fn timed_increments(store: &Arc<dyn Store>, writes: u64) -> Duration {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..32 {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for _ in 0..share(caller, 32, writes) {
                store.increment(Key::new("counter").unwrap(), 1).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    start.elapsed()
}

fn share(caller: usize, callers: usize, writes: u64) -> usize {
    let writes = usize::try_from(writes).unwrap();
    writes / callers + usize::from(caller < writes % callers)
}

criterion_group!(benches, reads, writes);
criterion_main!(benches);
