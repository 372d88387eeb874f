//! One user's requests to one server, in sequence, over a connection that is re-established when lost.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::output::Reply;
use super::target::Target;
use super::trust::{MAX_SHOWN_CHARS, Trusted};
use super::{Failure, output};
use crate::client::{CallError, Connection, Frame, Refusal, Request};
use crate::text::shown;

/// Time for which a server is awaited beyond its own deadline: the server should report the timeout.
const DEADLINE_GRACE: Duration = Duration::from_secs(5);

/// Maximum size of a reply that is buffered instead of printed as it arrives.
const MAX_ASKED_BYTES: usize = 1 << 20;

/// Effect of Ctrl-C while a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Ends the program, and with the connection the command.
    Ends,
    /// Cancels the command; a second Ctrl-C drops the connection.
    Cancels,
}

/// A session of a user with a server.
pub(super) struct Session {
    // Declared before the runtime, which drives it and must be dropped after it.
    connection: Option<Connection>,
    trusted: Trusted,
    next_sequence: u64,
    interrupt: Interrupt,
    runtime: Option<Runtime>,
}

/// The reason why a command was not completed. None of them ends a session.
#[derive(Debug)]
pub(super) enum Undone {
    /// The server refused.
    Refused(Refusal),
    /// The connection ended while a reply was due.
    Lost(CallError),
    /// No reply in time.
    TimedOut(Duration),
    /// The user stopped waiting.
    GivenUp,
    /// Another failure.
    Failed(Failure),
}

impl Session {
    /// Connects for the first time, to run commands that take at most `most`, if set.
    pub(super) fn open(
        target: Target,
        interrupt: Interrupt,
        most: Option<Duration>,
    ) -> Result<Self, Failure> {
        Self::open_by(interrupt, async {
            let trusted = Trusted::settle(target, most).await?;
            let connection = trusted.connect().await?;
            Ok((trusted, Some(connection)))
        })
    }

    /// Connects for the first time, unless no server listens there.
    pub(super) fn open_if_running(target: Target) -> Result<Option<Self>, Failure> {
        let session = Self::open_by(Interrupt::Ends, async {
            let trusted = Trusted::settle(target, None).await?;
            let connection = trusted.connect_if_running().await?;
            Ok((trusted, connection))
        })?;
        Ok(session.connection.is_some().then_some(session))
    }

