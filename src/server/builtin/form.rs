//! The form of a built-in's reply, which the header `Format` chooses.

use std::borrow::Cow;

use crate::server::control::Report;
use crate::text::json;
use crate::wire::{Code, CommandError, Request};

/// The form of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Lines for a person.
    Text,
    /// One JSON object.
    Json,
}

impl Form {
    /// Returns the form that a request asks for.
    ///
    /// # Errors
    ///
    /// If there is no such form.
    pub(super) fn of(request: &Request) -> Result<Self, CommandError> {
        match request.header("Format") {
            None => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            Some(_) => Err(CommandError::failed(Code::BadArguments, "The only Format is json")),
        }
    }

    /// Returns the bytes of `report` in this form.
    pub(super) fn write(self, report: Report) -> Cow<'static, [u8]> {
        let text = match self {
            Self::Text => report.text,
            Self::Json => json(&report.json.to_string()).into_owned(),
        };
        Cow::Owned(text.into_bytes())
    }
}
