//! A narrowed config admits and allows exactly the intersection of its two configs.

use std::path::Path;
use std::time::SystemTime;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::config::parse;
use crate::identity::{Thumbprint, authenticate};

const CLIENTS: [&str; 3] = ["a", "b", "c"];
const PATTERNS: [&str; 9] = ["*", "@*", "@s*", "@status", "kv-*", "kv-get", "kv-", "echo", "e*"];
const COMMANDS: [&str; 9] = ["@status", "@slowlog", "@ping", "kv-get", "kv-set", "kv-", "echo", "else", "x"];
const URLS: [&str; 6] = [
    "https://a.org",
    "https://a.org/",
    "https://a.org/v1",
    "https://a.org/v1/x",
    "https://a.org:1",
    "https://a.or",
];
const TOPICS: [&str; 6] = ["*", "jobs/*", "jobs/done", "publish jobs/*", "subscribe *", "publish *"];
const NETWORKS: [&str; 4] = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "fd00::/8"];

/// Certificates of clients.
fn certificates() -> Vec<CertificateDer<'static>> {
    let made = (0..4).map(|_| rcgen::generate_simple_self_signed(["peer".to_owned()]).unwrap());
    made.map(|made| made.cert.der().clone()).collect()
}

/// A client's certificates and patterns; `None` if the config does not name the client. The first of the
/// patterns is its role's.
type Draft = Option<(Vec<usize>, Vec<&'static str>)>;

/// A config's clients, and the grants of its plugin.
#[derive(Clone, Debug)]
struct Drafts {
    clients: [Draft; 3],
    granted: Option<[Vec<&'static str>; 4]>,
    rate: u32,
}

fn drafts() -> impl Strategy<Value = Drafts> {
    let some = |of: &'static [&'static str]| subsequence(of, 0..=of.len().min(4)).prop_shuffle();
    // Each certificate belongs to at most one client.
    let owners = proptest::collection::vec(select(&[0_usize, 1, 2, 3][..]), 4);
    let clients = (owners, [some(&PATTERNS), some(&PATTERNS), some(&PATTERNS)], any::<[bool; 3]>());
    let granted = proptest::option::of([some(&PATTERNS[4..]), some(&URLS), some(&TOPICS), some(&NETWORKS)]);
    (clients, granted, 1_u32..9).prop_map(|((owners, patterns, are_there), granted, rate)| {
        let mut place = 0;
        let clients = patterns.map(|patterns| {
            let own: Vec<_> = (0..owners.len()).filter(|pin| owners[*pin] == place).collect();
            place += 1;
            (are_there[place - 1] && !own.is_empty()).then_some((own, patterns))
        });
        Drafts { clients, granted, rate }
    })
}

/// Makes in `folder` the config that `drafts` describe.
fn config(folder: &Path, certificates: &[CertificateDer<'_>], drafts: &Drafts) -> Config {
    let mut text = format!(
        "[server]\nlisten = [\"127.0.0.1:1\"]\ncertificate = \"server.pem\"\nprivate_key = \"server.key\"\n\
         [limits]\nrequests_per_second = {}\n",
        drafts.rate
    );
    for (name, draft) in CLIENTS.iter().zip(&drafts.clients) {
        let Some((pins, patterns)) = draft else { continue };
        let pins: Vec<_> =
            pins.iter().map(|pin| Thumbprint::sha256_of(&certificates[*pin]).to_string()).collect();
        let (of_role, own) = patterns.split_at(patterns.len().min(1));
        text += &format!(
            "[roles.of-{name}]\ncommands = {of_role:?}\n\
             [clients.{name}]\nthumbprints = {pins:?}\nroles = [\"of-{name}\"]\ncommands = {own:?}\n"
        );
    }
    if let Some([commands, urls, topics, networks]) = &drafts.granted {
        let urls: Vec<_> =
            urls.iter().map(|url| format!("{{ url = {url:?}, networks = {networks:?} }}")).collect();
        text += &format!(
            "[plugins.p]\ncomponent = \"p.wasm\"\n[plugins.p.grants]\ncommands = {commands:?}\nhttp = [{}]\n\
             events = {topics:?}\n",
            urls.join(", ")
        );
    }
    let parsed = parse(&folder.join("server.toml"), &text);
    parsed.unwrap_or_else(|faults| panic!("{faults}\n{text}")).config
}

/// Lists, in words, everything that a config admits and allows.
fn allowed(config: &Config, certificates: &[CertificateDer<'_>]) -> Vec<String> {
    let roster = roster(config);
    let policy = policy(config, &Watched::default());
    let mut allowed = Vec::new();
    for (number, certificate) in certificates.iter().enumerate() {
        let Ok(peer) = authenticate(std::slice::from_ref(certificate), &roster, SystemTime::now()) else {
            continue;
        };
        allowed.push(format!("{number} is {}", peer.name()));
        let commands = COMMANDS.iter().filter(|command| !policy.of_command(&peer, command).is_empty());
        allowed.extend(commands.map(|command| format!("{number} runs {command} as {}", peer.name())));
    }
    for plugin in config.plugins.values() {
        let runs = |command: &&&str| {
            plugin.grants.commands.as_ref().is_some_and(|commands| !commands.of_command(command).is_empty())
        };
        allowed.extend(COMMANDS.iter().filter(runs).map(|command| format!("p runs {command}")));
        for topic in ["jobs/done", "jobs/begun", "other"] {
            for grant in plugin.grants.events.iter().flatten() {
                let fits = match grant.topics.strip_suffix('*') {
                    Some(start) => topic.starts_with(start),
                    None => topic == grant.topics,
                };
                allowed.extend((fits && grant.publish).then(|| format!("p publishes {topic}")));
                allowed.extend((fits && grant.subscribe).then(|| format!("p subscribes {topic}")));
            }
        }
        for url in ["https://a.org/", "https://a.org/v1", "https://a.org/v1/x/y", "https://a.org:1/"] {
            let fits = |granted: &&config::HttpUrl| {
                let rest = url.strip_prefix(granted.url.as_str());
                rest.is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('/') || granted.url.ends_with('/')
                })
            };
            for granted in plugin.grants.http.iter().flatten().filter(fits) {
                allowed.push(format!("p asks {url}"));
                let is_reached = |address: &&&str| {
                    let address: std::net::IpAddr = address.parse().unwrap();
                    granted.networks.iter().any(|network| network.contains(&address))
                };
                let reached = ["10.0.0.1", "10.1.0.1", "10.1.2.3", "fd00::1"].iter().filter(is_reached);
                allowed.extend(reached.map(|address| format!("p reaches {address} at {url}")));
            }
        }
    }
    allowed.sort();
    allowed.dedup();
    allowed
}

#[test]
fn a_narrowed_config_allows_what_both_do_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = rcgen::generate_simple_self_signed(["server".to_owned()]).unwrap();
    std::fs::write(folder.path().join("server.pem"), server.cert.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), server.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("p.wasm"), "").unwrap();
    let certificates = certificates();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let checked = runner.run(&[drafts(), drafts(), drafts()], |drafts| {
        let [old, new, newer] = [0, 1, 2].map(|place| config(folder.path(), &certificates, &drafts[place]));
        let all = |config: &Config| allowed(config, &certificates);
        let both = |old: &Config, new: &Config| {
            let of_new = all(new);
            all(old).into_iter().filter(|entry| of_new.contains(entry)).collect::<Vec<_>>()
        };
        let narrowed = old.narrowed_to(&new);
        prop_assert_eq!(all(&narrowed), both(&old, &new));
        prop_assert_eq!(narrowed.limits.requests_per_second, drafts[0].rate.min(drafts[1].rate));
        prop_assert_eq!(old.narrowed_to(&old), old.clone());
        // Again, as after a failed reload.
        let again = narrowed.narrowed_to(&newer);
        prop_assert_eq!(all(&again), both(&narrowed, &newer));
        prop_assert_eq!(again.narrowed_to(&newer), again.clone());
        prop_assert!(config::diff(&old, &old.narrowed_to(&old)).is_empty());
        Ok(())
    });
    checked.unwrap();
}
