//! The system's limits: open files, memory, inotify.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::finding::{Finding, Seen};
use crate::app::{descriptors, memory};
use crate::config::Config;
use crate::reload;

/// Examines the limits for a config that names `files`.
pub(super) fn look<'a>(config: &Config, files: impl Iterator<Item = &'a Path>, seen: Seen) -> Vec<Finding> {
    let mut findings = vec![open_files(descriptors::wanted(config), seen)];
    findings.push(match memory::shortage(config) {
        None => Finding::good("memory", "the machine has what the server and its compiler may take"),
        Some(words) => Finding::warning("memory", words).help(
            "lower process_memory or compile_memory, or raise the limit of the control group (`MemoryMax=`)",
        ),
    });
    if config.server.watch {
        findings.push(match reload::watch_fault(files) {
            None => Finding::good("watch", "the files of the config can be watched"),
            Some(fault) => {
                Finding::warning("watch", format!("{fault}; without, changes are noticed a second later"))
            }
        });
    }
    findings
}

fn open_files(wanted: u64, seen: Seen) -> Finding {
    const SUBJECT: &str = "files";
    let (whose, most) = match seen {
        Seen::Running { files: Some(files) } => ("the server", Some(files)),
        Seen::Running { files: None } | Seen::Stopped | Seen::Unasked => {
            ("a process started here", getrlimit(Resource::Nofile).maximum)
        }
    };
    match most {
        Some(most) if most < wanted => {
            Finding::warning(SUBJECT, format!("{whose} may open {most} files, and the config may need {wanted}: at the limit no connection is accepted"))
                .help(format!("write `LimitNOFILE={wanted}` into the unit, or raise `ulimit -Hn`; or lower `limits.connections`"))
        }
        Some(most) => Finding::good(SUBJECT, format!("{whose} may open {most} files; the config may need {wanted}")),
        None => Finding::good(SUBJECT, format!("{whose} may open any number of files; the config may need {wanted}")),
    }
}
