//! Faults of PEM files.

use std::fmt;

/// A fault in the text of a file; does not contain the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFault {
    /// Line number, from 1, if the fault is about one line.
    line: Option<usize>,
    what: String,
    advice: Option<&'static str>,
}

impl PemFault {
    pub(super) fn new(line: impl Into<Option<usize>>, what: impl Into<String>) -> Self {
        Self { line: line.into(), what: what.into(), advice: None }
    }

    pub(super) fn advise(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    /// Returns a remedy, unless it is obvious.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        self.advice
    }

    /// Returns the fault and its remedy.
    #[must_use]
    pub fn in_full(&self) -> String {
        self.advice.map_or_else(|| self.to_string(), |advice| format!("{self}; {advice}"))
    }
}

impl fmt::Display for PemFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for PemFault {}
