//! The clock, compared with the times of files.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::finding::Finding;
use crate::app::state;
use crate::config::Config;
use crate::identity::Utc;

/// Before this time, in seconds since 1970, there was no such program: the beginning of 2026.
const FIRST: u64 = 1_767_225_600;

/// Time by which a file may be ahead: file systems of other machines have their own clocks.
const TOLERATED: Duration = Duration::from_secs(60);

/// Written by systemd-timesyncd once a time server has answered.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

const SUBJECT: &str = "clock";

/// Looks for a sign that the clock is behind.
pub(super) fn look<'a>(config: &Config, files: impl Iterator<Item = &'a Path>, now: SystemTime) -> Finding {
    let state = state::file(config).map(Path::to_owned);
    let is_synchronized = Path::new(SYNCHRONIZED).exists();
    judge(files.map(Path::to_owned).chain(state), now, is_synchronized.then_some(SYNCHRONIZED))
}

fn judge(files: impl Iterator<Item = PathBuf>, now: SystemTime, synchronized: Option<&str>) -> Finding {
    const HELP: &str = "`timedatectl` shows the clock; certificates and `expires` go by it";
    let told = Utc(now);
    if now < SystemTime::UNIX_EPOCH + Duration::from_secs(FIRST) {
        return Finding::fault(SUBJECT, format!("it is {told} by the clock, which is wrong")).help(HELP);
    }
    let changed = |path: PathBuf| path.metadata().and_then(|file| file.modified()).ok().map(|at| (at, path));
    let last = files.filter_map(changed).filter(|(at, _)| *at > now + TOLERATED).max();
    match (last, synchronized) {
        (Some((at, path)), _) => Finding::warning(
            SUBJECT,
            format!(
                "it is {told} by the clock, and {} was changed at {}: the clock is behind, or was ahead then",
                path.display(),
                Utc(at)
            ),
        )
        .help(HELP),
        (None, Some(_)) => Finding::good(SUBJECT, format!("it is {told}, and a time server has answered")),
        (None, None) => Finding::good(
            SUBJECT,
            format!(
                "it is {told}, later than any change of the files; whether a time server sets the clock is not known"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::finding::Verdict;

    #[test]
    fn a_clock_that_is_behind_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.toml");
        std::fs::write(&path, "").unwrap();
        let changed = path.metadata().unwrap().modified().unwrap();
        let hour = Duration::from_secs(3600);
        for (now, verdict, words) in [
            (changed + hour, Verdict::Good, "later than any change"),
            (changed - TOLERATED / 2, Verdict::Good, "later than any change"),
            (changed - hour, Verdict::Warning, "server.toml was changed at "),
            (SystemTime::UNIX_EPOCH + hour, Verdict::Fault, "it is 1970-01-01T01:00:00Z by the clock"),
        ] {
            let found = judge([path.clone()].into_iter(), now, None);
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.what.contains(words), "{found:?}");
        }
        let found = judge([path].into_iter(), changed + hour, Some(SYNCHRONIZED));
        assert!(found.what.ends_with("a time server has answered"), "{found:?}");
    }
}
