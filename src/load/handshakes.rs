//! New connections, again and again: what a server's handshakes cost.

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

/// How long the one request of a connection may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A load of handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakePlan {
    /// How many connections are being made at once; 1 or more.
    pub concurrent: usize,
    /// How long it runs before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
}

impl HandshakePlan {
    /// Whether it makes sense, before anybody is connected to.
    ///
    /// # Errors
    /// If not, in words that say what would.
    pub fn check(&self) -> Result<(), LoadError> {
        check(self.concurrent, self.warm_up, self.time)
    }
}

/// Connects, shakes hands, reads the greeting, sends one request, reads its reply and ends the connection; `concurrent` times
/// at once, each again and again. A latency is the time from the first of these steps to the reply.
///
/// # Errors
/// If the plan makes no sense, a connection can't be had or is lost, or what comes is no reply.
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

/// Makes one connection after the other until the measured time is over.
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

/// Sends the request and waits for its reply; returns what went wrong with it.
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

/// Ends a connection so that the peer's socket, and not ours, lingers: this side would soon have no port left.
async fn end(mut stream: Stream) {
    let ending = async {
        stream.say_goodbye().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A peer that is gone needs no farewell.
    let _ = timeout(CLOSE_TIMEOUT, ending).await;
}
