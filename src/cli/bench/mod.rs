//! `lictor bench`: measures a server's replies to one command under load.

mod bar;
mod chart;
mod load;
mod numbers;
mod outcome;
mod report;

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::request::{request, time_span};
use super::target::{Target, TargetOptions, Wanted};
use super::trust::{MAX_SHOWN_CHARS, Trusted};
use super::{Exit, Failure, output};
use crate::client::{CallError, Connection, Frame, Refusal};
use crate::loadgen::{self, HandshakePlan, Lictor, LoadError, Mode, Pace, Peer, Plan, Progress, Report};
use crate::text::shown;

use self::bar::Bar;
use self::load::Load;
use self::outcome::Outcome;

/// The `Sequence` of the first call.
const FIRST: u64 = 0;

/// Measure a server's throughput and latency
///
/// Sends a command repeatedly over many connections, and shows the number of replies and their latencies.
/// Sends each request when the previous one is answered (closed loop), or, with --rate, on a fixed schedule
/// (open loop). Ctrl-C stops early and still prints the report.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor bench @ping
  lictor bench --connections 10 --in-flight 16 echo hello
  lictor bench --rate 5000 --time 30s echo hello
  lictor bench --handshakes --connections 8 @ping
  lictor bench --json echo hello > report.json")]
pub(super) struct Bench {
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    load: LoadOptions,
    /// Print the report as a JSON object
    #[arg(long)]
    json: bool,
    /// Send this file as the requests' body; - is standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Command and arguments; everything after the command is passed to it, including options
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// The kind of load.
#[derive(Clone, Copy, Debug, clap::Args)]
struct LoadOptions {
    /// Number of open connections; with --handshakes, of concurrent connection attempts
    #[arg(long, value_name = "N", default_value_t = 50)]
    connections: usize,
    /// Number of requests in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    in_flight: usize,
    /// Send this many requests per second over all connections, regardless of reply times
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Duration of the measurement, such as 500ms or 1m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time_span)]
    time: Duration,
    /// Duration of the warm-up
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time_span)]
    warm_up: Duration,
    /// Send plain requests, without a Sequence, which run one at a time on each connection
    #[arg(long)]
    plain: bool,
    /// Open a new connection for each request
    #[arg(long)]
    handshakes: bool,
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        let load = self.load.load()?;
        let request = request(&self.command, self.body.as_deref())?;
        let first =
            request.clone().sequence(FIRST).encode().map_err(|error| Failure::usage(error.to_string()))?;
        raise_file_limit(self.load.connections)?;
        let target = self.target.resolve(Wanted::Command(&self.command))?;
        let server = target.address.to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
        let mode = if self.load.plain { Mode::Plain } else { Mode::Framed };
        let report = runtime.block_on(async {
            let peer = first_call(target, &first, Lictor::new(request, mode)).await?;
            measure(&peer, load).await
        })?;
        let outcome = Outcome { load, server, command: self.command, is_plain: self.load.plain, report };
        match self.json {
            true => output::json(&outcome.json())?,
            false => output::line(&outcome.text())?,
        }
        outcome.judge()
    }
}

impl LoadOptions {
    /// Builds the load, if these options are consistent.
    fn load(&self) -> Result<Load, Failure> {
        let Self { connections, in_flight, time, warm_up, .. } = *self;
        if self.handshakes {
            if self.rate.is_some() {
                let advice = "leave --rate out, and set the number of concurrent attempts with --connections";
                return Err(Failure::usage(format!(
                    "--handshakes opens connections as fast as it can: {advice}"
                )));
            }
            if in_flight != 1 {
                let advice =
                    "leave --in-flight out, and set the number of concurrent attempts with --connections";
                return Err(Failure::usage(format!(
                    "a connection of --handshakes sends one request: {advice}"
                )));
            }
            let plan = HandshakePlan { concurrent: connections, warm_up, time };
            return plan.check().map(|()| Load::Handshakes(plan)).map_err(failure);
        }
        let pace = self.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second });
        let plan = Plan { connections, in_flight, pace, warm_up, time };
        plan.check().map(|()| Load::Steady(plan)).map_err(failure)
    }
}

/// A connection takes a file descriptor, and the usual limit is 1024.
fn raise_file_limit(connections: usize) -> Result<(), Failure> {
    /// Other open files: the terminal, the runtime's own, a first connection.
    const OTHER_FILES: u64 = 32;
    let wanted = connections as u64 + OTHER_FILES;
    let limit = rlimit::increase_nofile_limit(wanted)
        .or_else(|_| rlimit::Resource::NOFILE.get().map(|(soft, _)| soft));
    match limit {
        Ok(limit) if limit < wanted => Err(Failure::usage(format!(
            "{connections} connections need {wanted} open files, and this process may have {limit}: raise the limit \
             (`ulimit -n`), or take fewer --connections"
        ))),
        // If the limit is unknown, connecting will show if it suffices.
        _ => Ok(()),
    }
}

