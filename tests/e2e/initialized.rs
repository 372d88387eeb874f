//! A folder made by `lictor init`, with a server run there as a person would.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use testkit::eventually;
use testkit::tools::{finish, lictor, text_of};

/// Runs `lictor init` in a folder and gives its server its own port.
pub(crate) fn initialized() -> (TempDir, u16) {
    initialized_by(lictor(Path::new(".")))
}

/// Does the same with the test's own program.
pub(crate) fn initialized_by(mut program: Command) -> (TempDir, u16) {
    let folder = TempDir::new().unwrap();
    let made = finish(program.current_dir(folder.path()).arg("init"));
    assert_eq!(made.code, Some(0), "{made:?}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = folder.path().join("server.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("127.0.0.1:4888"), "{text}");
    fs::write(&config, text.replace("127.0.0.1:4888", &format!("127.0.0.1:{port}"))).unwrap();
    (folder, port)
}

/// A server run as a person would, which ends with this value.
pub(crate) struct Serving(Child);

impl Serving {
    pub(crate) fn begin(folder: &Path, port: u16) -> Self {
        Self::begin_by(lictor(folder), folder, port)
    }

    /// Does the same with the test's own program.
    pub(crate) fn begin_by(mut command: Command, folder: &Path, port: u16) -> Self {
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null());
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut serving = Self(command.stderr(log).spawn().unwrap());
        eventually("the server to listen", || {
            assert!(serving.0.try_wait().unwrap().is_none(), "{}", text_of(&folder.join("log")));
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        serving
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
