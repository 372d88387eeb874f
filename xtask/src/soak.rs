//! A long run of `tests/soak`.

use std::path::Path;

use super::{cargo, command, document, run, target_folder};

/// Runs the soak for this many minutes, half an hour by default; `--write` puts its table into
/// docs/security.md.
pub(crate) fn soak(arguments: &[&str]) -> Result<(), String> {
    const USAGE: &str = "cargo xtask soak [--minutes N] [--write]";
    let (minutes, is_written) = match *arguments {
        [] => ("30", false),
        ["--write"] => ("30", true),
        ["--minutes", minutes] => (minutes, false),
        ["--minutes", minutes, "--write"] | ["--write", "--minutes", minutes] => (minutes, true),
        _ => return Err(USAGE.to_owned()),
    };
    if !minutes.parse::<f64>().is_ok_and(|minutes| minutes.is_finite() && minutes > 0.0) {
        return Err(USAGE.to_owned());
    }
    let table = target_folder().join("soak.md");
    // Uses the profile of the tests, so that nothing is built a second time.
    let mut soak = cargo(&["test", "--locked", "--package", "lictor", "--test", "soak", "--", "--nocapture"]);
    soak.env("LICTOR_SOAK_MINUTES", minutes).env("LICTOR_SOAK_TABLE", &table);
    run(soak)?;
    if !is_written {
        return Ok(());
    }
    let text = std::fs::read_to_string(&table).map_err(|error| format!("{}: {error}", table.display()))?;
    let options = if minutes == "30" { String::new() } else { format!(" --minutes {minutes}") };
    let commit = commit().map_or_else(String::new, |commit| format!(" at {commit}"));
    let text =
        format!("By `cargo xtask soak{options} --write`{commit}, in the profile of the tests:\n\n{text}");
    document::fill("docs/security.md", "soak", &text)
}

/// Returns the commit that ran, if git knows it.
fn commit() -> Option<String> {
    let told = command(Path::new("git"), &["rev-parse", "--short", "HEAD"]).output().ok()?;
    let head = String::from_utf8(told.stdout).ok()?;
    Some(head.trim().to_owned()).filter(|head| !head.is_empty())
}
