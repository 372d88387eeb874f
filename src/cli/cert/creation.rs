//! Certificates made, and written to files that must not exist yet.

use std::io;

use super::issue::{self, CertificateName, Files, Issued, Role};
use crate::cli::Failure;

/// Makes a certificate and writes it to files that must not exist yet.
pub(in crate::cli) fn make(
    name: &CertificateName,
    role: &Role,
    days: u32,
    files: &Files,
) -> Result<Issued, Failure> {
    for path in [&files.certificate, &files.key] {
        if path.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!("{} exists; nothing is overwritten", path.display())));
        }
    }
    let issued = issue::issue(name, role, days).map_err(|_| {
        let names = role.names().join(", ");
        Failure::usage(format!(
            "cannot make a certificate for {name}: one of its names is neither a DNS name nor an IP address: \
                 {names}; write names of other alphabets as DNS has them (xn--…)"
        ))
    })?;
    write(&issued, files)?;
    Ok(issued)
}

pub(in crate::cli) fn write(issued: &Issued, files: &Files) -> Result<(), Failure> {
    issued.write(files).map_err(|(path, error)| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} exists; nothing is overwritten", path.display()))
        }
        _ => Failure::failed(format!("cannot write {}: {error}", path.display())),
    })
}
