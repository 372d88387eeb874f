//! Waits of tests: for an event, and for a time only where the time itself is tested.

use super::code::{code_of, line_of, without_tests, words};
use super::{is_of_tests, none, rust_files, text};

/// The file with `eventually`, for an event, and `let_pass`, for a time.
const WAITS: &str = "testkit/src/lib.rs";

#[test]
fn tests_wait_for_events() {
    let files: Vec<String> = rust_files().into_iter().filter(|path| may_have_tests(path)).collect();
    let mut faults = Vec::new();
    for path in files.iter().filter(|path| *path != WAITS) {
        let code = code_of(&text(path));
        let is_shipped = path.starts_with("src/") && !is_of_tests(path);
        let shipped = if is_shipped { without_tests(&code) } else { String::new() };
        let shipped: Vec<usize> = sleeps(&shipped).collect();
        faults.extend(sleeps(&code).filter(|line| !shipped.contains(line)).map(|line| {
            format!(
                "{path}:{line}: wait by `testkit::eventually`, or by `let_pass` if the time is what is tested"
            )
        }));
    }
    none(&faults, files.len());
}

/// Returns the lines of the calls that sleep.
fn sleeps(code: &str) -> impl Iterator<Item = usize> {
    words(code, "sleep(").map(|at| line_of(code, at))
}

fn may_have_tests(path: &str) -> bool {
    let is_below = |folder: &&str| path.starts_with(*folder);
    ["src/", "tests/", "testkit/"].iter().any(is_below) && !path.starts_with("tests/components/")
}
