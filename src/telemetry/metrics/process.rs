//! Metrics of the process, under the names of Prometheus' own client libraries.

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use rustix::process::{Resource, getrlimit};

use super::family::{Family, Number};

/// Ticks per second in which Linux tells a process's start; the same on all machines that the server runs on.
const USER_HZ: f64 = 100.0;

/// Returns what the system tells about this process. A figure that it does not tell is left out.
pub(super) fn families() -> impl Iterator<Item = Family> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cpu =
        clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok().map(|time| Duration::from(time).as_secs_f64());
    let whole = |value: Option<u64>| value.map(Number::from);
    let counters = [(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        cpu.map(Number::from),
    )];
    let gauges = [
        ("process_open_fds", "Number of open file descriptors.", whole(open_files())),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            whole(getrlimit(Resource::Nofile).current),
        ),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", whole(bytes(&status, "VmSize:"))),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", whole(bytes(&status, "VmRSS:"))),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            STARTED.map(Number::from),
        ),
    ];
    let counters =
        counters.into_iter().filter_map(|(name, help, value)| Some(Family::counter(name, help, value?)));
    let gauges = gauges.into_iter().filter_map(|(name, help, value)| Some(Family::gauge(name, help, value?)));
    counters.chain(gauges)
}

/// The time at which the process began. Computed once: the clocks differ a little from one look to the next,
/// which would read as a restart.
static STARTED: LazyLock<Option<f64>> = LazyLock::new(|| {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let after_boot = Duration::from_secs_f64(start_ticks(&stat)? / USER_HZ);
    let since_boot = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    let age = since_boot.checked_sub(after_boot)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(now.checked_sub(age)?.as_secs_f64())
});

/// Returns the start in a text of `/proc/PID/stat`, in ticks since the system's start: the 22nd field. The
/// second is the program's name, which may hold any character.
fn start_ticks(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Returns a size in a text of `/proc/PID/status`.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1 << 10)
}

/// Number of open files, without the one by which they are listed.
fn open_files() -> Option<u64> {
    let files = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(files).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_whatever_the_program_is_called() {
        let rest = (3..=52).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        for name in ["lictor", "a b", "a) 7 (b"] {
            assert_eq!(start_ticks(&format!("1 ({name}) {rest}")), Some(22.0), "{name}");
        }
        assert_eq!(start_ticks("1 (lictor) R 1"), None);
    }

    #[test]
    fn a_size_is_read_in_bytes() {
        let status = "Name:\tVmRSS: 1\nVmSize:\t    1234 kB\nVmRSS:\t     77 kB\n";
        assert_eq!((bytes(status, "VmRSS:"), bytes(status, "VmSize:")), (Some(77 << 10), Some(1234 << 10)));
        assert_eq!((bytes(status, "VmSwap:"), bytes("VmRSS: x kB", "VmRSS:")), (None, None));
    }

    #[test]
    fn this_process_tells_all_of_them() {
        assert_eq!(families().count(), 6);
        let started = STARTED.unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - 3600.0..=now + 1.0).contains(&started), "{started} {now}");
    }
}
