//! `check-disk`: reads the output of `df -P -k` from a file, since a plugin can't ask the system itself.

use crate::report::{Figure, Report, State};
use crate::threshold::Percent;

/// One line of `df`.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    path: &'a str,
    used_kilobytes: u64,
    available_kilobytes: u64,
}

pub(crate) fn check(df: &str, path: &str, warning: &Percent, critical: &Percent) -> Report {
    let Some(mount) = df.lines().filter_map(parse).find(|mount| mount.path == path) else {
        return Report::new(State::Unknown, format!("nothing is mounted at {path}"));
    };
    // As `df` counts: space reserved for the superuser is neither used nor available.
    let (used, available) = (mount.used_kilobytes as f64, mount.available_kilobytes as f64);
    let total = used + available;
    let percent = if total > 0.0 { 100.0 * used / total } else { 0.0 };
    let words = format!("{percent:.1}% of {path} is used, {:.0} MiB are free", available / 1024.0);
    let report = Report::new(State::Ok, words).figure(&Figure {
        label: path,
        value: percent,
        unit: "%",
        decimals: 1,
        warning: Some(&warning.0),
        critical: Some(&critical.0),
        most: Some(100.0),
    });
    report.figure(&Figure {
        label: "free",
        value: available,
        unit: "KB",
        decimals: 0,
        warning: None,
        critical: None,
        most: Some(total),
    })
}

/// `Filesystem 1024-blocks Used Available Capacity Mounted on`. The first and the last may contain spaces, so
/// the three numbers and the percentage between them are searched for. The heading has none and is skipped.
fn parse(line: &str) -> Option<Mount<'_>> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let at = words.windows(4).position(|window| {
        window[..3].iter().all(|word| word.parse::<u64>().is_ok())
            && (window[3].ends_with('%') || window[3] == "-")
    })?;
    let path = *words.get(at + 4)?;
    // From there to the end of the line, with its spaces. Words are slices of the line, so the difference of
    // their addresses is an offset in it.
    let begin = path.as_ptr().addr() - line.as_ptr().addr();
    Some(Mount {
        path: line.get(begin..)?.trim_end(),
        used_kilobytes: words[at + 1].parse().ok()?,
        available_kilobytes: words[at + 2].parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_plugin::FromArgument;

    const DF: &str = "\
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/vda1           100000    40000     40000      50% /
//server/a share    200000   190000     10000      95% /mnt/a  share
none                     0        0         0       - /proc
";

    fn percent(text: &str) -> Percent {
        Percent::from_argument(&mut text.into()).unwrap()
    }

    #[test]
    fn mounts_are_found_by_their_path() {
        let text = |path| check(DF, path, &percent("80%"), &percent("90%")).text();
        assert_eq!(
            text("/"),
            "OK - 50.0% of / is used, 39 MiB are free|/=50.0%;80.0;90.0;0;100.0 free=40000KB;;;0;80000"
        );
        assert_eq!(
            text("/mnt/a  share"),
            "CRITICAL - 95.0% of /mnt/a  share is used, 10 MiB are free|'/mnt/a  share'=95.0%;80.0;90.0;0;100.0 \
             free=10000KB;;;0;200000"
        );
        assert!(text("/proc").starts_with("OK - 0.0% of /proc"));
        assert_eq!(text("/home"), "UNKNOWN - nothing is mounted at /home");
        assert_eq!(text("on"), "UNKNOWN - nothing is mounted at on");
    }
}
