//! `[server]`: the certificate, its key, and the folders that are the server's own.

use toml::Spanned;

use super::bounds::held;
use super::folder::{Folder, Named};
use super::listen;
use crate::config::fields::{Field, Findings};
use crate::config::model::{Server, ServerCertificate};
use crate::config::raw::RawServer;
use crate::config::values::PathText;
use crate::config::{files, limits};
use crate::identity::{order_fault, server_doubt};

/// Advice for a missing server certificate or key.
const MAKES_ONE: &str = "`lictor init --missing-only` creates one";

/// The folder of compiled plugins, relative to the config file's folder.
const DEFAULT_CACHE: &str = "cache";

/// Resolves `[server]`; `None` if a key without a default is missing or faulty.
pub(super) fn resolve(field: &Field<RawServer>, folder: &Folder, findings: &mut Findings) -> Option<Server> {
    let nothing = RawServer::default();
    let raw = field.value().unwrap_or(&nothing);
    if !matches!(field, Field::Faulty) {
        report_missing(field, raw, findings);
    }
    let chain = raw.certificate.given().and_then(|certificate| {
        let named = Named { key: "server.certificate", path: certificate, remedy: MAKES_ONE };
        let chain = folder.read_pem(named, files::chain, findings)?;
        if let Some((what, advice)) = order_fault(&chain) {
            let fault = findings.warning("the server's certificate chain is out of order");
            fault.at(certificate.span(), what).help(advice).done();
        }
        if let Some(doubt) = chain.first().and_then(server_doubt) {
            let refused =
                "clients that trust the authority which signed the server's certificate will refuse it";
            let fault = findings.warning(refused).at(certificate.span(), doubt);
            fault
                .help(
                    "request one for servers from the authority, with the names that clients use for this server",
                )
                .done();
        }
        Some(chain)
    });
    if let Some(key) = raw.private_key.given() {
        let named = Named { key: "server.private_key", path: key, remedy: MAKES_ONE };
        folder.look_at_key(named, findings);
    }
    let drain_timeout = held(&limits::DRAIN_TIMEOUT, "server", &raw.drain_timeout, findings);
    let listen = listen::resolve(&raw.listen, findings);
    let default = Spanned::new(0..0, PathText(DEFAULT_CACHE.into()));
    let cache = folder.path(raw.cache.given().unwrap_or(&default));
    folder.look_at_own("server.cache", &cache, raw.cache.given().map(Spanned::span), findings);
    let core_dumps = raw.core_dumps.given().map(|path| folder.path(path));
    if let Some(core_dumps) = &core_dumps {
        folder.look_at_own(
            "server.core_dumps",
            core_dumps,
            raw.core_dumps.given().map(Spanned::span),
            findings,
        );
    }
    Some(Server {
        listen,
        certificate: ServerCertificate {
            path: folder.path(raw.certificate.given()?),
            // An empty chain means that a fault was reported.
            chain: chain.unwrap_or_default(),
        },
        private_key: folder.path(raw.private_key.given()?),
        min_tls: raw.min_tls_version.value().copied().unwrap_or_default(),
        drain_timeout,
        cache,
        core_dumps,
        watch: raw.watch.value().copied().unwrap_or_default(),
    })
}

/// Reports the two keys that have no default, so that no server ever runs under an identity it was not given.
fn report_missing(field: &Field<RawServer>, raw: &RawServer, findings: &mut Findings) {
    let keys = [
        ("certificate", raw.certificate.is_absent(), "certificate = \"certs/server.pem\""),
        ("private_key", raw.private_key.is_absent(), "private_key = \"certs/server.key\""),
    ];
    let is_untold =
        |(key, is_missing, _): &&(&str, bool, &str)| *is_missing && !findings.is_misspelt("server", key);
    let missing: Vec<_> = keys.iter().filter(is_untold).collect();
    if missing.is_empty() {
        return;
    }
    let names: Vec<_> = missing.iter().map(|(name, ..)| format!("`{name}`")).collect();
    let lines: Vec<_> = missing.iter().map(|(.., line)| format!("`{line}`")).collect();
    let names = names.join(" and ");
    let advice = format!(
        "write {} here, with the paths of your files; `lictor init` creates them",
        lines.join(" and ")
    );
    match field.given() {
        Some(given) => {
            let what = format!("`server` lacks {names}");
            findings.error(what).at(given.span(), "in this section").help(advice).done();
        }
        None => {
            let what = format!("the section [server] with {names} is missing");
            findings.error(what).help(advice.replace(" here", " below a line `[server]`")).done();
        }
    }
}
