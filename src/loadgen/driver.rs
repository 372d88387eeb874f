//! One connection of a steady load: moves bytes between its conversation and its socket until the
//! conversation ends.
//!
//! Polls instead of looping over reads and writes, because it must read while a write is blocked: a peer
//! whose replies are not read stops reading requests.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::LoadError;
use super::connect::{CLOSE_TIMEOUT, Stream};
use super::conversation::{Conversation, State};
use super::course::Course;

/// A connection and its conversation.
pub(super) struct Driver {
    stream: Stream,
    is_flushed: bool,
    conversation: Conversation,
    course: Arc<Course>,
    /// The connection's index in the load.
    number: usize,
    /// The waker registered with the course, for due requests.
    waker: Option<Waker>,
}

impl Driver {
    pub(super) fn new(
        stream: Stream,
        conversation: Conversation,
        course: Arc<Course>,
        number: usize,
    ) -> Self {
        Self { stream, is_flushed: true, conversation, course, number, waker: None }
    }

    /// Drives the connection until its conversation ends.
    pub(super) async fn run(mut self) -> Result<(), LoadError> {
        std::future::poll_fn(|cx| self.poll_drive(cx)).await?;
        // Best effort: the peer may have disconnected already.
        let _ = timeout(CLOSE_TIMEOUT, self.stream.shutdown()).await;
        Ok(())
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LoadError>> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.course.wake_by(self.number, cx.waker());
            self.waker = Some(cx.waker().clone());
        }
        loop {
            let is_read = self.poll_receive(cx)?;
            if is_read || self.conversation.has_free_slots() {
                let mut tally = self.course.tally();
                let state = self.conversation.go_on(&mut tally, self.course.now())?;
                if state == State::IsOver {
                    return Poll::Ready(Ok(()));
                }
            }
            self.poll_send(cx)?;
            if !is_read {
                return Poll::Pending;
            }
        }
    }

    /// Reads once; returns true if bytes arrived.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Result<bool, LoadError> {
        let received = &mut self.conversation.received;
        let mut room = ReadBuf::new(received.room());
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut room);
        let count = room.filled().len();
        match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(self.lost(error)),
            Poll::Ready(Ok(())) if count == 0 => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(())) => {
                received.filled(count);
                Ok(true)
            }
        }
    }

    /// Writes as much as the socket accepts.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), LoadError> {
        while !self.conversation.sending.rest().is_empty() {
            let rest = self.conversation.sending.rest();
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(self.lost(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.conversation.sending.written(count),
                Poll::Ready(Err(error)) => return Err(self.lost(error)),
            }
            self.is_flushed = false;
        }
        if !self.is_flushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed.map_err(|error| self.lost(error))?;
            self.is_flushed = true;
        }
        Ok(())
    }

    fn lost(&self, error: io::Error) -> LoadError {
        LoadError::lost(error, self.conversation.replies)
    }
}
