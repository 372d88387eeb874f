//! An engine of each kind for every test, and a clock that is set by hand.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor::state::{
    Clock, Engine, Entry, Key, MemoryEngine, Namespace, Quota, SqliteEngine, SqliteOptions, StateError,
    Store, Ttl, Value,
};
use tempfile::TempDir;

/// A clock that only moves when told to.
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_700_000_000_000)))
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// An empty engine.
pub(crate) struct Case {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) clock: Arc<ManualClock>,
    _folder: TempDir,
}

impl Case {
    fn new(engine: impl Fn(&Path, Arc<ManualClock>) -> Arc<dyn Engine>) -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
        let engine = engine(&folder.path().join("state.db"), Arc::clone(&clock));
        Self { engine, clock, _folder: folder }
    }

    pub(crate) async fn store(&self, store: &str) -> Arc<dyn Store> {
        self.store_with(store, Quota::default()).await
    }

    pub(crate) async fn store_with(&self, store: &str, quota: Quota) -> Arc<dyn Store> {
        self.engine.open(Namespace::new("plugin", store), quota).await.unwrap()
    }
}

pub(crate) fn cases() -> Vec<(&'static str, Case)> {
    let memory = Case::new(|_, clock| Arc::new(MemoryEngine::with_clock(clock)));
    let sqlite = Case::new(|path, clock| {
        Arc::new(SqliteEngine::open(path, SqliteOptions { clock, ..SqliteOptions::default() }).unwrap())
    });
    vec![("memory", memory), ("sqlite", sqlite)]
}

/// Runs `test` on an engine of each kind.
pub(crate) fn on_every_engine(test: impl AsyncFn(&Case)) {
    for (name, case) in cases() {
        // Shown by the test runner if `test` fails.
        println!("engine: {name}");
        run(test(&case));
    }
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn value(text: &str) -> Value {
    Value::new(text.to_owned()).unwrap()
}

pub(crate) fn bytes(number: usize) -> Value {
    Value::new(vec![b'x'; number]).unwrap()
}

pub(crate) fn ttl(ms: u64) -> Option<Ttl> {
    Some(Ttl::new(Duration::from_millis(ms)).unwrap())
}

pub(crate) fn text(entry: Option<Entry>) -> Option<String> {
    entry.map(|entry| String::from_utf8(entry.value.into_bytes().to_vec()).unwrap())
}

/// Returns the value of `name`, as text.
pub(crate) async fn kept(store: &Arc<dyn Store>, name: &str) -> Option<String> {
    text(store.get(&key(name)).await.unwrap())
}

pub(crate) fn opened(path: &Path) -> Arc<dyn Engine> {
    Arc::new(SqliteEngine::open(path, SqliteOptions::default()).unwrap())
}

pub(crate) fn refused(path: &Path) -> StateError {
    match SqliteEngine::open(path, SqliteOptions::default()) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

pub(crate) async fn store_in(engine: &Arc<dyn Engine>) -> Arc<dyn Store> {
    engine.open(Namespace::new("plugin", "store"), Quota::default()).await.unwrap()
}

/// Prepares this test program to run `test` as a child that finds `path` in its environment.
pub(crate) fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, path);
    command
}

/// Returns the path from the parent, if this process is a child.
pub(crate) fn path_from_parent() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

pub(crate) fn spawned(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

const CHILD: &str = "LICTOR_STATE_TEST_CHILD";
