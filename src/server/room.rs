//! The room of one connection for answers that lie there until its client reads them.
//!
//! Every answer of a command that runs on comes through here, since only a [`Room`] makes what is collected of one: so a client
//! that does not read has no more lying there than the room takes, and one answer that is larger, and those whose commands
//! still hold the place that they ran in.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::plugin::Reply;
use crate::wire::CommandError;

/// Bytes of answers that lie there, of commands that hold nothing any more. One whose answer goes beyond keeps its slot until
/// there is room, so that a client that does not read has no more answers lying there than it has calls running.
const MAX_ANSWER_BYTES: u32 = 256 << 10;

/// Bytes that an answer holds.
pub(super) fn size_bytes(answer: &Reply) -> usize {
    answer.as_ref().map_or_else(|error| error.message.len(), Vec::len)
}

/// The room of one connection. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// An answer, and its part of the room until it is dropped.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) answer: Reply,
    _part: Option<OwnedSemaphorePermit>,
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_ANSWER_BYTES as usize)))
    }
}

impl Room {
    /// Holds an answer, and `beside` it so many bytes more. Until there is room for them it is held by `place`, which is what
    /// its command ran in.
    pub(super) async fn hold<P>(self, answer: Reply, beside: usize, place: P) -> Given {
        let part = self.part(size_bytes(&answer) + beside).await;
        drop(place);
        Given { answer, _part: part }
    }

    /// Makes room for `bytes`, and only then reads an answer that has no more.
    pub(super) async fn read<F>(&self, bytes: usize, answer: F) -> Option<Given>
    where
        F: Future<Output = Option<Reply>>,
    {
        let part = self.part(bytes).await;
        Some(Given { answer: answer.await?, _part: part })
    }

    async fn part(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(MAX_ANSWER_BYTES);
        Arc::clone(&self.0).acquire_many_owned(bytes).await.ok()
    }
}

impl Given {
    /// Words of the server's own, in place of an answer that there is none of.
    pub(super) fn instead(error: CommandError) -> Self {
        Self { answer: Err(error), _part: None }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MOST: usize = MAX_ANSWER_BYTES as usize;

    #[test]
    fn what_has_no_room_is_held_by_its_place_and_read_later() {
        let room = Room::default();
        let first = room.clone().hold(Ok(vec![0; MOST - 10]), 0, ()).now_or_never().unwrap();
        let place = Arc::new(());
        let words = CommandError::failed(crate::wire::Code::Denied, "eleven byte");
        let mut second = Box::pin(room.clone().hold(Err(words), 0, Arc::clone(&place)));
        assert!((&mut second).now_or_never().is_none() && Arc::strong_count(&place) == 2);
        let mut has_read = false;
        let mut third = Box::pin(room.read(5, async {
            has_read = true;
            Some(Ok(vec![0; 5]))
        }));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        let second = second.now_or_never().unwrap();
        assert_eq!((size_bytes(&second.answer), Arc::strong_count(&place)), (11, 1));
        assert!(third.now_or_never().unwrap().is_some() && has_read);
    }

    #[test]
    fn one_that_is_larger_than_the_room_has_it_alone() {
        let room = Room::default();
        let large = room.clone().hold(Ok(vec![0; 3 * MOST]), 0, ()).now_or_never().unwrap();
        assert!(room.clone().hold(Ok(vec![0]), 0, ()).now_or_never().is_none());
        assert!(room.clone().hold(Ok(Vec::new()), 1, ()).now_or_never().is_none());
        drop(large);
        assert!(room.hold(Ok(vec![0]), 0, ()).now_or_never().is_some());
    }
}
