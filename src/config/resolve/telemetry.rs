//! `[telemetry]`: the collector of traces, and the requests that are traced.

use toml::Spanned;

use crate::config::fields::{Field, Findings, Named};
use crate::config::model::Telemetry;
use crate::config::names::RoleName;
use crate::config::raw::{RawRole, RawTelemetry};
use crate::config::telemetry::{Collector, CollectorUrl, GRPC_PORT};
use crate::units::Ratio;

/// The part of the requests that is traced by default: few enough to cost nothing that can be measured.
const DEFAULT_SAMPLE: f64 = 0.01;

/// Resolves `[telemetry]`. Without the section nothing is traced.
pub(super) fn resolve(
    field: &Field<RawTelemetry>,
    roles: &Field<Named<RoleName, RawRole>>,
    findings: &mut Findings,
) -> Option<Telemetry> {
    if field.is_absent() {
        warn_of_belief(roles, findings);
    }
    let section = field.given()?;
    let raw = section.get_ref();
    if raw.otlp.is_absent() && !findings.is_misspelt("telemetry", "otlp") {
        findings
            .error("`[telemetry]` has no `otlp`")
            .at(section.span(), "the spans of requests would go nowhere")
            .help("write the collector's URL, such as `otlp = \"http://127.0.0.1:4318\"`; or leave out the section")
            .done();
    }
    let otlp = raw.otlp.given()?;
    warn_of_collector(otlp, findings);
    let sample = raw.sample.value().copied().or_else(|| Ratio::new(DEFAULT_SAMPLE))?;
    Some(Telemetry { otlp: otlp.get_ref().0.clone(), sample })
}

/// Warns of a collector that will not take spans, or with which others may read them.
fn warn_of_collector(otlp: &Spanned<CollectorUrl>, findings: &mut Findings) {
    let CollectorUrl(Collector { is_tls, host, port, .. }) = otlp.get_ref();
    if *port == GRPC_PORT {
        findings
            .warning(format!("`telemetry.otlp` has the port {GRPC_PORT}, where collectors speak gRPC"))
            .at(otlp.span(), "spans are sent as OTLP over HTTP")
            .help("write the port of OTLP over HTTP, usually 4318")
            .done();
    }
    let is_here =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !is_tls && !is_here {
        findings
            .warning("`telemetry.otlp` sends spans to another machine without TLS")
            .at(otlp.span(), "whoever is on the way can read which client runs which command")
            .help("write https://; or send to a collector on this machine, which passes them on")
            .done();
    }
}

/// Warns of roles whose clients' `traceparent` would be believed, while nothing is traced.
fn warn_of_belief(roles: &Field<Named<RoleName, RawRole>>, findings: &mut Findings) {
    for (name, raw) in roles.value().into_iter().flat_map(|named| &named.entries) {
        if let Some(trace) = raw.get_ref().trace.given().filter(|trace| *trace.get_ref()) {
            findings
                .warning(format!("`{}.trace` has no effect: nothing is traced", name.get_ref().key()))
                .at(trace.span(), "there is no collector to send spans to")
                .help("add a section [telemetry] with `otlp = \"http://127.0.0.1:4318\"`; or leave it out")
                .done();
        }
    }
}
