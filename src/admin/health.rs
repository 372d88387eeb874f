//! Liveness and readiness as text: a word for probes, or with `?verbose` a list for people.

use std::fmt::Write as _;

use hyper::StatusCode;

/// A check of something that readiness rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name in the list.
    pub name: &'static str,
    /// In words, the reason why it fails, if it does.
    pub fault: Option<String>,
    /// More about a check that succeeds.
    pub note: Option<&'static str>,
}

impl Check {
    /// Makes a check that fails if there is a `fault`.
    #[must_use]
    pub fn new(name: &'static str, fault: Option<String>) -> Self {
        Self { name, fault, note: None }
    }
}

/// The length of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// One line.
    Brief,
    /// A line for each check.
    Verbose,
}

/// Returns the status and the text of `page`, which rests on `checks`.
pub(super) fn report(page: &str, checks: &[Check], detail: Detail) -> (StatusCode, String) {
    let faults = || checks.iter().filter_map(|check| Some((check.name, check.fault.as_deref()?)));
    let status = if faults().next().is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if detail == Detail::Brief {
        let words: Vec<_> = faults().map(|(name, fault)| format!("{name}: {fault}")).collect();
        let text = if words.is_empty() { "ok".to_owned() } else { words.join("; ") };
        return (status, text + "\n");
    }
    let mut text = String::new();
    for Check { name, fault, note } in checks {
        // Writing to a string cannot fail.
        let _ = match (fault, note) {
            (Some(fault), _) => writeln!(text, "[-]{name} failed: {fault}"),
            (None, Some(note)) => writeln!(text, "[+]{name} ok: {note}"),
            (None, None) => writeln!(text, "[+]{name} ok"),
        };
    }
    let verdict = if status.is_success() { "passed" } else { "failed" };
    let _ = writeln!(text, "{page} check {verdict}");
    (status, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_reads_the_status_and_a_person_the_list() {
        let good = [Check::new("a", None), Check { note: Some("late"), ..Check::new("b", None) }];
        let bad = [Check::new("a", Some("gone".to_owned())), Check::new("b", None)];
        for (checks, detail, status, text) in [
            (&good, Detail::Brief, 200, "ok\n"),
            (&good, Detail::Verbose, 200, "[+]a ok\n[+]b ok: late\nreadyz check passed\n"),
            (&bad, Detail::Brief, 503, "a: gone\n"),
            (&bad, Detail::Verbose, 503, "[-]a failed: gone\n[+]b ok\nreadyz check failed\n"),
        ] {
            let (given, words) = report("readyz", checks, detail);
            assert_eq!((given.as_u16(), &*words), (status, text));
        }
    }
}
