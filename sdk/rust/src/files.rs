//! Single files on the server's machine, where `files = ["/path"]` is granted.

use crate::Failure;
use crate::host::files;

/// Reads a granted file as it is now, at most 1 MiB.
pub fn read(path: &str) -> Result<Vec<u8>, Failure> {
    Ok(files::read(path)?)
}

/// Reads a granted text file; `failed` if it is not UTF-8.
pub fn read_text(path: &str) -> Result<String, Failure> {
    String::from_utf8(read(path)?).map_err(|_| Failure::failed([path, " is not UTF-8"].concat()))
}
