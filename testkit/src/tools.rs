//! Programs that tests run: `lictor` itself, and others that speak TLS.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use crate::{PATIENCE, eventually};

/// The result of a program that ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Prepares `lictor` to run in `folder`, which is also the user's home: no settings of this machine apply.
pub fn lictor(folder: &Path) -> Command {
    at_home(&program(), folder)
}

/// Returns the path of the `lictor` that cargo built for the test. A test that is run without cargo has it in
/// the folder above its own.
pub fn program() -> PathBuf {
    let beside = || {
        let test = env::current_exe().expect("a test has a path");
        test.ancestors().nth(2).expect("a test is in a folder").join("lictor")
    };
    env::var_os("CARGO_BIN_EXE_lictor").map_or_else(beside, PathBuf::from)
}

/// Does the same for any such `program`.
pub fn at_home(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"] {
        command.env(variable, folder.join("home"));
    }
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("LICTOR") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// Runs `command` to its end with empty input.
pub fn finish(command: &mut Command) -> Finished {
    finish_reading(command, "")
}

/// Runs `command` to its end; it reads `input`.
pub fn finish_reading(command: &mut Command, input: &str) -> Finished {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // The program may end without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let stdout = gather(child.stdout.take().expect("stdout is a pipe"));
    let stderr = gather(child.stderr.take().expect("stderr is a pipe"));
    let code = wait(&mut child, &program);
    let text = |bytes: thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&bytes.join().expect("a pipe is read")).into_owned()
    };
    Finished { code, stdout: text(stdout), stderr: text(stderr) }
}

/// Returns the exit code of a child that is about to end.
pub fn wait(child: &mut Child, what: &str) -> Option<i32> {
    let begun = Instant::now();
    eventually(&format!("the end of {what}"), || {
        let status = child.try_wait().expect("a child is asked");
        if status.is_none() && begun.elapsed() > PATIENCE / 2 {
            child.kill().expect("a child is killed");
        }
        status
    })
    .code()
}

fn gather(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Prepares `openssl`, which must be installed: an untested property must not pass.
pub fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    assert!(
        Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()),
        "this test needs `openssl` (Debian: apt-get install openssl)"
    );
    command
}

/// Runs a Python program, which must end with status 0, and returns its output.
pub fn python(program: &str, arguments: &[&str]) -> String {
    assert!(
        Command::new("python3")
            .args(["-c", "import ssl"])
            .output()
            .is_ok_and(|output| output.status.success()),
        "this test needs `python3` with its module `ssl` (Debian: apt-get install python3)"
    );
    let finished = finish(Command::new("python3").args(["-c", program]).args(arguments));
    assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
    finished.stdout
}

/// An interactive program: its output is read while its input stays open.
pub struct Conversation {
    child: Child,
    stdin: Option<ChildStdin>,
    printed: Receiver<Vec<u8>>,
    unread: Vec<u8>,
}

impl Conversation {
    /// Starts `command`, whose standard error is dropped.
    pub fn with(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let stdin = child.stdin.take();
        let printed = printed(child.stdout.take().expect("stdout is a pipe"));
        Self { child, stdin, printed, unread: Vec::new() }
    }

    /// Writes `text` to its input.
    pub fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("the input is open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the program reads");
    }

    /// Returns the output up to and including `text`.
    pub fn hear(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.unread.windows(text.len()).position(|window| window == text.as_bytes()) {
                let heard: Vec<u8> = self.unread.drain(..at + text.len()).collect();
                return String::from_utf8_lossy(&heard).into_owned();
            }
            match self.printed.recv_timeout(PATIENCE) {
                Ok(block) => self.unread.extend(block),
                Err(error) => panic!("{}, waiting for {text:?} after {:?}", why(error), self.heard()),
            }
        }
    }

    /// Returns all output until the program closes it, its input still being open.
    pub fn hear_out(&mut self) -> String {
        loop {
            match self.printed.recv_timeout(PATIENCE) {
                Ok(block) => self.unread.extend(block),
                Err(RecvTimeoutError::Disconnected) => return self.heard(),
                Err(RecvTimeoutError::Timeout) => panic!("no end after {:?}", self.heard()),
            }
        }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn printed(mut pipe: ChildStdout) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut block = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut block) {
            if send.send(block[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

fn why(error: RecvTimeoutError) -> &'static str {
    match error {
        RecvTimeoutError::Timeout => "nothing more came in time",
        RecvTimeoutError::Disconnected => "the output ended",
    }
}

/// Prepares `openssl s_client` with the certificate in the files `<name>.pem` and `<name>.key` of `folder`.
pub fn s_client(address: SocketAddr, folder: &Path, name: &str, more: &[&str]) -> Command {
    let mut command = openssl(&["s_client", "-connect", &address.to_string()]);
    command.arg("-cert").arg(folder.join(format!("{name}.pem")));
    command.arg("-key").arg(folder.join(format!("{name}.key")));
    command.args(more);
    command
}

/// Returns the text of a file; empty while the file does not exist.
pub fn text_of(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
