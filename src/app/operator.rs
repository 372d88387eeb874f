//! A server's operations for its operators: the built-in commands `@reload`, `@status` and `@drain`.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use super::in_force::InForce;
use super::usage::Usage;
use crate::config::TimeSpan;
use crate::reload::Handle;
use crate::server::{CertificateEnd, ConfigLine, Control, Done, Report, Words};
use crate::telemetry::metrics::Family;

/// Operations on this server for operators.
pub(super) struct Operator {
    pub(super) reloads: Handle,
    pub(super) drain: Notify,
    pub(super) usage: Arc<Usage>,
    pub(super) in_force: Arc<InForce>,
}

impl Control for Operator {
    fn reload(&self) -> Done {
        let reloads = self.reloads.clone();
        Box::pin(async move {
            let changes = reloads.reload().await.map_err(|failed| failed.to_string())?;
            let lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
            let text = if lines.is_empty() { "nothing has changed".to_owned() } else { lines.join("\n") };
            Ok(Report { text, json: json!({ "changes": lines }) })
        })
    }

    fn status(&self) -> Report {
        let status = self.reloads.status();
        Report { text: status.to_string(), json: status.to_json() }
    }

    fn unused(&self, period: &str) -> Result<Report, String> {
        let period = TimeSpan::unused(period).map_err(|invalid| invalid.in_full())?;
        let unused = self.usage.unused(period);
        Ok(Report { text: unused.to_string(), json: unused.to_json() })
    }

    fn line_to_allow(&self, client: &str, words: Words<'_>) -> Option<ConfigLine> {
        self.in_force.line_to_allow(client, words)
    }

    fn metrics(&self) -> Vec<Family> {
        self.in_force.metrics(&self.reloads.status())
    }

    fn certificate_ends(&self) -> Vec<CertificateEnd> {
        self.in_force.certificate_ends()
    }

    fn drain(&self) {
        self.drain.notify_one();
    }
}
