//! The running server, asked for its status and its metrics.

use serde_json::Value;

use crate::app::{Finding, Seen};
use crate::cli::request::request;
use crate::cli::session::Session;
use crate::cli::target::{Target, Wanted};
use crate::cli::{Exit, Failure};
use crate::config::Loaded;

const SUBJECT: &str = "server";
const STATUS: &str = "@status";
const METRICS: &str = "metrics";

/// Asks the server of a config to run a built-in command, as a client that may; returns its reply, or `None`
/// if nothing listens there.
pub(in crate::cli) fn ask(loaded: &Loaded, words: &[&str]) -> Result<Option<Value>, Failure> {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    let request = request(&words, None)?.header("Format", "json");
    let request = request.map_err(|error| Failure::usage(error.to_string()))?;
    let wanted = match &words[..] {
        [command] => Wanted::BuiltIn(command),
        words => Wanted::Command(words),
    };
    let target = Target::in_config(&loaded.config, wanted)?;
    let Some(mut session) = Session::open_if_running(target)? else { return Ok(None) };
    let reply = session.ask(request);
    session.close();
    let reply = serde_json::from_slice(&reply?);
    reply.map(Some).map_err(|error| Failure::failed(format!("{}: {error}", words.join(" "))))
}

/// Looks for the server of a config, and at its state.
pub(super) fn look(loaded: &Loaded) -> (Seen, Vec<Finding>) {
    let unknown = Seen::Running { files: None };
    let status = match ask(loaded, &[STATUS]) {
        Ok(Some(status)) => status,
        Ok(None) => return (Seen::Stopped, Vec::new()),
        // Without a key there is no asking; whether the addresses are free tells whether a server runs.
        Err(failure) if failure.exit() == Exit::Usage => {
            let why = failure.report().unwrap_or("the server cannot be asked").to_owned();
            return (
                Seen::Unasked,
                vec![Finding::warning(SUBJECT, format!("a running server is not asked: {why}"))],
            );
        }
        Err(failure) => {
            let why = failure.report().unwrap_or("it does not answer").to_owned();
            return (unknown, vec![Finding::fault(SUBJECT, why)]);
        }
    };
    match ask(loaded, &[STATUS, METRICS]) {
        Ok(metrics) => {
            let metrics = metrics.unwrap_or_default();
            let metrics = metrics[METRICS].as_str().unwrap_or_default();
            let files = sample(metrics, "process_max_fds").and_then(|most| most.parse().ok());
            (Seen::Running { files }, of_status(loaded, &status, Some(metrics)))
        }
        Err(failure) => {
            let mut findings = of_status(loaded, &status, None);
            let why = failure.report().unwrap_or("it does not answer");
            findings.push(Finding::warning(SUBJECT, format!("its metrics are not looked at: {why}")));
            (unknown, findings)
        }
    }
}

fn sample<'m>(metrics: &'m str, name: &str) -> Option<&'m str> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

fn of_status(loaded: &Loaded, status: &Value, metrics: Option<&str>) -> Vec<Finding> {
    let version = status["version"].as_str().unwrap_or("unknown");
    let mut findings = vec![Finding::good(SUBJECT, format!("it runs, version {version}, and answers"))];
    if version != env!("CARGO_PKG_VERSION") {
        let what = format!("it runs version {version}, and this is {}", env!("CARGO_PKG_VERSION"));
        findings
            .push(Finding::warning(SUBJECT, what).help("restart it to run the version that is installed"));
    }
    if let Some(fault) = status["config"]["fault"].as_str() {
        let what = format!("the last reload failed:\n{}", fault.trim_end());
        findings.push(Finding::warning(SUBJECT, what).help("correct the config, and run `lictor reload`"));
    } else if metrics.is_some_and(|metrics| {
        !metrics.contains(&format!("lictor_config_info{{sha256=\"{}\"}}", loaded.digest))
            || sample(metrics, "lictor_config_changed_files").is_some_and(|files| files != "0")
    }) {
        let what = "files of the config have changed since the server read them";
        findings.push(Finding::warning(SUBJECT, what).help("`lictor reload` puts them into force"));
    }
    let waiting = status["config"]["waiting_for_restart"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !waiting.is_empty() {
        let keys: Vec<_> = waiting.iter().filter_map(Value::as_str).collect();
        findings
            .push(Finding::warning(SUBJECT, format!("these keys wait for a restart: {}", keys.join(", "))));
    }
    if status["memory"]["is_short"] == true {
        let what = "it is short of memory: calls are refused, and connections wait";
        findings.push(Finding::fault(SUBJECT, what).help("see `When memory is short` in docs/operations.md"));
    }
    findings
}
