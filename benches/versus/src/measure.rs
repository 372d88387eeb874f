//! Contenders measured in turns, each for a while in each round, so that disturbances affect all of them.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use lictor::loadgen::{self, Dialect, HandshakePlan, LoadError, OnProgress, Plan, Progress, Report};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::Bench;
use super::document::Table;
use super::figures::{NOTHING, Unit};
use super::peers::Server;
use super::spread::Spread;

/// Time for which an idle generator is observed before each turn.
const CALIBRATION: Duration = Duration::from_millis(100);

/// A server with one kind of request and load.
pub struct Contender<'server> {
    pub name: &'static str,
    pub server: &'server Server,
    pub dialect: Arc<dyn Dialect>,
    pub load: Load,
}

/// A server of a scenario, and the request for it.
pub struct Asked {
    pub name: &'static str,
    pub server: Server,
    pub dialect: Arc<dyn Dialect>,
}

impl Asked {
    pub fn under(&self, load: Load) -> Contender<'_> {
        Contender { name: self.name, server: &self.server, dialect: Arc::clone(&self.dialect), load }
    }
}

/// The load on a server.
#[derive(Clone, Copy)]
pub enum Load {
    /// Requests on persistent connections.
    Steady(Plan),
    /// Connections of one request each.
    Handshakes(HandshakePlan),
}

/// Results of a contender in one round.
pub struct Sample {
    /// Replies per second.
    pub per_second: f64,
    /// Nanoseconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// The server's processor time for a request, in nanoseconds; NaN if there was too little to measure.
    pub server_cpu: f64,
    /// Share of its core that the generator used: near 1, the generator was the limit and not the server.
    pub generator: f64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Number of failed requests, and the message of the first.
    pub failed: Option<(u64, String)>,
}

/// Results of a contender in all rounds.
pub struct Series {
    pub name: &'static str,
    pub samples: Vec<Sample>,
    /// Latencies of all rounds together, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Reason why measuring broke off.
    pub trouble: Option<String>,
}

impl Series {
    fn new(name: &'static str) -> Self {
        let latency = Histogram::new(3).expect("three digits are possible");
        Self { name, samples: Vec::new(), latency, trouble: None }
    }

    /// Returns one figure of each round.
    pub fn each(&self, figure: fn(&Sample) -> f64) -> impl Iterator<Item = f64> {
        self.samples.iter().map(figure)
    }

    pub fn spread(&self, figure: fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.each(figure))
    }

    fn add(&mut self, (sample, report): (Sample, Report)) {
        self.samples.push(sample);
        self.latency.add(&report.corrected).expect("histograms of equal precision add up");
    }
}

