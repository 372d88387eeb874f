//! Text of others never controls a terminal: replies, lines of a config file, names in certificates.

use std::fs;

use testkit::certs::Identity;
use testkit::server::Setup;
use testkit::tools::{finish, lictor, python};

use crate::log::assert_harmless;

/// Runs a command line of `lictor` on a pseudo-terminal, and prints its output, as hex.
const ON_TERMINAL: &str = r#"
import os, pty, sys
folder, *command = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.chdir(folder)
    os.environ.update(TERM="xterm", HOME=folder, XDG_CONFIG_HOME=folder)
    os.execv(command[0], command)
seen = b""
while True:
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    if not data:
        break
    seen += data
os.waitpid(pid, 0)
print(seen.hex())
"#;

/// Returns the terminal output of `lictor`, started in `folder` with these arguments.
fn on_terminal(folder: &str, arguments: &[&str]) -> String {
    let hex = python(ON_TERMINAL, &[&[folder, env!("CARGO_BIN_EXE_lictor")], arguments].concat());
    String::from_utf8(base16ct::lower::decode_vec(hex.trim()).unwrap()).unwrap()
}

#[test]
fn a_reply_is_not_obeyed_by_a_terminal() {
    const TITLE: &str = "x\u{1b}]0;PWNED\u{7}\u{1b}]52;c;eA==\u{7}\u{9b}31m\u{202e}y";
    let setup = Setup::new();
    let dev = Identity::new("dev");
    dev.write(setup.folder(), "dev");
    let setup = setup.section("[clients.dev]\ncertificates = [\"dev.pem\"]\ncommands = [\"*\", \"@*\"]");
    let server = setup.echo().hostile("").start();
    server.edit(|text| text.replace("127.0.0.1:0", &server.address().to_string()));
    let folder = server.folder().display().to_string();
    let shown = |arguments: &[&str]| on_terminal(&folder, &[&["call"], arguments].concat());
    // The terminal itself turns a line end into `\r\n`.
    const ESCAPED: &str = "x\\x1b]0;PWNED\\x07\\x1b]52;c;eA==\\x07\\u{9b}31m\\u{202e}y";
    assert_eq!(shown(&["echo", TITLE]), format!("{ESCAPED}\r\n"));
    let failed = shown(&["fail", "denied", TITLE]);
    assert!(failed.contains(ESCAPED) && !failed.contains(['\x1b', '\u{9b}']), "{failed:?}");
    assert_eq!(shown(&["echo", "two\nlines\tand é"]), "two\r\nlines\tand é\r\n");
    // `--raw` gives the plain bytes, and so does a pipe.
    assert_eq!(shown(&["--raw", "echo", TITLE]), TITLE);
    let piped = finish(lictor(server.folder()).args(["call", "echo", TITLE]));
    assert_eq!(piped.stdout, format!("{TITLE}\n"));
}

/// A config file that others had a part in, such as one that it includes.
#[test]
fn no_byte_of_a_config_file_is_obeyed_by_a_terminal() {
    const EVIL: &str = "x\u{1b}]0;PWNED\u{7}\u{9b}31m\u{202e}\u{61c}\u{200b}y";
    for line in [
        format!("# {EVIL}\nkey = {EVIL}"),
        format!("\"{EVIL}\" = 1"),
        format!("[server]\nlisten = [\"{EVIL}\"]"),
        format!("[clients.\"{}\"]\ncommands = [\"a b\"]", "x\\u001b]0;PWNED\\u0007\\u202e\\n2026-11-29T22"),
        format!("[server]\ncertificate = \"{}\"", "x\\u001b]0;PWNED\\u0007\\u202e\\n2026-11-29T22"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("server.toml"), &line).unwrap();
        let checked = finish(lictor(folder.path()).arg("check"));
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert_harmless(&checked.stderr);
        assert!(!checked.stderr.contains(['\u{202e}', '\u{61c}', '\u{200b}']), "{:?}", checked.stderr);
        // In colors, which are the only escape sequences.
        let shown = on_terminal(&folder.path().display().to_string(), &["check"]);
        assert!(shown.contains("\u{1b}[") && !shown.contains("\u{1b}]"), "{shown:?}");
        assert!(!shown.contains(['\u{7}', '\u{9b}', '\u{202e}', '\u{61c}', '\u{200b}']), "{shown:?}");
    }
}

#[test]
fn no_name_in_a_certificate_is_obeyed_by_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let name = "x\n2026-11-29T22\u{1b}]0;PWNED\u{7}\u{9b}31m\u{202e}y";
    Identity::new(name).write(folder.path(), "evil");
    let folder = folder.path().display().to_string();
    let shown = on_terminal(&folder, &["cert", "thumbprint", "evil.pem"]);
    assert!(shown.contains("PWNED"), "{shown:?}");
    assert_harmless(&shown.replace("\r\n", "\n"));
    assert!(!shown.contains('\u{202e}'), "{shown:?}");
}
