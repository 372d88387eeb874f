//! `lictor call` on a terminal: a real one, made by Python's `pty`.

use crate::support::certs::Identity;
use crate::support::server::{Server, Setup};
use crate::support::tools::python;

/// Talks to `lictor call` over a pseudo-terminal: for each pair of arguments, sends the first and waits for the second.
const TALK: &str = r#"
import os, pty, select, sys, time
lictor, folder, *script = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.chdir(folder)
    os.environ.update(TERM="dumb", XDG_CONFIG_HOME=folder)
    os.execv(lictor, [lictor, "call", "--config", "server.toml"])
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
    os.write(terminal, typed.encode())
    wait_for(words)
os.write(terminal, b"\x04")
status = os.waitpid(pid, 0)[1]
print(os.waitstatus_to_exitcode(status))
"#;

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
    // The config says port 0; the prompt has to know the real one.
    let config = server.folder().join("server.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("127.0.0.1:0", &server.address().to_string())).unwrap();
    let folder = server.folder().display().to_string();
    let printed = python(
        TALK,
        &[
            env!("CARGO_BIN_EXE_lictor"),
            &folder,
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
            "echo again\r",
            "again",
            // What was typed is remembered: arrow up twice, past `echo again`, is `help`; once is `echo again`.
            "\x1b[A\r",
            "again",
        ],
    );
    assert_eq!(printed.trim(), "0");
    let history = std::fs::read_to_string(server.folder().join("lictor/history")).unwrap();
    assert!(history.contains("echo again"), "{history}");
}