/// Measures each contender once in each of this many rounds.
pub fn in_turns(bench: &Bench, contenders: &[Contender<'_>], rounds: usize) -> Vec<Series> {
    let names: Vec<&'static str> = contenders.iter().map(|contender| contender.name).collect();
    in_turns_by(bench, &names, rounds, |turn| {
        let (measured, generator) = awake(|| once(bench, &contenders[turn]), bench)?;
        Ok((Sample { generator, ..measured.0 }, measured.1))
    })
}

/// Runs `measure` for each name once in each of this many rounds.
pub fn in_turns_by(
    bench: &Bench,
    names: &[&'static str],
    rounds: usize,
    measure: impl Fn(usize) -> Result<(Sample, Report), String>,
) -> Vec<Series> {
    let mut all: Vec<Series> = names.iter().map(|name| Series::new(name)).collect();
    for round in 1..=rounds {
        for (turn, series) in all.iter_mut().enumerate().filter(|(_, series)| series.trouble.is_none()) {
            match measure(turn) {
                Ok(measured) => {
                    let rate = Unit::Count.of(measured.0.per_second);
                    bench.tell(&format!("round {round} of {rounds}: {}, {rate} a second", series.name));
                    series.add(measured);
                }
                Err(trouble) => {
                    bench.tell(&format!("round {round} of {rounds}: {}: {trouble}", series.name));
                    series.trouble = Some(trouble);
                }
            }
        }
    }
    all
}

/// Measures a contender once.
pub fn once(bench: &Bench, contender: &Contender<'_>) -> Result<(Sample, Report), String> {
    let peer = contender.server.peer(&contender.dialect);
    let watched = Watched::new(contender.server, contender.load.warm_up());
    let watch = |progress| watched.note(progress);
    let report = match &contender.load {
        Load::Steady(plan) => bench.runtime.block_on(loadgen::run(&peer, plan, &watch)),
        Load::Handshakes(plan) => bench.runtime.block_on(loadgen::handshakes(&peer, plan, &watch)),
    };
    let report = report.map_err(|error| error.to_string())?;
    let server_cpu = watched.cpu_of_a_request();
    Ok((Sample { server_cpu, ..Sample::of(&report) }, report))
}

/// Runs `measure` with a generator that never sleeps, and returns the share of its core that the generator
/// used.
///
/// Waking a thread on another core costs the answering server more than the answer, above all in a virtual
/// machine. A server slower than its load would then pay for each answer, and a faster one for none, which
/// depends on the generator and not on the servers. Not for loads that share the generator's core with
/// anything else.
fn awake<T>(measure: impl FnOnce() -> Result<T, String>, bench: &Bench) -> Result<(T, f64), String> {
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    let looking = bench.runtime.spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
    });
    // The idle generator's rate of polls, by which those under load are judged.
    bench.runtime.block_on(async { sleep(CALIBRATION).await });
    let idle_looks = looks.swap(0, Ordering::Relaxed) as f64 / CALIBRATION.as_secs_f64();
    let began = Instant::now();
    let measured = measure();
    let idle = looks.load(Ordering::Relaxed) as f64 / (idle_looks * began.elapsed().as_secs_f64());
    looking.abort();
    Ok((measured?, (1.0 - idle).clamp(0.0, 1.0)))
}

/// Runs `during` while another load runs on another thread of this core; `other` receives a runtime, and the
/// callback that ends it.
pub fn beside<T>(
    other: impl FnOnce(&Runtime, OnProgress<'_>) -> Result<Report, LoadError> + Send,
    during: impl FnOnce() -> T,
) -> Result<(T, Report), String> {
    let is_over = AtomicBool::new(false);
    let go_on = |_: Progress| match is_over.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| other(&runtime(), &go_on));
        let done = during();
        is_over.store(true, Ordering::Relaxed);
        let report = other.join().expect("the other load does not panic");
        Ok((done, report.map_err(|error| error.to_string())?))
    })
}

/// One thread for everything, so that its processor time is measured as well.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

impl Load {
    fn warm_up(&self) -> Duration {
        match self {
            Self::Steady(Plan { warm_up, .. }) | Self::Handshakes(HandshakePlan { warm_up, .. }) => *warm_up,
        }
    }
}

impl Sample {
    pub fn of(report: &Report) -> Self {
        let latency = |percent| report.corrected.value_at_percentile(percent) as f64;
        let failed: u64 = report.failures.values().sum();
        Self {
            per_second: report.per_second(),
            p50: latency(50.0),
            p99: latency(99.0),
            p999: latency(99.9),
            server_cpu: f64::NAN,
            generator: report.cpu_share(),
            unanswered: report.unanswered,
            failed: report.failures.keys().next().map(|first| (failed, first.clone())),
        }
    }
}

/// A server's processor time under load, sampled about ten times a second.
struct Watched<'server> {
    server: &'server Server,
    warm_up: Duration,
    /// Processor time and replies at the first sample after the warm-up, and at the last.
    first: Cell<Option<(Duration, u64)>>,
    last: Cell<Option<(Duration, u64)>>,
}

