//! Faults below the rules, and SQLite's errors in words. Knows no statement.

use rusqlite::ErrorCode;

use crate::state::StateError;

/// The reason for a failure: a refusal by the rules, or an SQLite error.
#[derive(Debug)]
pub(super) enum Fault {
    /// The rules refused this one write; others in its group are not affected.
    Refused(StateError),
    /// An SQLite error: the state of the whole transaction is unknown.
    Broken(rusqlite::Error),
}

impl Fault {
    pub(super) fn into_error(self) -> StateError {
        match self {
            Self::Refused(error) => error,
            Self::Broken(error) => in_words(&error),
        }
    }
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error)
    }
}

/// Returns true if the disk was full, or the file at its bound.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Explains `error` to the operator.
pub(super) fn in_words(error: &rusqlite::Error) -> StateError {
    let what = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            return StateError::Corrupt { what: format!("{error}; restore a backup") };
        }
        Some(ErrorCode::DiskFull) => "the disk is full, or the state file at its bound".to_owned(),
        Some(ErrorCode::SystemIoFailure) => format!("the state file can't be read or written ({error})"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds the state file".to_owned()
        }
        _ => error.to_string(),
    };
    StateError::Unavailable { what }
}

/// Explains `error`, which occurred while the file at `place` was being opened.
pub(super) fn at(place: &std::path::Path, error: &rusqlite::Error) -> StateError {
    let place = place.display();
    match in_words(error) {
        StateError::Corrupt { .. } => StateError::Corrupt {
            what: format!("{place}: {error}; restore a backup, or move the file away to begin with nothing"),
        },
        StateError::Unavailable { what } => StateError::Unavailable { what: format!("{place}: {what}") },
        other => other,
    }
}
