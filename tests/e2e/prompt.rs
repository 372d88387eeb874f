//! `lictor call` on a real terminal, made by Python's `pty`.

use std::path::Path;

use testkit::certs::Identity;
use testkit::server::{Server, Setup};
use testkit::tools::python;

/// Runs a command line of `lictor` on a pseudo-terminal, in a folder: types the first of each pair of further
/// arguments and waits for the second; then ends the input and prints the exit code. Runs in a shell whatever
/// begins with `!`, instead of typing it.
pub(crate) const TALK: &str = r#"
import os, pty, select, signal, sys, time
lictor, folder, command, *script = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.chdir(folder)
    # A test that is run in the background of a shell ignores it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.update(TERM="dumb", XDG_CONFIG_HOME=folder)
    os.execv(lictor, [lictor, *command.split()])
seen = b""
def wait_for(words):
    global seen
    end = time.monotonic() + 30
    while words.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        assert ready, f"no {words!r} in {seen!r}"
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        assert data, f"ended without {words!r}: {seen!r}"
        seen += data
    seen = seen[seen.index(words.encode()) + len(words.encode()):]
for typed, words in zip(script[::2], script[1::2]):
    if typed.startswith("!"):
        assert os.system(typed[1:]) == 0, typed
    else:
        os.write(terminal, typed.encode())
    wait_for(words)
try:
    os.write(terminal, b"\x04")
except OSError:
    pass
status = os.waitpid(pid, 0)[1]
print(os.waitstatus_to_exitcode(status))
"#;

/// Runs a command line by [`TALK`]; returns its exit code.
pub fn talk(folder: &Path, command: &str, script: &[&str]) -> i32 {
    let folder = folder.display().to_string();
    let arguments = [&[env!("CARGO_BIN_EXE_lictor"), folder.as_str(), command], script].concat();
    python(TALK, &arguments).trim().parse().unwrap()
}

fn server() -> Server {
    let setup = Setup::new();
    let dev = Identity::new("dev");
    dev.write(setup.folder(), "dev");
    setup
        .section("[clients.dev]\ncertificates = [\"dev.pem\"]\ncommands = [\"*\", \"@*\"]")
        .echo()
        .hostile("")
        .start()
}

#[test]
fn the_prompt_runs_commands_shows_errors_and_goes_on() {
    let server = server();
    // The config says port 0; the prompt needs the real one.
    let config = server.folder().join("server.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("127.0.0.1:0", &server.address().to_string())).unwrap();
    let ended = talk(
        server.folder(),
        "call --config server.toml",
        &[
            "",
            "lictor> ",
            "echo \"one  two\" three\r",
            "one  two three",
            "nosuch\r",
            "Unknown command nosuch",
            "echo \"open\r",
            "quote",
            "ec\t hello\r",
            "hello",
            "help\r",
            "Ctrl-D",
            // The terminal does not obey a reply that it shows.
            "echo \"\\x1b\\x5d0;P\\x07\"\r",
            "\\x1b]0;P\\x07",
            "echo again\r",
            "again",
            // Typed lines are remembered: arrow up twice, past `echo again`, is `help`; once is `echo again`.
            "\x1b[A\r",
            "again",
        ],
    );
    assert_eq!(ended, 0);
    let history = std::fs::read_to_string(server.folder().join("lictor/history")).unwrap();
    assert!(history.contains("echo again"), "{history}");
}

#[test]
fn an_unknown_server_is_trusted_only_by_a_yes_and_then_remembered() {
    let server = server();
    let call = format!("call --server {} --cert dev.pem --key dev.key echo hello", server.address());
    let on_terminal = |script: &[&str]| talk(server.folder(), &call, script);
    let known = server.folder().join("lictor/known_servers");
    assert_eq!(on_terminal(&["", "[y/N]", "n\r", "not trusted"]), 3);
    assert_eq!(on_terminal(&["", "[y/N]", "\r", "not trusted"]), 3);
    assert!(!known.exists());
    assert_eq!(on_terminal(&["", "[y/N]", "y\r", "hello"]), 0);
    let text = std::fs::read_to_string(&known).unwrap();
    assert!(text.contains(&server.address().to_string()) && text.contains("sha256:"), "{text}");
    // There is no question the second time.
    assert_eq!(on_terminal(&["", "hello"]), 0);
}

#[test]
fn of_several_clients_with_keys_the_one_that_calls_is_named_with_another() {
    let client =
        |name: &str| format!("[clients.{name}]\ncertificates = [\"{name}.pem\"]\ncommands = [\"@whoami\"]");
    let setup = Setup::new().section(&client("two")).section(&client("one"));
    for name in ["one", "two"] {
        Identity::new(name).write(setup.folder(), name);
    }
    let server = setup.start();
    let address = server.address();
    let call = |more: &str, script: &[&str]| {
        talk(server.folder(), &format!("call --server {address} --config server.toml {more}@whoami"), script)
    };
    let told = ["", "as the client one, the first by name", "", "two.pem is two's", "", "one"];
    assert_eq!(call("", &told), 0);
    assert_eq!(call("--cert two.pem ", &["", "two"]), 0);
}
