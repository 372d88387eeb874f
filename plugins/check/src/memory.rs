//! `check-memory`: reads `/proc/meminfo`. Memory that is not available counts as used, since the kernel gives
//! caches back on demand.

use lictor_plugin::Failure;

use crate::report::{Figure, Report, State};
use crate::threshold::Percent;

pub(crate) fn check(meminfo: &str, warning: &Percent, critical: &Percent) -> Result<Report, Failure> {
    let of =
        |key| kilobytes(meminfo, key).ok_or_else(|| Failure::failed(format!("/proc/meminfo has no {key}")));
    let (total, available) = (of("MemTotal")?, of("MemAvailable")?);
    let used = (total - available).max(0.0);
    let percent = if total > 0.0 { 100.0 * used / total } else { 100.0 };
    let mebibytes = |kilobytes: f64| kilobytes / 1024.0;
    let words =
        format!("{percent:.1}% of the memory is used: {:.0} of {:.0} MiB", mebibytes(used), mebibytes(total));
    let report = Report::new(State::Ok, words).figure(&Figure {
        label: "used",
        value: percent,
        unit: "%",
        decimals: 1,
        warning: Some(&warning.0),
        critical: Some(&critical.0),
        most: Some(100.0),
    });
    Ok(report.figure(&Figure {
        label: "available",
        value: available,
        unit: "KB",
        decimals: 0,
        warning: None,
        critical: None,
        most: Some(total),
    }))
}

fn kilobytes(meminfo: &str, key: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|number| number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_plugin::FromArgument;

    const MEMINFO: &str =
        "MemTotal:        4096000 kB\nMemFree:          100 kB\nMemAvailable:    1024000 kB\n";

    fn percent(text: &str) -> Percent {
        Percent::from_argument(&mut text.into()).unwrap()
    }

    #[test]
    fn what_is_not_available_is_used() {
        assert_eq!(
            check(MEMINFO, &percent("70%"), &percent("90%")).unwrap().text(),
            "WARNING - 75.0% of the memory is used: 3000 of 4000 MiB|used=75.0%;70.0;90.0;0;100.0 \
             available=1024000KB;;;0;4096000"
        );
        let failure = check("MemTotal: 5 kB\n", &percent("1"), &percent("1")).unwrap_err();
        assert_eq!(failure.message(), "/proc/meminfo has no MemAvailable");
    }
}
