//! Progress of a load, on standard error while it runs; nothing if that is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::load::Load;
use super::numbers::{count, seconds};
use super::output;
use crate::loadgen::Progress;

/// A bar that fits 80 columns.
const TEMPLATE: &str = "{bar:40} {msg}";

pub(super) struct Bar {
    bar: ProgressBar,
    warm_up: Duration,
}

impl Bar {
    pub(super) fn new(load: Load) -> Self {
        let (warm_up, time) = match load {
            Load::Steady(plan) => (plan.warm_up, plan.time),
            Load::Handshakes(plan) => (plan.warm_up, plan.time),
        };
        let target = if output::is_stderr_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(millis(warm_up + time)), target);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message("connecting");
        Self { bar, warm_up }
    }

    pub(super) fn show(&self, progress: Progress) {
        let replies = count(progress.replies);
        let message = match progress.elapsed.checked_sub(self.warm_up) {
            None => format!("warming up, {replies} replies"),
            Some(measured) => format!("{}, {replies} replies", seconds(measured)),
        };
        self.bar.set_message(message);
        self.bar.set_position(millis(progress.elapsed));
    }

    /// Removes the bar: the report follows.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
