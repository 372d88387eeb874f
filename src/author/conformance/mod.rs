//! The conformance suite of `lictor plugin test`: the abilities that a plugin in any language must have.
//!
//! The plugin runs as in the server, except for the wire: through `plugin::run`, with its pool and limits.
//! Its log is captured instead of written.

mod cases;
mod expected;
mod web;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::Level;

use self::cases::{BORDER, CASES, CLIENT, CONFIG, Case, MAX_REPLY_BYTES};
use self::expected::shown;
use self::web::Web;
use super::fixtures::{decoded, everything, open_stores, small_sandbox, stand_in, unserved};
use crate::app::single_threaded;
use crate::identity::PeerIdentity;
use crate::plugin::{
    Call, Compiling, CoreDumps, Exchange, Grants, HttpGrant, Instances, Plugin, Spec, run_one,
};
use crate::state::MemoryEngine;
use crate::telemetry::{self, ConnectionId, Events, RequestId};
use crate::wire::Reply;

/// The result of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Name of the behaviour that the case shows.
    pub name: String,
    /// The fault, or `None` if it passed.
    pub fault: Option<Fault>,
}

/// The reason why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The plugin does not list the command.
    Missing,
    /// Its behaviour differs, in these words.
    Wrong(String),
}

/// Bounds on the plugin.
#[derive(Clone, Debug)]
pub struct SuiteLimits {
    /// Time limit of a call, unless the case has its own.
    pub timeout: Duration,
    /// The most memory of an instance, in bytes.
    pub memory_bytes: usize,
    /// Bounds on compiling it.
    pub compiling: Compiling,
}

/// The results of a suite, and what the plugin cost.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each case, in the order in which they ran.
    pub verdicts: Vec<Verdict>,
    /// Time to load: compiling, linking, one instance, `describe`.
    pub load: Duration,
    /// The median time of `echo hello` in a fresh instance.
    pub fresh_call: Option<Duration>,
    /// The median time of `echo hello` in a warm instance.
    pub warm_call: Option<Duration>,
}

/// Consecutive calls that a warm instance has to answer.
const WARM_CALLS: u32 = 500;

/// Calls in fresh instances of which the median is reported.
const FRESH_CALLS: usize = 51;

/// Runs the conformance suite on the component in `path`.
///
/// # Errors
///
/// The component does not load.
pub fn test(path: &Path, limits: SuiteLimits) -> anyhow::Result<Report> {
    let events = telemetry::catch(Level::TRACE);
    single_threaded()?.block_on(async {
        let began = Instant::now();
        let suite = Suite::new(path, limits, events).await?;
        let load = began.elapsed();
        let mut verdicts = Vec::new();
        for case in CASES {
            verdicts.push(suite.verdict(&suite.fresh, case, case.name.to_owned()).await);
        }
        verdicts.push(suite.described());
        let (warm, warm_call) = suite.many_calls().await;
        verdicts.push(warm);
        for (plugin, kind) in [(&suite.terse, "fresh"), (&suite.warm, "warm")] {
            for case in BORDER {
                let name = format!("{kind}: {}", case.name);
                verdicts.push(suite.verdict(plugin, case, name).await);
            }
        }
        let fresh_call = suite.fresh_call().await;
        Ok(Report { verdicts, load, fresh_call, warm_call })
    })
}

struct Suite {
    /// A fresh instance for each call.
    fresh: Arc<Plugin>,
    /// The same plugin, with a bound on its replies.
    terse: Arc<Plugin>,
    /// The same plugin, with an instance that is kept.
    warm: Arc<Plugin>,
    client: PeerIdentity,
    requests: AtomicU64,
    limits: SuiteLimits,
    events: Events,
    web: Web,
}

