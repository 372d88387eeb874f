//! A server's operations for its operators: the built-in commands `@reload`, `@status` and `@drain`.

use tokio::sync::Notify;

use crate::reload::Handle;
use crate::server::{Control, Done};

/// Operations on this server for operators.
pub(super) struct Operator {
    pub(super) reloads: Handle,
    pub(super) drain: Notify,
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

    fn drain(&self) {
        self.drain.notify_one();
    }
}
