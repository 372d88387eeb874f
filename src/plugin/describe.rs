//! What a plugin says of its commands, asked once, when it is loaded.

use std::future::poll_fn;
use std::pin::pin;

use tokio::time::timeout;
use wasmtime::PoolConcurrencyLimitError;

use super::backtrace;
use super::bindings;
use super::bounds::{MemoryRefusal, Meter};
use super::failure;
use super::instance::{HostState, Purpose};
use super::load::Plugin;
use crate::text::shown;

/// A command as its plugin describes it, made safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandInfo {
    /// The first argument that runs it.
    pub name: String,
    /// What it does.
    pub summary: String,
    /// Its arguments.
    pub usage: String,
    /// Whether running it twice is the same as once.
    pub idempotent: bool,
}

impl Plugin {
    /// The plugin's commands, and the bytes of a fresh instance.
    pub(super) async fn describe(&self) -> Result<(Vec<CommandInfo>, usize), String> {
        let limit = self.timeout();
        let _place = self.sandbox().loading().await;
        let mut describing = pin!(self.describe_itself());
        let mut meter = Meter::new(self.cpu_time());
        match timeout(limit, poll_fn(|cx| meter.poll(|| describing.as_mut().poll(cx)))).await {
            Ok(Ok(described)) => described,
            Ok(Err(spent)) => Err(format!(
                "its `describe` computed for more than the plugin's cpu_time of {:?}",
                spent.limit
            )),
            Err(_elapsed) => {
                Err(format!("its `describe` did not return within the plugin's timeout of {limit:?}"))
            }
        }
    }

    async fn describe_itself(&self) -> Result<(Vec<CommandInfo>, usize), String> {
        let reason = |error: &wasmtime::Error, state: &HostState| {
            let mut words = backtrace::words(error);
            if let Some(MemoryRefusal::Server) = state.memory.refusal() {
                words = format!("{}: {words}", self.sandbox().loading_budget().spent());
            }
            format!("it {} ({words})", failure::reason(error, state, self.max_reply_bytes()))
        };
        let unmade = |why: String| format!("it can't be instantiated: {why}");
        let mut instance = loop {
            let state = self.new_state(self.sandbox().loading_budget());
            let state = state.map_err(|spent| unmade(spent.to_string()))?;
            match self.instance_of(state, Purpose::Description).await {
                Ok(instance) => break instance,
                Err((error, _))
                    if error.is::<PoolConcurrencyLimitError>()
                        && self.sandbox().budget().give_up_oldest() => {}
                Err((error, state)) => return Err(unmade(reason(&error, &state))),
            }
        };
        let footprint_bytes = instance.state().memory.used_bytes();
        match instance.describe().await {
            Ok(commands) => Ok((commands.into_iter().map(CommandInfo::from).collect(), footprint_bytes)),
            Err(error) => Err(format!("its `describe` failed: {}", reason(&error, instance.state()))),
        }
    }
}

/// Longest texts of a description that are kept, in characters.
const MAX_DESCRIPTION_CHARS: usize = 400;

impl From<bindings::exports::lictor::plugin::commands::CommandInfo> for CommandInfo {
    fn from(info: bindings::exports::lictor::plugin::commands::CommandInfo) -> Self {
        let kept = |text: &str| shown(text, MAX_DESCRIPTION_CHARS).to_string();
        Self {
            name: kept(&info.name),
            summary: kept(&info.summary),
            usage: kept(&info.usage),
            idempotent: info.idempotent,
        }
    }
}
