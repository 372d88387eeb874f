//! The limit of open file descriptors, raised to what the config may need.

use crate::config::Config;
use crate::plugin;

/// File descriptors that the process needs besides its connections.
const OTHER_FILES: u64 = 64;

/// Raises the soft limit of open files, usually 1024: every connection takes a file descriptor,
/// as do the requests that plugins send and the files that they hold open.
pub(super) fn raise_file_limit(config: &Config) {
    let wanted = wanted(config);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            tracing::warn!(
                target: "lictor::app", limit, wanted,
                "the limit of open files is below what may be needed; raise it (ulimit -n)"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(target: "lictor::app", %error, "cannot raise the limit of open files"),
    }
}

/// Number of files that a server with this config may have open.
pub(super) fn wanted(config: &Config) -> u64 {
    let limits = &config.limits;
    let have_folders = config.plugins.values().any(|plugin| !plugin.grants.directories.is_empty());
    let instances = if have_folders { 2 * limits.concurrent_commands as u64 } else { 0 };
    let of_plugins = limits.http_requests as u64 + instances * plugin::MAX_OPEN_FILES as u64;
    limits.connections as u64 + of_plugins + OTHER_FILES
}
