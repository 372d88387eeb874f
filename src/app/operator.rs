//! A server's operations for its operators: the built-in commands `@reload`, `@status` and `@drain`.

use std::sync::Arc;

use tokio::sync::Notify;

use super::usage::Usage;
use crate::config::TimeSpan;
use crate::reload::Handle;
use crate::server::{Control, Done, Form};

/// Operations on this server for operators.
pub(super) struct Operator {
    pub(super) reloads: Handle,
    pub(super) drain: Notify,
    pub(super) usage: Arc<Usage>,
}

impl Control for Operator {
    fn reload(&self) -> Done {
        let reloads = self.reloads.clone();
        Box::pin(async move {
            let changes = reloads.reload().await.map_err(|failed| failed.to_string())?;
            let lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
            Ok(if lines.is_empty() { "nothing has changed".to_owned() } else { lines.join("\n") })
        })
    }

    fn status(&self) -> String {
        self.reloads.status()
    }

    fn unused(&self, period: &str, form: Form) -> Result<String, String> {
        let period = TimeSpan::unused(period).map_err(|invalid| invalid.in_full())?;
        let unused = self.usage.unused(period);
        Ok(match form {
            Form::Text => unused.to_string(),
            Form::Json => unused.to_json().to_string(),
        })
    }

    fn drain(&self) {
        self.drain.notify_one();
    }
}
