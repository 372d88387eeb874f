//! New connections in a loop: measures the cost of a server's handshakes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connect::{CLOSE_TIMEOUT, Stream, open};
use super::course::Course;
use super::received::Received;
use super::steady::{check, watch};
use super::tally::{Tally, Window};
use super::{LoadError, OnProgress, Peer, Report};

/// The time limit for the one request of a connection.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A load of handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakePlan {
    /// The number of concurrent connections; 1 or more.
    pub concurrent: usize,
    /// The running time before measuring starts.
    pub warm_up: Duration,
    /// The measured time.
    pub time: Duration,
}

impl HandshakePlan {
    /// Checks the plan before any connection is opened.
    ///
    /// # Errors
    /// The plan is invalid; the message says what is allowed.
    pub fn check(&self) -> Result<(), LoadError> {
        check(self.concurrent, self.warm_up, self.time)
    }
}

/// Connects, performs the handshake, reads the greeting, sends one request, reads its reply and closes the
/// connection, in `concurrent` parallel loops. Latency is the time from connecting to the reply.
///
/// # Errors
/// The plan is invalid, a connection can't be opened or is lost, or the bytes received are not a valid reply.
pub async fn handshakes(
    peer: &Peer,
    plan: &HandshakePlan,
    on_progress: OnProgress<'_>,
) -> Result<Report, LoadError> {
    plan.check()?;
    let requests = peer.dialect.requests(1).map_err(LoadError::Request)?;
    let request: Arc<[u8]> = requests.concat().into();
    let tally = Tally::new(Window::new(plan.warm_up, plan.time))?;
    let course = Arc::new(Course::begin(tally, 0));
    let mut visitors = JoinSet::new();
    for _ in 0..plan.concurrent {
        visitors.spawn(visit(peer.clone(), Arc::clone(&request), Arc::clone(&course)));
    }
    let cpu = watch(&course, &mut visitors, &mut JoinSet::new(), on_progress).await?;
    drop(visitors);
    Ok(Report::closed(course.take_tally()?, plan.concurrent, cpu))
}

/// Opens one connection after the other until the measured time ends.
async fn visit(peer: Peer, request: Arc<[u8]>, course: Arc<Course>) -> Result<(), LoadError> {
    loop {
        let begun = course.now();
        {
            let mut tally = course.tally();
            if begun >= tally.window.end {
                return Ok(());
            }
            tally.request(begun);
        }
        let mut stream = open(&peer).await?;
        let failure = timeout(REPLY_TIMEOUT, ask(&peer, &mut stream, &request));
        let failure = failure
            .await
            .map_err(|_| LoadError::TimedOut { address: peer.address, step: "the first reply" })??;
        course.tally().reply(begun, course.now(), failure);
        end(stream).await;
    }
}

/// Sends the request and waits for its reply; returns its failure, if any.
async fn ask(peer: &Peer, stream: &mut Stream, request: &[u8]) -> Result<Option<String>, LoadError> {
    let lost = |error| LoadError::lost(error, 0);
    stream.write_all(request).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut received = Received::default();
    loop {
        let count = stream.read(received.room()).await.map_err(lost)?;
        if count == 0 {
            return Err(LoadError::Closed { replies: 0 });
        }
        received.filled(count);
        while let Some(reply) = peer.dialect.reply(received.pending()).map_err(LoadError::Reply)? {
            received.consume(reply.length);
            if reply.is_last {
                return Ok(reply.failure);
            }
        }
    }
}

/// Closes a connection so that the peer's socket lingers, not ours: otherwise this side would soon run out of
/// ports.
async fn end(mut stream: Stream) {
    let ending = async {
        stream.say_goodbye().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Best effort: the peer may have disconnected already.
    let _ = timeout(CLOSE_TIMEOUT, ending).await;
}
