//! Tools from PyPI for the attacks, in a Python environment below the target folder.
//!
//! `cargo xtask test` makes it before these tests run; if it can't, it says so and names `tls-tools` in
//! `LICTOR_TEST_WITHOUT`. Without xtask, the first test that needs the tools makes it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns the environment's Python; `None` if its tools are unavailable here.
#[expect(clippy::print_stdout, reason = "what is not tested has to be told")]
pub fn python() -> Option<&'static Path> {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let without = std::env::var("LICTOR_TEST_WITHOUT").unwrap_or_default();
    if without.split(' ').any(|missing| missing == "tls-tools") {
        println!("SKIPPED: tlslite-ng and sslyze could not be installed");
        return None;
    }
    let python = MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("adversary");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adversary/tools.sh");
        let made = Command::new(script).arg(&folder).output().expect("the script starts");
        assert!(
            made.status.success(),
            "the tools in tests/adversary/requirements.txt can't be installed; LICTOR_TEST_WITHOUT=tls-tools leaves \
             out what needs them. {}",
            String::from_utf8_lossy(&made.stderr)
        );
        folder.join("bin/python")
    });
    Some(python)
}

/// Returns the output of such a program, which must succeed. It may run longer than a test waits for a
/// server.
pub fn output(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
