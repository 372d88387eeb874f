//! Plugins called without a server and without a config.

use std::time::{Duration, Instant};

mod call;
mod company;
mod run;

pub use call::TrialCall;
pub use run::TrialRun;

use self::company::Company;
use super::fixtures::log_for_authors;
use crate::app::single_threaded;
use crate::plugin::{self, Trial};
use crate::wire::{Code, Reply};

/// Runs one command of a component in this process, in a fresh instance, and calls `part` with each part of a
/// stream. The plugin's output and log go to the log, in lines for people.
///
/// # Errors
///
/// A component does not load, its state can't be opened, or no instance can be made.
pub fn try_out(run: &TrialRun, call: &TrialCall, part: &mut dyn FnMut(&[u8])) -> anyhow::Result<Trial> {
    let _log = log_for_authors();
    single_threaded()?.block_on(async {
        let company = Company::of(run, std::slice::from_ref(call)).await?;
        let (plugin, call) = company.routed(call, 1)?;
        let trial = plugin::try_out(&plugin, &call, part).await;
        company.close().await?;
        trial.map_err(|error| anyhow::anyhow!("{}", error.message))
    })
}

/// The result of one of several calls.
pub struct Tried {
    /// The reply as the client would get it, a stream's parts joined.
    pub answer: Reply,
    /// The parts that a stream sent before it failed.
    pub sent: Vec<u8>,
    /// Duration of the call.
    pub time: Duration,
}

/// Runs several calls one after the other, with instances kept as the config says, and calls `ended` with
/// each call's number and result.
///
/// # Errors
///
/// A component does not load, or its state can't be opened.
pub fn try_all(
    run: &TrialRun,
    calls: &[TrialCall],
    mut ended: impl FnMut(usize, Tried),
) -> anyhow::Result<()> {
    let _log = log_for_authors();
    single_threaded()?.block_on(async {
        let company = Company::of(run, calls).await?;
        for (number, call) in calls.iter().enumerate() {
            let (plugin, call) = company.routed(call, number as u64 + 1)?;
            let (began, mut sent) = (Instant::now(), Vec::new());
            let answer = company.run(&plugin, &call, &mut sent).await;
            ended(number, Tried { answer, sent, time: began.elapsed() });
        }
        company.close().await
    })
}

/// Returns all codes of failed commands.
#[must_use]
pub fn codes() -> Vec<&'static str> {
    Code::ALL.into_iter().map(Code::as_str).collect()
}
