//! `@slowlog`: the requests that took most.

use serde_json::{Map, json};

use super::ended::{Shown, line, object};
use crate::identity::Utc;
use crate::server::connection::Session;
use crate::server::control::Report;
use crate::telemetry::{Measure, SLOW_LOG, SlowLog};
use crate::wire::{Code, CommandError, Request};

/// Requests shown by each measure, if the command does not say how many.
const SHOWN: usize = 10;

/// The arguments of the command.
enum Asked {
    Worst(Vec<Measure>, usize),
    Reset,
}

/// Lists the requests that took most since the start or the last reset, or forgets them.
pub(super) fn slowlog(request: &Request, session: &Session) -> Result<Report, CommandError> {
    let (measures, number) = match asked(request)? {
        Asked::Worst(measures, number) => (measures, number),
        Asked::Reset => {
            SLOW_LOG.reset();
            return Ok(Report { text: "reset".to_owned(), json: json!({ "reset": true }) });
        }
    };
    let started = std::time::SystemTime::now().checked_sub(session.server.started.elapsed());
    let since = SLOW_LOG.last_reset().or(started).map(|since| Utc(since).to_string());
    let arguments = if session.service.log.has_arguments() { Shown::Kept } else { Shown::None };
    let (mut lines, mut worst) = (Vec::new(), Map::new());
    for measure in measures {
        let ended: Vec<_> = SLOW_LOG.worst(measure).into_iter().take(number).collect();
        let (name, since) = (measure.as_str(), since.as_deref().unwrap_or("the start"));
        lines.push(format!("by {name} since {since}: {}", ended.len()));
        lines.extend(ended.iter().map(|ended| format!("  {}", line(ended, arguments))));
        worst.insert(name.to_owned(), ended.iter().map(|ended| object(ended, arguments)).collect());
    }
    Ok(Report { text: lines.join("\n"), json: json!({ "since": since, "worst": worst }) })
}

fn asked(request: &Request) -> Result<Asked, CommandError> {
    let mut arguments = request.arguments().skip(1).peekable();
    if arguments.next_if_eq(&"reset").is_some() {
        return if arguments.next().is_none() { Ok(Asked::Reset) } else { Err(usage()) };
    }
    let measures = match arguments.next_if_eq(&"by") {
        None => Measure::ALL.to_vec(),
        Some(_) => {
            let name = arguments.next().ok_or_else(usage)?;
            let named = Measure::ALL.into_iter().find(|measure| measure.as_str() == name);
            vec![named.ok_or_else(usage)?]
        }
    };
    let number = arguments.next().map_or(Ok(SHOWN), |number| {
        number.parse().ok().filter(|number| (1..=SlowLog::MOST).contains(number)).ok_or_else(usage)
    })?;
    if arguments.next().is_some() { Err(usage()) } else { Ok(Asked::Worst(measures, number)) }
}

fn usage() -> CommandError {
    let names = Measure::ALL.map(Measure::as_str).join("|");
    let most = SlowLog::MOST;
    let words = format!("Usage: @slowlog [by {names}] [N], N from 1 to {most}, or @slowlog reset");
    CommandError::failed(Code::BadArguments, words)
}
