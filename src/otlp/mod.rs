//! Sends the spans of requests to a collector: OTLP over HTTP, in protobuf.
//!
//! One task takes spans from the bounded queue that `telemetry::traces` fills, and sends them in batches.
//! While the collector is slow, away or refuses, the queue fills, and further spans are dropped and counted
//! there. Knows neither requests nor the config.

mod collector;
mod message;

pub use self::collector::Collector;

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::collector::Sender;
use self::message::Resource;
use crate::telemetry::LASTING;
use crate::telemetry::metrics::{Counter, SPANS};
use crate::telemetry::traces::{self, Finished, Tracer};

/// Maximum spans that are sent at once.
const MAX_BATCH: usize = 512;

/// Longest time that a span waits for others.
const LINGER: Duration = Duration::from_secs(1);

/// Pauses between the attempts to send a batch, unless the collector asks for others; after the last attempt
/// the batch is dropped.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The task that sends to one collector.
pub struct Exporter {
    collector: Collector,
    tracer: Tracer,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts it on `runtime`.
    #[must_use]
    pub fn start(collector: Collector, runtime: &Handle) -> Self {
        let (tracer, spans) = traces::queue();
        let (stop, stopped) = oneshot::channel();
        let export =
            Export { sender: Sender::new(collector.clone()), resource: Resource::of_process(), stopped };
        Self { collector, tracer, stop, task: runtime.spawn(export.run(spans)) }
    }

    /// The collector.
    #[must_use]
    pub fn collector(&self) -> &Collector {
        &self.collector
    }

    /// The way to the collector.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Has what is queued sent, one attempt for each batch, and ends; at the latest after `patience`. Later
    /// spans are dropped.
    pub async fn finish(self, patience: Duration) {
        let Self { stop, mut task, .. } = self;
        // Fails if the task has panicked, which was logged.
        let _ = stop.send(());
        if timeout(patience, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// The state of the task.
struct Export {
    sender: Sender,
    resource: Resource,
    /// Ends when no more is to be awaited, also if nobody can say so any more.
    stopped: oneshot::Receiver<()>,
}

impl Export {
    async fn run(mut self, mut spans: mpsc::Receiver<Finished>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = spans.recv_many(&mut batch, MAX_BATCH) => if count == 0 { return },
                _ = &mut self.stopped, if !spans.is_closed() => {
                    spans.close();
                    continue;
                }
            }
            self.linger(&mut spans, &mut batch).await;
            self.deliver(std::mem::take(&mut batch), &mut spans).await;
        }
    }

    /// Waits for the batch to fill.
    async fn linger(&mut self, spans: &mut mpsc::Receiver<Finished>, batch: &mut Vec<Finished>) {
        let until = Instant::now() + LINGER;
        while batch.len() < MAX_BATCH {
            let missing = MAX_BATCH - batch.len();
            tokio::select! {
                biased;
                count = spans.recv_many(batch, missing) => if count == 0 { return },
                _ = &mut self.stopped, if !spans.is_closed() => spans.close(),
                () = sleep_until(until) => return,
            }
        }
    }

    /// Sends a batch, in several attempts if the collector is away for a while.
    async fn deliver(&mut self, batch: Vec<Finished>, spans: &mut mpsc::Receiver<Finished>) {
        let count = batch.len() as u64;
        let body = Bytes::from(message::encode(&self.resource, batch));
        let mut pauses = PAUSES.into_iter();
        let untaken = loop {
            let untaken = match self.sender.send(body.clone()).await {
                Ok(partial) => {
                    let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default().min(count);
                    SPANS.sent(count - rejected);
                    if rejected > 0 {
                        self.tell(rejected, &format!("it rejected spans: {}", partial.error_message));
                    }
                    return;
                }
                Err(untaken) => untaken,
            };
            let (Some(asked), Some(pause)) = (untaken.again, pauses.next()) else { break untaken };
            if spans.is_closed() {
                break untaken;
            }
            tokio::select! {
                biased;
                // Another attempt is made at once, the last.
                _ = &mut self.stopped => spans.close(),
                () = sleep(asked.unwrap_or(pause)) => {}
            }
        };
        self.tell(count, &untaken.words);
    }

    /// Counts and logs spans that the collector did not take.
    fn tell(&self, spans: u64, error: &str) {
        Counter::SpansDropped.add(spans);
        let (collector, error) = (self.sender.collector.to_string(), crate::text::shown(error, 256));
        tracing::warn!(name: LASTING, target: "lictor::telemetry", collector, error = %error, "the collector does not take spans; they are dropped");
    }
}