impl<'server> Watched<'server> {
    fn new(server: &'server Server, warm_up: Duration) -> Self {
        Self { server, warm_up, first: Cell::new(None), last: Cell::new(None) }
    }

    fn note(&self, progress: Progress) -> ControlFlow<()> {
        if progress.elapsed >= self.warm_up {
            let now = Some((self.server.process.cpu(), progress.replies));
            self.last.set(now);
            self.first.set(self.first.get().or(now));
        }
        ControlFlow::Continue(())
    }

    fn cpu_of_a_request(&self) -> f64 {
        let (Some((cpu_before, before)), Some((cpu, replies))) = (self.first.get(), self.last.get()) else {
            return f64::NAN;
        };
        cpu.saturating_sub(cpu_before).as_nanos() as f64 / replies.saturating_sub(before) as f64
    }
}

/// Tabulates one row of results for each contender; `what` is `request` or `connection`.
pub fn table(all: &[Series], what: &str) -> String {
    let (rate, cpu) = (format!("{what}s/s"), format!("server's CPU per {what}"));
    let mut table = Table::new(&["server", &rate, "p50", "p99", "p99.9", &cpu, "generator's core"]);
    for series in all.iter().filter(|series| !series.samples.is_empty()) {
        let cell = |unit: Unit, figure| unit.of_spread(series.spread(figure));
        let generator = series.spread(|sample| sample.generator);
        table.row(&[
            series.name.to_owned(),
            cell(Unit::Count, |sample| sample.per_second),
            cell(Unit::Time, |sample| sample.p50),
            cell(Unit::Time, |sample| sample.p99),
            cell(Unit::Time, |sample| sample.p999),
            cell(Unit::Time, |sample| sample.server_cpu),
            generator.map_or_else(|| NOTHING.into(), |share| Unit::Share.of(share.median)),
        ]);
    }
    table.into_text()
}

/// Tabulates a row for each pair of names that were both measured: the first one's figures over the second's.
pub fn ratios(pairs: &[(&str, &str)], all: &[Series], what: &str) -> String {
    let (rate, cpu) = (format!("{what}s/s"), format!("server's CPU per {what}"));
    let mut table = Table::new(&["ratio", &rate, "p50", "p99", &cpu]);
    let named = |name| all.iter().find(|series| series.name == name && !series.samples.is_empty());
    for (ours, theirs) in pairs {
        let (Some(our), Some(their)) = (named(*ours), named(*theirs)) else { continue };
        let of = |figure| Unit::Ratio.of_spread(Spread::of_ratios(our.each(figure), their.each(figure)));
        table.row(&[
            format!("{ours} to {theirs}"),
            of(|sample| sample.per_second),
            of(|sample| sample.p50),
            of(|sample| sample.p99),
            of(|sample| sample.server_cpu),
        ]);
    }
    table.into_text()
}

/// Describes each problem in a sentence.
pub fn troubles(all: &[Series]) -> Vec<String> {
    let mut troubles = Vec::new();
    for Series { name, samples, trouble, .. } in all {
        troubles
            .extend(trouble.iter().map(|trouble| format!("{name} was not measured to the end: {trouble}.")));
        let failed: u64 = samples.iter().flat_map(|sample| &sample.failed).map(|(count, _)| count).sum();
        if let Some((_, what)) = samples.iter().find_map(|sample| sample.failed.as_ref()) {
            troubles.push(format!("{name}: {failed} requests failed ({what})."));
        }
        let silent = samples.iter().filter(|sample| sample.per_second == 0.0).count();
        if silent > 0 {
            troubles.push(format!(
                "{name}: nothing was answered in {silent} rounds; the machine may have halted."
            ));
        }
        let unanswered: u64 = samples.iter().map(|sample| sample.unanswered).sum();
        if unanswered > 0 {
            troubles.push(format!("{name}: {unanswered} requests were not answered in time."));
        }
    }
    troubles
}
