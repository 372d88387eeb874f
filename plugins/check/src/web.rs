//! `check-http`: judges a web server by its answer.

use std::time::Duration;

use lictor_plugin::Failure;
use lictor_plugin::http::{Error, Response};

use crate::report::{Figure, Report, State};
use crate::threshold::Range;

/// An unreachable server is a finding. A URL that is invalid or not granted is a failure of the command.
pub(crate) fn check(
    answer: Result<Response, Error>,
    took: Duration,
    warning: Option<&Range>,
    critical: Option<&Range>,
) -> Result<Report, Failure> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error @ (Error::TimedOut | Error::Unavailable(_))) => {
            return Ok(Report::new(State::Critical, error.to_string()));
        }
        Err(error @ Error::TooLarge(_)) => return Ok(Report::new(State::Unknown, error.to_string())),
        // The client chooses the URL.
        Err(error) => return Err(Failure::from(error).as_is()),
    };
    // As in the classic check: a redirect is OK, a client error a warning.
    let state = match answer.status {
        ..400 => State::Ok,
        400..500 => State::Warning,
        500.. => State::Critical,
    };
    let (seconds, size) = (took.as_secs_f64(), answer.body.len());
    let words = format!("HTTP {}, {size} bytes in {seconds:.3} seconds", answer.status);
    let time =
        Figure { label: "time", value: seconds, unit: "s", decimals: 3, warning, critical, most: None };
    let size = Figure {
        label: "size",
        value: size as f64,
        unit: "B",
        decimals: 0,
        warning: None,
        critical: None,
        most: None,
    };
    Ok(Report::new(state, words).figure(&time).figure(&size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: Result<Response, Error>) -> String {
        let (one, two) = (Range::parse("1"), Range::parse("2"));
        check(answer, Duration::from_millis(1500), one.as_ref(), two.as_ref()).unwrap().text()
    }

    fn page(status: u16) -> Result<Response, Error> {
        Ok(Response { status, headers: Vec::new(), body: b"page".to_vec() })
    }

    #[test]
    fn the_status_and_the_time_count() {
        let figures = "|time=1.500s;1.000;2.000;0; size=4B;;;0;";
        assert_eq!(text(page(200)), format!("WARNING - HTTP 200, 4 bytes in 1.500 seconds{figures}"));
        assert_eq!(text(page(503)), format!("CRITICAL - HTTP 503, 4 bytes in 1.500 seconds{figures}"));
        let untimed = check(page(301), Duration::from_millis(1500), None, None).unwrap().text();
        assert!(untimed.starts_with("OK - HTTP 301"), "{untimed}");
        assert!(untimed.ends_with("|time=1.500s;;;0; size=4B;;;0;"), "{untimed}");
    }

    #[test]
    fn a_server_that_does_not_answer_is_critical() {
        assert_eq!(text(Err(Error::TimedOut)), "CRITICAL - the server did not answer in time");
        assert!(text(Err(Error::TooLarge(5))).starts_with("UNKNOWN - "));
        let denied = check(Err(Error::Denied), Duration::ZERO, None, None).unwrap_err();
        assert_eq!(denied.code(), "denied");
    }
}
