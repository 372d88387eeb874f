//! A component without a server and without a config: looked at, or run once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::BytesMut;
use tracing::Level;

use crate::identity::{self, PeerIdentity, Roster, Thumbprint};
use crate::plugin::{
    self, Call, CommandInfo, Grants, Inspection, Instances, Plugin, Sandbox, SandboxLimits, Spec, Trial,
    VolumeLimits,
};
use crate::telemetry::{self, ConnectionId, Format, RequestId};
use crate::wire::Decoder;

/// What is said of a component by its type alone, and its commands, or why it does not load with everything granted.
pub type Inspected = (Inspection, anyhow::Result<Vec<CommandInfo>>);

/// Looks at the component in the file `path`, and asks it for its commands.
///
/// # Errors
///
/// When it can't be read, or is no component.
pub fn inspect(path: &Path) -> anyhow::Result<Inspected> {
    let grants = Grants { config: Some(BTreeMap::new()), logging: true, ..Grants::default() };
    let spec = unserved(path, grants, DESCRIBE_MEMORY_BYTES, DESCRIBE_TIME);
    let inspected = single_threaded()?.block_on(plugin::inspect(small_sandbox()?, spec));
    let (inspection, plugin) = inspected.map_err(anyhow::Error::msg)?;
    Ok((inspection, plugin.map(|plugin| plugin.commands().to_vec()).map_err(Into::into)))
}

/// How long an inspected component may take to describe itself, and the most memory that it may use for that.
const DESCRIBE_TIME: Duration = Duration::from_secs(5);
const DESCRIBE_MEMORY_BYTES: usize = 64 << 20;

/// One command of a component, to be run without a server.
#[derive(Clone, Debug)]
pub struct TrialRun {
    /// The component's file.
    pub component: PathBuf,
    /// The client that it sees.
    pub client: String,
    /// What it reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// The most memory that it may use, in bytes.
    pub memory_bytes: usize,
    /// How long it may take.
    pub timeout: Duration,
    /// The request, as a client sends it.
    pub request: Vec<u8>,
}

/// Runs one command of a component in this process. What the plugin prints and logs goes to the log, in lines for
/// people.
///
/// # Errors
///
/// When the component does not load, or no instance can be made.
pub fn try_out(run: &TrialRun) -> anyhow::Result<Trial> {
    let _log = telemetry::init(Level::INFO, Format::Human);
    let grants = Grants { config: Some(run.config.clone()), logging: true, ..Grants::default() };
    let spec = unserved(&run.component, grants, run.memory_bytes, run.timeout);
    single_threaded()?.block_on(async {
        let plugin = Plugin::load(small_sandbox()?, spec).await?;
        let mut bytes = BytesMut::from(&run.request[..]);
        let request = Decoder::new(usize::MAX).decode(&mut bytes)?.context("the request is incomplete")?;
        let caller = stand_in(&run.client)?;
        let id = RequestId { connection: ConnectionId(0), number: 1 };
        let call = Arc::new(Call::new(request, caller, id, tokio::time::Instant::now() + run.timeout));
        plugin::try_out(&plugin, &call).await.map_err(|error| anyhow::anyhow!("{}", error.message))
    })
}

/// A client for when there is none: it holds a certificate that was made for it and is forgotten after. Identities are
/// only ever made of certificates, here too.
fn stand_in(name: &str) -> anyhow::Result<PeerIdentity> {
    let certificate = rcgen::generate_simple_self_signed([name.to_owned()])?.cert;
    let roster: Roster = [(Thumbprint::sha256_of(certificate.der()), Arc::from(name))].into_iter().collect();
    let identity = identity::authenticate(&[certificate.der().clone()], &roster, SystemTime::now());
    identity.map_err(|rejection| anyhow::anyhow!("{rejection}"))
}

/// A plugin that no config file names.
fn unserved(path: &Path, grants: Grants, memory_bytes: usize, timeout: Duration) -> Spec {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Spec {
        name: name.into(),
        component: path.to_owned(),
        sha256: None,
        instances: Instances::PerRequest,
        timeout,
        cpu_time: None,
        volume: VolumeLimits { calls: u64::MAX, bytes: u64::MAX },
        memory_bytes,
        reply_bytes: 64 << 20,
        concurrency: None,
        max_calls: 1,
        idle: Duration::ZERO,
        grants,
    }
}

fn small_sandbox() -> anyhow::Result<Arc<Sandbox>> {
    let limits = SandboxLimits { concurrent_calls: 2, waiting_calls: 0, max_wait: Duration::ZERO };
    Ok(Arc::new(Sandbox::new(limits, None)?))
}

fn single_threaded() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
