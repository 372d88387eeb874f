//! The running server, asked for its status and its metrics.

use serde_json::Value;

use crate::app::{Finding, Seen};
use crate::cli::Failure;
use crate::cli::request::request;
use crate::cli::session::Session;
use crate::cli::target::{Target, Wanted};
use crate::config::Loaded;

const SUBJECT: &str = "server";
const STATUS: &str = "@status";
const METRICS: &str = "metrics";

/// Asks the server of a config.
pub(in crate::cli) struct Asked {
    session: Session,
}

impl Asked {
    /// Connects to the server; `None` if nothing listens there.
    pub(in crate::cli) fn open(loaded: &Loaded) -> Result<Option<Self>, Failure> {
        let target = Target::in_config(&loaded.config, Wanted::BuiltIn(STATUS))?;
        Ok(Session::open_if_running(target)?.map(|session| Self { session }))
    }

    /// Returns the reply to a built-in command as a JSON object.
    pub(in crate::cli) fn json(&mut self, words: &[&str]) -> Result<Value, Failure> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let request = request(&words, None)?.header("Format", "json");
        let reply = self.session.ask(request.map_err(|error| Failure::usage(error.to_string()))?)?;
        serde_json::from_slice(&reply)
            .map_err(|error| Failure::failed(format!("{}: {error}", words.join(" "))))
    }

    /// Closes the connection.
    pub(in crate::cli) fn close(self) {
        self.session.close();
    }
}

/// Looks for the server of a config, and at its state.
pub(super) fn look(loaded: &Loaded) -> (Seen, Vec<Finding>) {
    let unknown = Seen::Running { files: None };
    let mut asked = match Asked::open(loaded) {
        Ok(Some(asked)) => asked,
        Ok(None) => return (Seen::Stopped, Vec::new()),
        // Without a key there is no asking; whether the addresses are free tells whether a server runs.
        Err(failure) if failure.exit() != crate::cli::Exit::Unreachable => {
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
    let (status, metrics) = (asked.json(&[STATUS]), asked.json(&[STATUS, METRICS]));
    asked.close();
    match (status, metrics) {
        (Ok(status), Ok(metrics)) => {
            let metrics = metrics[METRICS].as_str().unwrap_or_default();
            let files = sample(metrics, "process_max_fds").and_then(|most| most.parse().ok());
            (Seen::Running { files }, of_status(loaded, &status, metrics))
        }
        (Err(failure), _) | (_, Err(failure)) => {
            let why = failure.report().unwrap_or("it does not answer").to_owned();
            (unknown, vec![Finding::fault(SUBJECT, why)])
        }
    }
}

fn sample<'m>(metrics: &'m str, name: &str) -> Option<&'m str> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

fn of_status(loaded: &Loaded, status: &Value, metrics: &str) -> Vec<Finding> {
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
    } else if !metrics.contains(&format!("lictor_config_info{{sha256=\"{}\"}}", loaded.digest))
        || sample(metrics, "lictor_config_changed_files").is_some_and(|files| files != "0")
    {
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