/// Runs the command once, to see if there is anything to measure; returns the peer for further calls.
async fn first_call(target: Target, request: &[u8], dialect: Lictor) -> Result<Peer, Failure> {
    let trusted = Trusted::settle(target, None).await?;
    let mut connection = trusted.connect().await?;
    let lost = |error: &dyn std::fmt::Display| {
        Failure::failed(shown(&error.to_string(), MAX_SHOWN_CHARS).to_string())
    };
    if let Some(refusal) = refusal(&mut connection, request).await.map_err(|error| lost(&error))? {
        let words = shown(&refusal.to_string(), MAX_SHOWN_CHARS).to_string();
        match refusal.code.as_deref() {
            None | Some("unknown-command" | "forbidden") => {
                return Err(Failure::failed(format!("{words}: there is nothing to measure")));
            }
            Some(_) => output::note(&format!("the first call failed; such failures are counted: {words}")),
        }
    }
    let address = connection.server().map_err(|error| lost(&error))?;
    connection.close().await;
    Ok(Peer { address, tls: Some(trusted.connector().tls()), dialect: Arc::new(dialect) })
}

/// Sends the first call; returns the refusal, if it failed.
async fn refusal(connection: &mut Connection, request: &[u8]) -> Result<Option<Refusal>, CallError> {
    connection.send(request).await?;
    let own = FIRST.to_string();
    loop {
        match connection.next_frame_of(&own).await? {
            Frame::Part { .. } => {}
            Frame::Ok { .. } => return Ok(None),
            Frame::Err { refusal, .. } => return Ok(Some(refusal)),
        }
    }
}

/// Runs the load. Ctrl-C ends it with a report; a second Ctrl-C, or one before the load has begun, without.
async fn measure(peer: &Peer, load: Load) -> Result<Report, Failure> {
    let bar = Bar::new(load);
    let (has_begun, is_stopped) = (Cell::new(false), Cell::new(false));
    let on_progress = |progress: Progress| {
        has_begun.set(true);
        bar.show(progress);
        if is_stopped.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let running = async {
        match load {
            Load::Steady(plan) => loadgen::run(peer, &plan, &on_progress).await,
            Load::Handshakes(plan) => loadgen::handshakes(peer, &plan, &on_progress).await,
        }
    };
    tokio::pin!(running);
    loop {
        tokio::select! {
            report = &mut running => {
                bar.end();
                return report.map_err(failure);
            }
            () = interrupted() => if !has_begun.get() || is_stopped.replace(true) {
                bar.end();
                return Err(Failure::failed("stopped before anything was measured"));
            },
        }
    }
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn failure(error: LoadError) -> Failure {
    let words = shown(&error.to_string(), MAX_SHOWN_CHARS).to_string();
    match error {
        LoadError::Plan(_) => Failure::usage(words),
        error if error.is_unreachable() => Failure::unreachable(words),
        _ => Failure::failed(words),
    }
}

impl Outcome {
    /// The program's exit: failed if any command failed, however many succeeded.
    fn judge(&self) -> Result<(), Failure> {
        if self.report.replies == 0 {
            Err(Failure::failed("there was no reply in the measured time"))
        } else if self.report.failures.is_empty() {
            Ok(())
        } else {
            Err(Failure::told(Exit::Failed))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn parse(line: &str) -> Result<Bench, clap::Error> {
        let cli = Cli::try_parse_from(["lictor", "bench"].into_iter().chain(line.split_whitespace()))?;
        let Verb::Bench(bench) = cli.verb else { panic!("{cli:?}") };
        Ok(*bench)
    }

    #[test]
    fn a_closed_loop_of_fifty_connections_unless_said() {
        let load = parse("@ping").unwrap().load.load().unwrap();
        let plan = Plan {
            connections: 50,
            in_flight: 1,
            pace: Pace::Closed,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(10),
        };
        assert_eq!(load, Load::Steady(plan));
        let open = parse("--rate 0.5 --in-flight 3 --time 2s --warm-up 0ms echo --rate").unwrap();
        assert_eq!(open.command, ["echo", "--rate"]);
        let Load::Steady(plan) = open.load.load().unwrap() else { panic!() };
        assert_eq!((plan.pace, plan.in_flight), (Pace::Open { per_second: 0.5 }, 3));
        assert_eq!((plan.warm_up, plan.time), (Duration::ZERO, Duration::from_secs(2)));
        let load = parse("--handshakes --connections 4 @ping").unwrap().load.load().unwrap();
        assert!(matches!(load, Load::Handshakes(HandshakePlan { concurrent: 4, .. })));
        assert!(parse("--plain --in-flight 8 @ping").unwrap().load.load().is_ok());
    }

    #[test]
    fn options_that_make_no_load_are_refused_with_advice() {
        for (line, advice) in [
            ("--in-flight 0 x", "take 1 or more"),
            ("--connections 0 x", "take 1 or more"),
            ("--rate 0 x", "above zero"),
            ("--rate -5 x", "above zero"),
            ("--rate nan x", "above zero"),
            ("--time 0s x", "some time"),
            ("--time 1000000h x", "a day"),
            ("--handshakes --rate 5 x", "leave --rate out"),
            ("--handshakes --in-flight 2 x", "leave --in-flight out"),
            ("--handshakes --connections 0 x", "take 1 or more"),
        ] {
            let failure = parse(line).unwrap().load.load().unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{line}");
            assert!(failure.message().contains(advice), "{line}: {}", failure.message());
        }
        for line in ["", "--time soon x", "--rate fast x", "--in-flight many x"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
