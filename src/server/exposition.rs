//! The metrics of a running server, in the text format of Prometheus.

use std::collections::HashMap;
use std::time::SystemTime;

use super::control::CertificateEnd;
use super::shared::Shared;
use crate::telemetry::metrics::{self, Family};
use crate::watermark;

/// Maximum clients whose certificates' ends are told.
const MAX_CLIENTS: usize = 1000;

/// Returns all metrics.
pub(super) fn exposition(shared: &Shared) -> String {
    let own = [
        Family::gauge(
            "lictor_uptime_seconds",
            "Seconds since the start.",
            shared.started.elapsed().as_secs(),
        ),
        Family::gauge(
            "lictor_connections",
            "Connections of clients that are admitted.",
            shared.registry.len(),
        ),
        Family::gauge("lictor_tasks", "Tasks of the runtime.", tasks(shared)),
        Family::gauge(
            "lictor_draining",
            "1 from the request to stop until the end, otherwise 0.",
            u64::from(shared.registry.is_stopping()),
        ),
        Family::gauge("lictor_clock_timestamp_seconds", "Time by the server's clock.", clock()),
        Family::gauge(
            "lictor_process_memory_bytes",
            "Anonymous and shared memory of the process at the last look.",
            watermark::used_bytes(),
        ),
        Family::gauge(
            "lictor_process_memory_mark_bytes",
            "limits.process_memory in bytes, above which nothing more is taken on.",
            watermark::mark_bytes(),
        ),
        certificate_ends(shared),
    ];
    let of_config = shared.control.iter().flat_map(|control| control.metrics());
    metrics::exposition(own.into_iter().chain(of_config))
}

fn clock() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Number of tasks of the runtime that serves clients.
pub(super) fn tasks(shared: &Shared) -> usize {
    shared.runtime.metrics().num_alive_tasks()
}

/// The ends of all certificates that are known.
pub(super) fn ends(shared: &Shared) -> impl Iterator<Item = CertificateEnd> {
    let of_config = shared.control.iter().flat_map(|control| control.certificate_ends());
    of_config.chain(of_clients(shared))
}

fn certificate_ends(shared: &Shared) -> Family {
    let samples = ends(shared).map(|CertificateEnd { kind, name, ends }| {
        let ends = ends.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (vec![("kind", kind.to_owned()), ("name", name)], ends.as_secs())
    });
    Family::gauges(
        "lictor_certificate_end_timestamp_seconds",
        "End of a certificate's validity; of a client's certificates, of the one that ends last.",
        samples,
    )
}

/// Clients' certificates that a file pins, or that they came with.
fn of_clients(shared: &Shared) -> Vec<CertificateEnd> {
    let service = shared.service();
    let mut pinned = HashMap::<&str, SystemTime>::new();
    for (name, _, ends) in service.roster.ends() {
        pinned.entry(name).and_modify(|last| *last = ends.max(*last)).or_insert(ends);
    }
    let end_of = |name: &str| {
        let seen = shared.registry.record(name).unwrap_or_default().certificates;
        seen.into_values().map(|seen| seen.ends).chain(pinned.get(name).copied()).max()
    };
    let clients = service.roster.clients().into_iter().take(MAX_CLIENTS);
    let ends = clients.filter_map(|name| {
        Some(CertificateEnd { kind: "client", name: name.to_owned(), ends: end_of(name)? })
    });
    ends.collect()
}