    fn open_by(
        interrupt: Interrupt,
        connect: impl Future<Output = Result<(Trusted, Option<Connection>), Failure>>,
    ) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
        let (trusted, connection) = match runtime.block_on(connect) {
            Ok(connected) => connected,
            Err(failure) => {
                // A name lookup in progress cannot be aborted otherwise.
                runtime.shutdown_background();
                return Err(failure);
            }
        };
        Ok(Self { connection, trusted, next_sequence: 1, interrupt, runtime: Some(runtime) })
    }

    /// Runs one command and prints its reply, or the reason for having none.
    pub(super) fn run(
        &mut self,
        request: Request,
        limit: Option<Duration>,
        reply: Reply,
    ) -> Result<(), Failure> {
        let command = request.command().to_owned();
        self.try_run(request, limit, reply).map_err(|undone| undone.into_failure(&command))
    }

    /// Runs one command and prints its reply; returns the reason for having none.
    pub(super) fn try_run(
        &mut self,
        request: Request,
        limit: Option<Duration>,
        reply: Reply,
    ) -> Result<(), Undone> {
        let mut reply = reply;
        self.exchange(request, limit, &mut |part| reply.part(part))?;
        reply.end().map_err(Undone::Failed)
    }

    /// Runs one command and returns its reply.
    pub(super) fn ask(&mut self, request: Request) -> Result<Vec<u8>, Failure> {
        let command = request.command().to_owned();
        self.try_ask(request).map_err(|undone| undone.into_failure(&command))
    }

    /// Runs one command and returns its reply, or the reason for having none.
    pub(super) fn try_ask(&mut self, request: Request) -> Result<Vec<u8>, Undone> {
        let mut bytes = Vec::new();
        let asked = self.exchange(request, Some(DEADLINE_GRACE), &mut |part| {
            bytes.extend_from_slice(part);
            match bytes.len() > MAX_ASKED_BYTES {
                true => Err(Failure::failed(format!("the reply has more than {MAX_ASKED_BYTES} bytes"))),
                false => Ok(()),
            }
        });
        asked.map(|()| bytes)
    }

    /// Closes the connection cleanly.
    pub(super) fn close(mut self) {
        if let (Some(runtime), Some(connection)) = (&self.runtime, self.connection.take()) {
            runtime.block_on(connection.close());
        }
    }

    fn exchange(
        &mut self,
        request: Request,
        limit: Option<Duration>,
        on_part: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Undone> {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let bytes = request
            .sequence(sequence)
            .encode()
            .map_err(|error| Undone::Failed(Failure::usage(error.to_string())))?;
        let Some(runtime) = self.runtime.take() else {
            return Err(Undone::Failed(Failure::failed("the session is over")));
        };
        let done = runtime.block_on(async {
            let own = sequence.to_string();
            let conversation = self.converse(&bytes, &own, on_part);
            match limit.map(|limit| limit.saturating_add(DEADLINE_GRACE)) {
                None => conversation.await,
                Some(limit) => timeout(limit, conversation).await.unwrap_or(Err(Undone::TimedOut(limit))),
            }
        });
        self.runtime = Some(runtime);
        // After these the connection may still receive the rest of an abandoned reply.
        if !matches!(done, Ok(()) | Err(Undone::Refused(_))) {
            self.connection = None;
        }
        done
    }

    async fn converse(
        &mut self,
        request: &[u8],
        own: &str,
        on_part: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Undone> {
        let interrupt = self.interrupt;
        let connection = self.connected().await.map_err(Undone::Failed)?;
        connection.send(request).await.map_err(Undone::Lost)?;
        let mut is_cancelled = false;
        loop {
            let frame = tokio::select! {
                frame = connection.next_frame_of(own) => frame.map_err(Undone::Lost)?,
                () = interrupted(interrupt) => {
                    if is_cancelled {
                        return Err(Undone::GivenUp);
                    }
                    is_cancelled = true;
                    output::note("cancelling; Ctrl-C again to stop waiting");
                    connection.send(&cancellation(own)).await.map_err(Undone::Lost)?;
                    continue;
                }
            };
            match frame {
                Frame::Part { body, .. } => on_part(&body).map_err(Undone::Failed)?,
                Frame::Ok { body, .. } => return on_part(&body).map_err(Undone::Failed),
                Frame::Err { sequence, refusal } => {
                    if sequence.is_none() {
                        self.connection = None;
                    }
                    return Err(Undone::Refused(refusal));
                }
            }
        }
    }

    /// The connection, re-established if the server has closed it since the last reply.
    async fn connected(&mut self) -> Result<&mut Connection, Failure> {
        let is_open = match &mut self.connection {
            Some(connection) => connection.probe().await,
            None => false,
        };
        if !is_open {
            output::note("the connection was lost; reconnecting");
            self.connection = None;
            self.connection = Some(self.trusted.connect().await?);
        }
        self.connection.as_mut().ok_or_else(|| Failure::unreachable("there is no connection"))
    }
}

impl Undone {
    pub(super) fn into_failure(self, command: &str) -> Failure {
        match self {
            Self::Refused(refusal) => {
                let words = shown(&refusal.to_string(), MAX_SHOWN_CHARS).to_string();
                Failure::failed(match refusal.is_of_permission() {
                    true => format!("{words}; {}", how_to_allow(command)),
                    false => words,
                })
            }
            Self::Lost(error) => {
                let error = shown(&error.to_string(), MAX_SHOWN_CHARS).to_string();
                Failure::failed(format!("{error}; the command may have run"))
            }
            Self::TimedOut(limit) => {
                let seconds = limit.as_secs_f64();
                Failure::failed(format!("no reply within {seconds} seconds; the command may have run"))
            }
            Self::GivenUp => Failure::failed("stopped waiting; the command may have run"),
            Self::Failed(failure) => failure,
        }
    }
}

/// Advice for an operator on permitting `command`.
fn how_to_allow(command: &str) -> String {
    let command = shown(command, MAX_SHOWN_CHARS);
    format!(
        "on the server, `lictor check --as CLIENT {command}`, with this client's name and the same arguments, shows the \
         line that would allow it"
    )
}

/// The request that cancels another. Its own sequence differs from those of all commands of a session.
fn cancellation(sequence: &str) -> Vec<u8> {
    format!("@cancel {sequence}\r\nSequence: cancel-{sequence}\r\n\r\n").into_bytes()
}

async fn interrupted(interrupt: Interrupt) {
    let is_caught = interrupt == Interrupt::Cancels && tokio::signal::ctrl_c().await.is_ok();
    if !is_caught {
        std::future::pending::<()>().await;
    }
}
