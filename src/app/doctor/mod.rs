//! The machine that a config is served on, examined: the user, the clock, limits, disks and addresses.
//!
//! The config itself is examined by [`check`](fn@super::check), which this includes.

mod clock;
mod disk;
mod finding;
mod limits;

use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

pub use self::finding::{Finding, Seen, Verdict};
use super::check::check;
use super::runtimes::single_threaded;
use crate::config::{Config, Loaded};
use crate::identity::{Utc, describe, host_names};
use crate::server;

/// Examines `loaded` and the machine.
#[must_use]
pub fn examine(loaded: &Loaded, seen: Seen) -> Vec<Finding> {
    let mut findings: Vec<_> =
        loaded.warnings.iter().map(|warning| Finding::warning("config", warning.line())).collect();
    match check(&loaded.config) {
        Ok(checked) => {
            findings
                .extend(checked.warnings.iter().map(|warning| Finding::warning("config", warning.line())));
            let Config { path, plugins, clients, .. } = &loaded.config;
            let what = format!(
                "{}: plugins that load: {}, clients: {}",
                path.display(),
                plugins.len(),
                clients.len()
            );
            findings.insert(0, Finding::good("config", what));
        }
        Err(error) => findings.insert(0, Finding::fault("config", format!("{error:#}"))),
    }
    findings.extend(machine(loaded, seen));
    findings
}

/// Examines the machine alone, for a config that need not be one that may be served.
#[must_use]
pub fn machine(loaded: &Loaded, seen: Seen) -> Vec<Finding> {
    let config = &loaded.config;
    let mut findings = vec![user(config)];
    findings.push(clock::look(config, loaded.sightings.paths(), SystemTime::now()));
    findings.extend(limits::look(config, loaded.sightings.paths(), seen));
    findings.extend(disk::look(config));
    findings.push(certificate(config, SystemTime::now()));
    findings.push(names(config));
    if !matches!(seen, Seen::Running { .. }) {
        findings.extend(addresses(config, seen));
    }
    findings
}

/// Compares this user with the owner of the server's key: all else is examined with this user's rights.
fn user(config: &Config) -> Finding {
    const SUBJECT: &str = "user";
    let this = rustix::process::geteuid().as_raw();
    match config.server.private_key.metadata().map(|key| key.uid()) {
        Ok(owner) if owner == this => Finding::good(SUBJECT, "this user owns the server's key"),
        Ok(owner) => Finding::warning(
            SUBJECT,
            format!("this is user {this}, and the server's key belongs to user {owner}: what the server may read and write is told here for user {this}"),
        )
        .help(format!(
            "run it as the server's user: `runuser -u \"$(id -nu {owner})\" -- lictor doctor --config {}`",
            config.path.display()
        )),
        Err(error) => {
            Finding::fault(SUBJECT, format!("{}: {error}", config.server.private_key.display()))
        }
    }
}

/// Looks at the dates of the server's certificate: with one that is out of date no client trusts it, unless
/// by a pin.
fn certificate(config: &Config, now: SystemTime) -> Finding {
    const SUBJECT: &str = "dates";
    let (name, validity) =
        config.server.certificate.chain.first().map(|own| describe(own)).unwrap_or_default();
    let Some(validity) = validity else {
        return Finding::fault(SUBJECT, format!("the server's certificate {name} cannot be read"));
    };
    match validity.fault_at(now) {
        Some(fault) => {
            Finding::fault(SUBJECT, format!("the server's certificate {name} cannot be used: {fault}"))
                .help("`lictor cert renew server` makes another, or the authority does")
        }
        None => Finding::good(
            SUBJECT,
            format!("the server's certificate {name} ends at {}", Utc(validity.not_after)),
        ),
    }
}

/// Looks for the names by which clients that trust an authority know the server.
fn names(config: &Config) -> Finding {
    const SUBJECT: &str = "names";
    let server = &config.server;
    let names = server.certificate.chain.first().map(|own| host_names(own)).unwrap_or_default();
    if names.is_empty() {
        let what = "the server's certificate names no host: clients that pin it are served, those that trust an authority (`--ca`) refuse it";
        return Finding::warning(SUBJECT, what)
            .help("for the latter, replace it by one with the server's DNS name");
    }
    let of_others = server
        .listen
        .iter()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    let unnamed: Vec<_> = of_others.map(|ip| ip.to_string()).filter(|ip| !names.contains(ip)).collect();
    let named = names.join(", ");
    if unnamed.is_empty()
        || names.iter().any(|name| name.parse::<std::net::IpAddr>().is_err() && name != "localhost")
    {
        return Finding::good(SUBJECT, format!("the server's certificate is for {named}"));
    }
    let what = format!("the server listens on {}, and its certificate is for {named}", unnamed.join(", "));
    Finding::warning(SUBJECT, what)
        .help("clients that trust an authority (`--ca`) refuse it: replace it by one with that address or the server's DNS name")
}

/// Tries to listen where the server would.
fn addresses(config: &Config, seen: Seen) -> Vec<Finding> {
    const SUBJECT: &str = "address";
    let Ok(runtime) = single_threaded() else { return Vec::new() };
    let _entered = runtime.enter();
    let admin = config.admin.tls_listen.iter().chain(&config.admin.health);
    let loopback = config.admin.listen.iter().filter_map(|address| match address {
        crate::config::AdminAddress::Loopback(address) => Some(address),
        crate::config::AdminAddress::Socket(_) => None,
    });
    let all = config.server.listen.iter().chain(admin).chain(loopback);
    all.map(|address| match server::bind(*address) {
        Ok(_) => Finding::good(SUBJECT, format!("{address} is free, and no server runs there")),
        Err(error) if seen == Seen::Unasked => {
            Finding::warning(SUBJECT, format!("unless the server runs already, it {error:#}"))
        }
        Err(error) => Finding::fault(SUBJECT, format!("the server {error:#}")),
    })
    .collect()
}
