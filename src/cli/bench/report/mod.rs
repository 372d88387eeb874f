//! The result of a load, as text for people and as JSON for programs.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::chart::{chart, ranges};
use super::load::Load;
use super::numbers::{count, seconds, time};
use super::outcome::Outcome;
use crate::loadgen::{Pace, Report};
use crate::text::shown;

/// Share of a core from which on the figures reflect the generator's limits.
const BUSY_SHARE: f64 = 0.9;

/// Maximum characters of a command or of a failure's code shown.
const MAX_SHOWN_CHARS: usize = 60;

/// The quantiles shown, with their names.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

const CORRECTED: &str = "\
Corrected is what requests would have taken that are sent at a steady rate: a
closed loop sends nothing while it waits, so it counts a stall only once.
";

impl Outcome {
    /// The report for people.
    pub(super) fn text(&self) -> String {
        let report = &self.report;
        let command = shown(&self.command.join(" "), MAX_SHOWN_CHARS).to_string();
        let mut text = format!("{command} at {}\n{}\n\n", self.server, self.load_in_words());
        push_counts(&mut text, report);
        if report.latency.is_empty() {
            return text.trim_end().to_owned();
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}", heading());
        let _ = writeln!(text, "{}", row("latency", &report.latency));
        if self.is_correctable() {
            let _ = writeln!(text, "{}\n{CORRECTED}", row("corrected", &report.corrected));
        } else {
            text.push('\n');
        }
        text.push_str(&chart(&report.latency));
        push_cpu(&mut text, report);
        text.trim_end().to_owned()
    }

    /// The report for programs. Times are in microseconds.
    pub(super) fn json(&self) -> Value {
        let report = &self.report;
        let (kind, rate, in_flight, connections, warm_up) = match self.load {
            Load::Steady(plan) => {
                let (kind, rate) = match plan.pace {
                    Pace::Closed => ("closed", None),
                    Pace::Open { per_second } => ("open", Some(per_second)),
                };
                (kind, rate, plan.in_flight, plan.connections, plan.warm_up)
            }
            Load::Handshakes(plan) => ("handshakes", None, 1, plan.concurrent, plan.warm_up),
        };
        let histogram: Vec<_> = ranges(&report.latency)
            .iter()
            .map(|range| json!({ "to_us": micros(range.to), "count": range.count }))
            .collect();
        json!({
            "server": self.server,
            "command": self.command,
            "loop": kind,
            "connections": connections,
            "in_flight": in_flight,
            "rate": rate,
            "plain": self.is_plain,
            "warm_up_seconds": warm_up.as_secs_f64(),
            "seconds": report.elapsed.as_secs_f64(),
            "requests": report.replies,
            "requests_per_second": report.per_second(),
            "failures": report.failures,
            "unanswered": report.unanswered,
            "latency_us": summary(&report.latency),
            "corrected_us": self.is_correctable().then(|| summary(&report.corrected)),
            "histogram": histogram,
            "requests_per_100ms": report.per_interval,
            "generator_cpu": report.cpu_share(),
        })
    }

    /// Returns true if late replies delayed further requests.
    fn is_correctable(&self) -> bool {
        matches!(self.load, Load::Steady(plan) if plan.pace == Pace::Closed)
    }

    fn load_in_words(&self) -> String {
        let kind = if self.is_plain { "plain request" } else { "request" };
        match self.load {
            Load::Steady(plan) => {
                let in_flight = plan.in_flight;
                let kind = if in_flight == 1 { kind.to_owned() } else { format!("{kind}s") };
                let slots = format!("{} connections, {in_flight} {kind} in flight on each", plan.connections);
                match plan.pace {
                    Pace::Closed => format!("closed loop: {slots}"),
                    Pace::Open { per_second } => {
                        format!("open loop: {per_second} per second; {slots} at most")
                    }
                }
            }
            Load::Handshakes(plan) => {
                format!("a new connection for each {kind}, {} at once", plan.concurrent)
            }
        }
    }
}

fn push_counts(text: &mut String, report: &Report) {
    let (replies, elapsed) = (count(report.replies), seconds(report.elapsed));
    let rate = count(report.per_second().round() as u64);
    let _ = writeln!(text, "requests    {replies} in {elapsed}: {rate} per second");
    let failures = report
        .failures
        .iter()
        .map(|(code, number)| format!("{} {}", count(*number), shown(code, MAX_SHOWN_CHARS)))
        .collect::<Vec<_>>();
    let failures = if failures.is_empty() { "none".to_owned() } else { failures.join(", ") };
    let _ = writeln!(text, "failures    {failures}");
    if report.unanswered > 0 {
        let unanswered = count(report.unanswered);
        let _ = writeln!(
            text,
            "unanswered  {unanswered}, even a second after the end: the longest latencies are missing"
        );
    }
}

fn push_cpu(text: &mut String, report: &Report) {
    let share = report.cpu_share();
    let _ = writeln!(text, "\nthe generator used {:.0} % of a core", share * 100.0);
    if share > BUSY_SHARE {
        text.push_str(
            "warning: it had no time to spare, so these figures tell of it and not of the\n\
             server; give it a core of its own, or run several, from several machines\n",
        );
    }
}

fn heading() -> String {
    let names = QUANTILES.iter().map(|(name, _)| *name);
    let names = ["min"].into_iter().chain(names).chain(["max"]);
    names.fold(" ".repeat(9), |line, name| format!("{line}  {name:>9}"))
}

fn row(name: &str, histogram: &Histogram<u64>) -> String {
    let values = QUANTILES.iter().map(|(_, quantile)| histogram.value_at_quantile(*quantile));
    let values = [histogram.min()].into_iter().chain(values).chain([histogram.max()]);
    values.fold(format!("{name:9}"), |line, value| format!("{line}  {:>9}", time(value)))
}

fn summary(histogram: &Histogram<u64>) -> Value {
    let at = |quantile| micros(histogram.value_at_quantile(quantile));
    json!({
        "min": micros(histogram.min()),
        "mean": histogram.mean() / 1e3,
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "p99_9": at(0.999),
        "max": micros(histogram.max()),
    })
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

#[cfg(test)]
mod tests;
