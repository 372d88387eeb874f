//! A result of the examination of a machine.

/// A result of the examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The part that was examined.
    pub subject: &'static str,
    /// The result.
    pub verdict: Verdict,
    /// In words.
    pub what: String,
    /// The remedy, if it is not in these words.
    pub help: Option<String>,
}

/// The gravity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Good,
    /// It works, or may work; somebody should look at it.
    Warning,
    /// It will not work.
    Fault,
}

impl Finding {
    /// Makes a finding of something that works.
    #[must_use]
    pub fn good(subject: &'static str, what: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Good, what: what.into(), help: None }
    }

    /// Makes a finding of something that somebody should look at.
    #[must_use]
    pub fn warning(subject: &'static str, what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, ..Self::good(subject, what) }
    }

    /// Makes a finding of something that will not work.
    #[must_use]
    pub fn fault(subject: &'static str, what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fault, ..Self::good(subject, what) }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// What is known of the server that the config describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing answers: its addresses have to be free.
    Stopped,
    /// Nobody here may ask it: its addresses are taken if it runs.
    Unasked,
    /// It runs, and may have so many files open, if that is known.
    Running {
        /// The limit of its process.
        files: Option<u64>,
    },
}
