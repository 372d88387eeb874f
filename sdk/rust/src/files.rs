//! Single files of the server's machine, where `files = ["/path"]` is granted.

use crate::Failure;
use crate::host::files;

/// All bytes of a granted file, as it is now, at most 1 MiB.
pub fn read(path: &str) -> Result<Vec<u8>, Failure> {
    Ok(files::read(path)?)
}

/// The same of a file that holds text; `failed` where it is not UTF-8.
pub fn read_text(path: &str) -> Result<String, Failure> {
    String::from_utf8(read(path)?).map_err(|_| Failure::failed([path, " is not UTF-8"].concat()))
}
