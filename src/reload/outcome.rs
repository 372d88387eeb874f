//! The outcome of a reload.

use std::fmt;

use crate::config::Change;

/// Maximum keys named in a reply; all of them are in the log and in the status.
const MAX_NAMED: usize = 8;

/// The changes of a reload, or the reason why it failed.
pub type Outcome = Result<Vec<Change>, Failed>;

/// A reload that did not put its config into force.
#[derive(Clone, Debug)]
pub struct Failed {
    pub(super) why: Why,
    /// The changes that took something away all the same.
    pub(super) narrowed: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(super) enum Why {
    Fault(String),
    Superseded,
    Stopping,
}

/// Message for an operator; the first line states the present situation.
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.why, self.narrowed.len()) {
            (Why::Stopping, _) => return f.write_str("Not reloaded: the server is stopping"),
            (_, 0) => f.write_str("Not reloaded, and nothing was changed: ")?,
            (_, named) => {
                let keys: Vec<_> = self.narrowed.iter().take(MAX_NAMED).map(taken).collect();
                write!(f, "Not reloaded, but what was taken away holds ({}", keys.join(", "))?;
                if named > MAX_NAMED {
                    write!(f, " and {} more", named - MAX_NAMED)?;
                }
                f.write_str("): ")?;
            }
        }
        match &self.why {
            Why::Fault(fault) => f.write_str(fault),
            Why::Superseded => f.write_str("superseded by a newer reload"),
            Why::Stopping => Ok(()),
        }
    }
}

/// Shows a change that took something away.
pub(super) fn taken(change: &Change) -> String {
    format!("{} {}", change.key, change.kind)
}

/// `changes`, plus those of `others` that are not among them.
pub(super) fn with(mut changes: Vec<Change>, others: Vec<Change>) -> Vec<Change> {
    let new: Vec<_> = others.into_iter().filter(|other| !changes.contains(other)).collect();
    changes.extend(new);
    changes
}