impl Suite {
    async fn new(path: &Path, limits: SuiteLimits, events: Events) -> anyhow::Result<Self> {
        let sandbox = small_sandbox(CoreDumps::None)?;
        let stores = open_stores(&MemoryEngine::new(), "conformance", &["default"]).await?;
        let config = BTreeMap::from([(CONFIG.0.to_owned(), CONFIG.1.to_owned())]);
        let web = Web::start().await?;
        let urls = web.urls().map(|url| (url, Vec::new()).into()).to_vec();
        let spec = |instances| {
            let http = Some(HttpGrant { urls: urls.clone() });
            let grants = Grants { http, ..everything(config.clone(), stores.clone()) };
            let compiling = limits.compiling.clone();
            let unserved = unserved(path, grants, limits.memory_bytes, limits.timeout, compiling);
            Spec { instances, max_calls: u32::MAX, idle: Duration::MAX, ..unserved }
        };
        let fresh = Plugin::load(Arc::clone(&sandbox), spec(Instances::PerRequest)).await?;
        anyhow::ensure!(
            !fresh.is_streaming(),
            "its commands return streams, and the suite is for components of `world plugin`: run its commands with `lictor plugin run`"
        );
        let terse = |instances| Spec { reply_bytes: MAX_REPLY_BYTES, ..spec(instances) };
        let warm = Plugin::load(Arc::clone(&sandbox), terse(Instances::Shared)).await?;
        let terse = Plugin::load(sandbox, terse(Instances::PerRequest)).await?;
        Ok(Self {
            fresh: Arc::new(fresh),
            terse: Arc::new(terse),
            warm: Arc::new(warm),
            client: stand_in(CLIENT)?,
            requests: AtomicU64::new(0),
            limits,
            events,
            web,
        })
    }

    async fn verdict(&self, plugin: &Arc<Plugin>, case: &Case, name: String) -> Verdict {
        let command = case.head.split([' ', '\r']).next().unwrap_or_default();
        let fault = if self.lacks(command) {
            Some(Fault::Missing)
        } else {
            self.events.clear();
            match self.ask(plugin, &self.web.addressed(case.head), &(case.body)()).await {
                Ok(answer) => case.expected.fault(&answer, &self.events.text()).map(Fault::Wrong),
                Err(error) => Some(Fault::Wrong(format!("{error:#}"))),
            }
        };
        Verdict { name, fault }
    }

    fn lacks(&self, command: &str) -> bool {
        !self.fresh.commands().iter().any(|info| info.name == command)
    }

    async fn ask(&self, plugin: &Arc<Plugin>, head: &str, body: &[u8]) -> anyhow::Result<Reply> {
        let head = format!("{head}\r\nSize: {}\r\n\r\n", body.len());
        let request = decoded(&[head.as_bytes(), body].concat())?;
        let timeout = request.timeout_ms().map_or(self.limits.timeout, Duration::from_millis);
        let number = 1 + self.requests.fetch_add(1, Ordering::Relaxed);
        let id = RequestId { connection: ConnectionId(0), number };
        let arrived = tokio::time::Instant::now();
        let call = Call::new(Exchange::new(id, arrived, request), self.client.clone(), arrived + timeout);
        Ok(run_one(None, plugin, Arc::new(call)).await.reply)
    }

    /// Checks that each listed command is described for people.
    fn described(&self) -> Verdict {
        let poor =
            self.fresh.commands().iter().find(|info| {
                info.summary.is_empty() || info.usage.split(' ').next() != Some(info.name.as_str())
            });
        let words = |name: &str| format!("`{name}` lacks a summary, or a usage that begins with its name");
        let fault = poor.map(|info| Fault::Wrong(words(&info.name)));
        Verdict { name: "describe: a summary and a usage for each command".to_owned(), fault }
    }

    /// Checks that a warm instance answers many calls and keeps its variables; and measures `echo` in it.
    async fn many_calls(&self) -> (Verdict, Option<Duration>) {
        let name = format!("count: {WARM_CALLS} calls of one warm instance");
        if self.lacks("count") {
            return (Verdict { name, fault: Some(Fault::Missing) }, None);
        }
        let mut fault = None;
        for number in 1..=WARM_CALLS {
            let wanted = number.to_string();
            match self.ask(&self.warm, "count", &[]).await {
                Ok(Ok(reply)) if reply == wanted.as_bytes() => {}
                other => {
                    fault = Some(Fault::Wrong(format!("call {number} gave {}", shown(&other.ok()))));
                    break;
                }
            }
        }
        let mut times = Vec::new();
        for _ in 0..WARM_CALLS {
            times.extend(self.timed(&self.warm).await);
        }
        (Verdict { name, fault }, median(times))
    }

    async fn fresh_call(&self) -> Option<Duration> {
        let mut times = Vec::new();
        for _ in 0..FRESH_CALLS {
            times.extend(self.timed(&self.fresh).await);
        }
        median(times)
    }

    async fn timed(&self, plugin: &Arc<Plugin>) -> Option<Duration> {
        let began = Instant::now();
        let answer = self.ask(plugin, "echo hello", &[]).await.ok()?;
        answer.is_ok().then(|| began.elapsed())
    }
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}
