//! `[admin]`: the listeners that show metrics and health, and conflicts between addresses of all listeners.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::bounds::held;
use super::folder::Folder;
use super::listen::{DEFAULT, conflict};
use crate::config::address::AdminListen;
use crate::config::fields::{Field, Findings, List};
use crate::config::limits;
use crate::config::model::{Admin, AdminAddress};
use crate::config::raw::{RawAdmin, RawServer};
use crate::config::values::PathText;

/// The socket of a section that names none.
const DEFAULT_SOCKET: &str = "run/admin.sock";

/// The most bytes of a socket's path: the kernel has 108, of which one ends it.
const MOST_SOCKET_BYTES: usize = 107;

/// An address in the file, and its key.
struct Written {
    key: &'static str,
    address: SocketAddr,
    /// `None` for a default.
    span: Option<Range<usize>>,
}

/// Resolves `[admin]`. Without the section nothing listens.
pub(super) fn resolve(
    field: &Field<RawAdmin>,
    server: &Field<RawServer>,
    folder: &Folder,
    findings: &mut Findings,
) -> Admin {
    let Some(raw) = field.value() else { return Admin::default() };
    let listen = match raw.listen.given() {
        Some(given) => given.get_ref().items.iter().map(|entry| entry_of(entry, folder)).collect(),
        None => {
            let default = Spanned::new(0..0, PathText(DEFAULT_SOCKET.into()));
            vec![(AdminAddress::Socket(folder.path(&default)), field.given().map_or(0..0, Spanned::span))]
        }
    };
    check_sockets(&listen, folder, findings);
    let mut written = of_server(server);
    written.extend(listen.iter().filter_map(|(entry, span)| match entry {
        AdminAddress::Loopback(address) => {
            Some(Written { key: "admin.listen", address: *address, span: Some(span.clone()) })
        }
        AdminAddress::Socket(_) => None,
    }));
    let tls_listen = addresses("admin.tls_listen", &raw.tls_listen, |item| item.0, &mut written);
    let health = addresses("admin.health", &raw.health, |item| item.0, &mut written);
    report_conflicts(&written, findings);
    let client_labels = held(&limits::CLIENT_LABELS, "admin", &raw.client_labels, findings);
    let admin = Admin {
        listen: listen.into_iter().map(|(entry, _)| entry).collect(),
        tls_listen,
        health,
        client_labels,
    };
    warn_of_no_listener(&admin, raw, findings);
    admin
}

fn entry_of(entry: &Spanned<AdminListen>, folder: &Folder) -> (AdminAddress, Range<usize>) {
    let span = entry.span();
    let resolved = match entry.get_ref() {
        AdminListen::Socket(path) => {
            AdminAddress::Socket(folder.path(&Spanned::new(span.clone(), path.clone())))
        }
        AdminListen::Loopback(address) => AdminAddress::Loopback(*address),
    };
    (resolved, span)
}

/// The addresses of `[server]`, with which those of `[admin]` may conflict.
fn of_server(server: &Field<RawServer>) -> Vec<Written> {
    let mut written = Vec::new();
    match server.value().map(|server| &server.listen) {
        Some(listen) if !listen.is_absent() => {
            addresses("server.listen", listen, |item| item.0, &mut written);
        }
        _ => written.push(Written { key: "server.listen", address: DEFAULT, span: None }),
    }
    written
}

/// Returns the addresses of a list, and adds them to those `written`.
fn addresses<T>(
    key: &'static str,
    field: &Field<List<T>>,
    address: impl Fn(&T) -> SocketAddr,
    written: &mut Vec<Written>,
) -> Vec<SocketAddr> {
    let items = field.value().into_iter().flat_map(|list| &list.items);
    let addresses = items.map(|item| (address(item.get_ref()), item.span()));
    let addresses: Vec<_> = addresses.collect();
    written.extend(addresses.iter().map(|(address, span)| Written {
        key,
        address: *address,
        span: Some(span.clone()),
    }));
    addresses.into_iter().map(|(address, _)| address).collect()
}

/// Reports addresses that can't be listened on side by side. Those of `[server]` alone are told elsewhere.
fn report_conflicts(written: &[Written], findings: &mut Findings) {
    for (place, later) in written.iter().enumerate().filter(|(_, later)| later.key != "server.listen") {
        let earlier =
            written.iter().take(place).find(|earlier| conflict(earlier.address, later.address).is_some());
        if let Some(earlier) = earlier {
            let message = match earlier.key == later.key {
                true => format!("two addresses of `{}` are the same port", later.key),
                false => format!("`{}` and `{}` are the same port", earlier.key, later.key),
            };
            let (here, first) = (later.span.clone().unwrap_or_default(), earlier.span.clone());
            let fault = findings.error(message).at(here, "this is the second listener there");
            let fault = match first {
                Some(first) => fault.at(first, "here is the first"),
                None => fault,
            };
            fault.help("give each listener its own port").done();
        }
    }
}

/// Reports sockets that can't be opened, for reasons that lie in the config or in its folder.
fn check_sockets(listen: &[(AdminAddress, Range<usize>)], folder: &Folder, findings: &mut Findings) {
    let mut seen: Vec<(&Path, &Range<usize>)> = Vec::new();
    for (entry, span) in listen {
        let AdminAddress::Socket(path) = entry else { continue };
        if let Some((_, first)) = seen.iter().find(|(other, _)| other == path) {
            let fault =
                findings.error("`admin.listen` holds a socket twice").at(span.clone(), "and again here");
            fault.at((*first).clone(), "here").help("leave one out").done();
            continue;
        }
        seen.push((path, span));
        let is_long = |path: PathBuf| path.as_os_str().len() > MOST_SOCKET_BYTES;
        // Of a relative path the length depends on where the server is started.
        if std::path::absolute(path).is_ok_and(is_long) {
            findings
                .error("`admin.listen` names a socket whose path is too long")
                .at(span.clone(), format!("the whole path of a socket has at most {MOST_SOCKET_BYTES} bytes"))
                .help("write a shorter path, such as \"unix:/run/lictor/admin.sock\"")
                .done();
            continue;
        }
        folder.look_at_socket(path, span.clone(), findings);
    }
}

fn warn_of_no_listener(admin: &Admin, raw: &RawAdmin, findings: &mut Findings) {
    let is_empty = admin.listen.is_empty() && admin.tls_listen.is_empty() && admin.health.is_empty();
    if let (true, true, Some(given)) = (is_empty, raw.listen.has_none(), raw.listen.given()) {
        findings
            .warning("`[admin]` listens nowhere")
            .at(given.span(), "no socket and no address")
            .help("leave out `listen` for the socket \"unix:run/admin.sock\"; or leave out the section")
            .done();
    }
}
