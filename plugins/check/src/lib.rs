//! `check-*`: checks of a machine for monitoring, in the format of the Monitoring Plugins guidelines: the
//! state, the finding, and after a `|` the figures. A check that finds something wrong is a reply, not a
//! failure; a failure means that nothing could be checked.
//!
//! Needs the grants `files = ["/proc/loadavg", "/proc/meminfo", "/run/lictor/df"]` and `http = […]`, each for
//! its own check; the plugin loads only if all of them are granted. A system timer writes the file for
//! `check-disk`: `df -P -k > /run/lictor/df`.

mod disk;
mod load;
mod memory;
mod report;
mod threshold;
mod web;

use lictor_plugin::clock::Instant;
use lictor_plugin::prelude::*;

use report::Report;
use threshold::{Averages, Percent, Range};

/// Most bytes of a web page that are read.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The operator's settings.
#[derive(Config)]
struct Settings {
    /// A file with the output of `df -P -k`.
    #[config(default = "/run/lictor/df")]
    df: String,
}

#[plugin]
mod commands {
    /// checks the load averages of 1, 5 and 15 minutes
    #[command(idempotent, usage = "check-load WARN1,WARN5,WARN15 CRIT1,CRIT5,CRIT15")]
    fn check_load(warning: Averages, critical: Averages) -> Result<Report, Failure> {
        load::check(&files::read_text("/proc/loadavg")?, &warning, &critical)
    }

    /// checks memory usage
    #[command(idempotent, usage = "check-memory WARN% CRIT%")]
    fn check_memory(warning: Percent, critical: Percent) -> Result<Report, Failure> {
        memory::check(&files::read_text("/proc/meminfo")?, &warning, &critical)
    }

    /// checks the usage of the disk mounted at PATH
    #[command(idempotent, usage = "check-disk PATH WARN% CRIT%")]
    fn check_disk(
        path: &str,
        warning: Percent,
        critical: Percent,
        #[config] settings: Settings,
    ) -> Result<Report, Failure> {
        Ok(disk::check(&files::read_text(&settings.df)?, path, &warning, &critical))
    }

    /// checks a web page's status and response time
    #[command(idempotent)]
    fn check_http(
        url: &str,
        warn_seconds: Option<Range>,
        crit_seconds: Option<Range>,
    ) -> Result<Report, Failure> {
        // Keeps a tenth of the time to report that the rest was not enough.
        let left = request::time_left();
        let request = http::Request::new("GET", url).at_most(PAGE_BYTES).timeout(left - left / 10);
        let begin = Instant::now();
        let answer = request.send();
        web::check(answer, begin.elapsed(), warn_seconds.as_ref(), crit_seconds.as_ref())
    }
}
