//! Expected results of the suite's requests, and their comparison with the actual ones.

use crate::wire::{Code, Reply};

/// The expected result of a request.
pub(super) enum Expected {
    /// This reply, byte for byte.
    Replies(fn() -> Vec<u8>),
    /// A text reply for which this holds.
    Matches(fn(&str) -> bool),
    /// The plugin's own failure, with this code and message.
    Fails(Code, &'static str),
    /// The plugin's own failure, with one of these codes.
    FailsOneOf(&'static [Code]),
    /// An event of this level that contains this text; any reply.
    Logs(&'static str, &'static str),
    /// A log for which this holds once there is a reply; any reply.
    Prints(fn(&str) -> bool),
    /// This text in the log, and one of these codes. The log includes the host's own words.
    LogsAndFails(&'static str, &'static [Code]),
    /// The host ends the call with one of these codes, or the plugin does when it is refused something.
    Closed(&'static [Code]),
}

impl Expected {
    /// Compares `answer`, and the `log` written meanwhile, with the expectation; returns the fault, or
    /// `None`.
    pub(super) fn fault(&self, answer: &Reply, log: &str) -> Option<String> {
        let gave = || format!("it gave {}", shown(&Some(answer.clone())));
        let is_one_of = |codes: &[Code]| matches!(answer, Err(error) if codes.contains(&error.code));
        let one_of = |codes: &[Code]| codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(" or ");
        match self {
            Self::Replies(wanted) => {
                let wanted = wanted();
                let words = || format!("{}, not {}", gave(), shown(&Some(Ok(wanted.clone()))));
                (answer.as_ref().ok() != Some(&wanted)).then(words)
            }
            Self::Matches(holds) => {
                let text = answer.as_ref().ok().and_then(|reply| std::str::from_utf8(reply).ok());
                (!text.is_some_and(holds)).then(gave)
            }
            Self::Fails(code, message) => {
                let is_it = matches!(answer, Err(error) if error.code == *code && error.message == *message);
                (!is_it).then(|| format!("{}, not {message:?} ({})", gave(), code.as_str()))
            }
            Self::FailsOneOf(codes) | Self::Closed(codes) => {
                (!is_one_of(codes)).then(|| format!("{}, not {}", gave(), one_of(codes)))
            }
            Self::Logs(level, text) => {
                let logged = log.lines().any(|line| line.contains(level) && line.contains(text));
                let words = || format!("the log has no {text:?} at {level}; {}", gave());
                (!logged || answer.is_err()).then(words)
            }
            Self::Prints(holds) => {
                let log_shown = crate::text::shown(log, MAX_SHOWN_CHARS);
                (!holds(log) || answer.is_err()).then(|| format!("the log has \"{log_shown}\"; {}", gave()))
            }
            Self::LogsAndFails(text, codes) => {
                let words = || format!("the log has no {text:?}, or {}, not {}", gave(), one_of(codes));
                (!log.contains(text) || !is_one_of(codes)).then(words)
            }
        }
    }
}

/// Characters of an answer that are shown.
const MAX_SHOWN_CHARS: usize = 200;

pub(super) fn shown(answer: &Option<Reply>) -> String {
    match answer {
        None => "no answer".to_owned(),
        Some(Ok(reply)) => {
            let text = String::from_utf8_lossy(reply);
            format!("the reply \"{}\" of {} bytes", crate::text::shown(&text, MAX_SHOWN_CHARS), reply.len())
        }
        Some(Err(error)) => {
            let message = crate::text::shown(&error.message, MAX_SHOWN_CHARS);
            format!("the failure \"{message}\" ({})", error.code.as_str())
        }
    }
}
