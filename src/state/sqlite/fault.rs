//! What went wrong below the rules, and what SQLite's errors mean in words. It knows no statement.

use rusqlite::ErrorCode;

use crate::state::StateError;

/// Why something was not done: the rules said no, or SQLite could not.
#[derive(Debug)]
pub(super) enum Fault {
    /// The rules' answer to this one write; others in its group are not touched by it.
    Refused(StateError),
    /// SQLite's: nothing can be said about the whole transaction.
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

/// Whether there was no room on the disk or in the file's bound.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// What `error` means to who runs the server.
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

/// `error`, met while the file at `place` was opened.
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
