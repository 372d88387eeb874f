//! The reason why a text is not the value that was wanted.

/// The reason why a text is not the value that was wanted, and advice. Never holds the text itself, which may
/// be a misplaced secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct InvalidText {
    /// The fault in the text.
    pub what: String,
    /// Advice on what to write instead.
    pub advice: Option<String>,
}

impl InvalidText {
    /// Says `what` is wrong with the text.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: None }
    }

    /// Adds advice on what to write instead.
    pub(crate) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Returns the fault and its remedy.
    #[must_use]
    pub fn in_full(self) -> String {
        match self.advice {
            Some(advice) => format!("{}; {advice}", self.what),
            None => self.what,
        }
    }
}

/// The longest name of any kind, in bytes: names appear in every log line and in `@status`.
const NAME_BYTES: usize = 64;

/// Checks the length of the name `text`, which messages call `kind`.
pub(crate) fn check_length(text: &str, kind: &str) -> Result<(), InvalidText> {
    match text.len() {
        0 => Err(InvalidText::new(format!("{kind} can't be empty"))),
        bytes if bytes > NAME_BYTES => {
            let what =
                format!("{kind} has at most {NAME_BYTES} characters, this has {}", text.chars().count());
            Err(InvalidText::new(what).advise("shorten it"))
        }
        _ => Ok(()),
    }
}
