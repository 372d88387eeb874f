//! The exporter of traces that the config asks for: one at a time, replaced when its collector is another.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::{self, Config};
use crate::otlp::{Collector, Exporter};
use crate::server::{Service, Traces};
use crate::sync::locked;

/// The exporter in use.
pub(super) struct Exporting {
    workers: Handle,
    /// Locked only to be replaced.
    exporter: Mutex<Option<Exporter>>,
}

impl Exporting {
    /// Exports nothing yet, and later on `workers`.
    pub(super) fn new(workers: Handle) -> Self {
        Self { workers, exporter: Mutex::default() }
    }

    /// Returns `service` with the rule by which `config` has requests traced. If the collector is not that of
    /// before, the exporter is replaced; the one before sends what it has, and ends by itself.
    pub(super) fn serve(&self, config: &Config, service: Service, old: Option<&Service>) -> Service {
        let mut exporter = locked(&self.exporter);
        let Some(telemetry) = &config.telemetry else {
            *exporter = None;
            return service;
        };
        let wanted = collector(&telemetry.otlp);
        let kept = exporter.take().filter(|running| *running.collector() == wanted);
        let running = kept.unwrap_or_else(|| Exporter::start(wanted, &self.workers));
        let believed = config.clients.iter().filter(|(_, client)| client.trace);
        let believed = believed.map(|(name, _)| Arc::from(name.as_ref()));
        let old = old.and_then(|old| old.traces.as_ref());
        let traces = Traces::new(running.tracer().clone(), telemetry.sample, believed, old);
        *exporter = Some(running);
        Service { traces: Some(traces), ..service }
    }

    /// Has what is queued sent, for so long at most.
    pub(super) async fn finish(&self, patience: Duration) {
        let exporter = locked(&self.exporter).take();
        if let Some(exporter) = exporter {
            exporter.finish(patience).await;
        }
    }
}

fn collector(written: &config::Collector) -> Collector {
    let config::Collector { url: _, is_tls, host, port, path } = written.clone();
    Collector { is_tls, host, port, path }
}
