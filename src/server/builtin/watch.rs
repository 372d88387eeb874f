//! `@watch`: a stream of requests as they end.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::ended::{Shown, line, object};
use super::form::Form;
use super::request_filter::RequestFilter;
use crate::plugin::{Parts, PipeWriter, ReplyFuture, pipe};
use crate::server::connection::Session;
use crate::server::watchers::{MAX_WATCHERS, Told, Wants, Watching};
use crate::text::json as visible;
use crate::wire::{Code, CommandError, NEEDS_SEQUENCE, Request};

/// Begins a stream of requests that meet the conditions in the arguments; returns its parts and its end.
pub(super) fn watch(
    request: &Request,
    session: &Session,
    form: Form,
) -> Result<(Parts, ReplyFuture<'static>), CommandError> {
    let filter = RequestFilter::of(request)?;
    if request.sequence().is_none() {
        return Err(CommandError::not_run(Code::ReplyUnframeable, NEEDS_SEQUENCE));
    }
    let wants: Wants = Box::new(move |recorder, event, connection| filter.has(recorder, event, connection));
    let watching = session.server.watchers.watch(wants).ok_or_else(|| {
        let words = format!("There are {MAX_WATCHERS} watchers already");
        CommandError::not_run(Code::Busy, words)
    })?;
    let (connection, client) = (session.id(), session.identity.name());
    tracing::info!(target: "lictor::command", %connection, client, "watches requests");
    let deadline =
        request.timeout_ms().and_then(|timeout| session.now().checked_add(Duration::from_millis(timeout)));
    let (writer, parts) = pipe();
    Ok((parts, stream(watching, form, writer, deadline)))
}

fn stream(
    watching: Watching,
    form: Form,
    writer: PipeWriter,
    deadline: Option<Instant>,
) -> ReplyFuture<'static> {
    Box::pin(async move {
        let writing = write(&watching, form, &writer);
        match deadline {
            None => writing.await,
            Some(deadline) => {
                // It never ends by itself.
                let _ = timeout_at(deadline, writing).await;
            }
        }
        Err(CommandError::failed(Code::Timeout, "The deadline has passed"))
    })
}

/// Writes until nobody takes it any more.
async fn write(watching: &Watching, form: Form, writer: &PipeWriter) {
    loop {
        let Told { requests, left_out } = watching.next().await;
        let mut lines = String::new();
        for ended in requests {
            lines += &match form {
                Form::Text => line(&ended, Shown::Kept),
                Form::Json => visible(&object(&ended, Shown::Kept).to_string()).into_owned(),
            };
            lines.push('\n');
        }
        if left_out > 0 {
            lines += &match form {
                Form::Text => format!("{left_out} left out\n"),
                Form::Json => format!("{}\n", json!({ "left_out": left_out })),
            };
        }
        if writer.write_all(lines.as_bytes()).await.is_err() {
            return;
        }
    }
}
