//! Unix sockets: opened for the server's user alone, and removed at the end.
//!
//! Servers that open sockets in one folder do so one after the other, by a lock on the folder. So neither
//! takes the socket of the other for that of a server that has ended.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::files::Opened;

/// Connections that the kernel queues until they are accepted.
const BACKLOG: i32 = 128;

/// Longest wait for another server that opens a socket in the same folder, and time between two tries.
const LOCK_TIME: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A listening Unix socket.
pub struct Socket(UnixListener);

/// The file of a socket that this process has opened. Removed when dropped, unless another has replaced it.
pub struct SocketFile {
    path: PathBuf,
    /// Its device and number.
    id: (u64, u64),
}

impl Socket {
    /// Opens a socket at `path`, for which a missing folder is made. One that a server left behind is
    /// replaced.
    ///
    /// # Errors
    ///
    /// If another process listens there, the file there is no socket, or others may write to the folder.
    pub fn open(path: &Path) -> anyhow::Result<(Self, SocketFile)> {
        open(path).with_context(|| format!("cannot listen on unix:{}", path.display()))
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }
}

fn open(path: &Path) -> anyhow::Result<(Socket, SocketFile)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let fault = |fault: crate::files::Fault| match fault.advice() {
        Some(advice) => anyhow!("its folder: {}; {advice}", fault.what()),
        None => anyhow!("its folder: {}", fault.what()),
    };
    let folder = Opened::folder(folder).and_then(Opened::trusted).map_err(fault)?;
    // Held until the socket listens.
    lock(&folder)?;
    make_room(path)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Before the file is there, so that its mode is never another one.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let made = fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.to_owned(), id: (made.dev(), made.ino()) };
    socket.listen(BACKLOG)?;
    let listener = StdListener::from(std::os::fd::OwnedFd::from(socket));
    Ok((Socket(UnixListener::from_std(listener)?), file))
}

/// Locks a folder against other servers that open a socket in it. Waits for moments only, as anybody who may
/// read the folder can lock it.
fn lock(folder: &Opened) -> anyhow::Result<()> {
    let until = Instant::now() + LOCK_TIME;
    loop {
        match flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => {
                bail!("another process has locked its folder; give the folder the mode 0700")
            }
            locked => return Ok(locked?),
        }
    }
}

/// Removes the socket at `path` if no process listens on it any more.
fn make_room(path: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(found) if !found.file_type().is_socket() => {
            bail!("a file that is no socket is there; name a path at which there is no file")
        }
        Ok(_) => {}
    }
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose queue is full would hold up a blocking one.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("another user's socket is there; name another path")
        }
        Ok(()) | Err(_) => bail!("another server listens there; stop it, or name another path"),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.id);
        if is_own {
            // The next start removes it otherwise.
            let _ = fs::remove_file(&self.path);
        }
    }
}
