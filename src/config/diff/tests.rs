//! The keys of a difference, and the documents that list them.

use super::*;
use crate::config::{AdminAddress, ServerCertificate, parse};

const BASE: &str = "[server]\nlisten = [\"127.0.0.1:1\"]\ncertificate = \"server.pem\"\n\
                    private_key = \"server.key\"\n";

/// The default config plus these lines.
fn config(lines: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["server".to_owned()]).unwrap();
    let path = folder.path().join("server.toml");
    std::fs::write(folder.path().join("server.pem"), certificate.cert.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), certificate.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("p.wasm"), "").unwrap();
    let mut config = parse(&path, &(BASE.to_owned() + lines)).map(|loaded| loaded.config).unwrap();
    // Each config is read from its own temporary folder.
    config.server.certificate = ServerCertificate { path: "server.pem".into(), chain: Vec::new() };
    config.server.private_key = "server.key".into();
    config.server.cache = "cache".into();
    config.plugins.values_mut().for_each(|plugin| plugin.component = "p.wasm".into());
    config
}

fn shown(old: &str, new: &str) -> Vec<String> {
    diff(&config(old), &config(new)).iter().map(ToString::to_string).collect()
}

#[test]
fn each_key_is_told_with_when_it_applies() {
    let pin = format!("thumbprints = [\"{}\"]", "a".repeat(64));
    let other = format!("thumbprints = [\"{}\"]", "b".repeat(64));
    let old = format!(
        "[limits]\nqueue = 5\n[clients.a]\n{pin}\ncommands = [\"x\"]\n[plugins.p]\ncomponent = \"p.wasm\"\n"
    );
    let new = format!(
        "[limits]\nbody = \"1KiB\"\n[log]\narguments = true\nlevel = \"debug\"\n[clients.b]\n{pin}\ncommands = []\n\
         [clients.a]\n{other}\ncommands = [\"x\"]\n[plugins.p]\ncomponent = \"p.wasm\"\ntimeout = \"2s\"\n"
    );
    assert_eq!(
        shown(&old, &new),
        [
            "live     changed  limits.body",
            "restart  changed  limits.queue",
            "restart  changed  log.level",
            "live     changed  log.arguments",
            "live     changed  clients.a.thumbprints",
            "live     added    clients.b",
            "live     changed  plugins.p.timeout",
        ]
    );
    assert!(shown(&new, &new).is_empty());
    assert!(shown(&new, &old).contains(&"live     removed  clients.b".to_owned()));
}

#[test]
fn switching_off_removes_and_switching_on_adds() {
    let pin = "a".repeat(64);
    let lines = |enabled: &str| {
        format!(
            "[clients.a]\n{enabled}thumbprints = [\"{pin}\"]\ncommands = []\n\
             [plugins.p]\n{enabled}component = \"p.wasm\"\n"
        )
    };
    let (on, off) = (lines(""), lines("enabled = false\n"));
    assert_eq!(shown(&on, &off), ["live     removed  clients.a", "live     removed  plugins.p"]);
    assert_eq!(shown(&off, &on), ["live     added    clients.a", "live     added    plugins.p"]);
    assert!(shown(&off, "").is_empty() && shown(&on, &lines("enabled = true\n")).is_empty());
    let narrowed = config(&on).narrowed_to(&config(&off));
    assert!(narrowed.clients.is_empty() && narrowed.plugins.is_empty());
}

/// Returns the keys whose rows in docs/config.md say that they need a restart.
fn marked_in_config_md() -> BTreeSet<String> {
    let mut section = "";
    let mut keys = BTreeSet::new();
    for line in include_str!("../../../docs/config.md").lines() {
        section = line.strip_prefix("## `[").and_then(|rest| rest.strip_suffix("]`")).unwrap_or(section);
        if let Some((key, _)) = line.strip_prefix("| `").and_then(|row| row.split_once("` |"))
            && line.ends_with("Needs a restart. |")
        {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

/// Returns the keys in the table of docs/operations.md.
fn listed_in_operations_md() -> BTreeSet<String> {
    let operations = include_str!("../../../docs/operations.md");
    let (_, table) = operations.split_once("| section | keys that need a restart |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let mut names = row.split('`').skip(1).step_by(2);
        let section = names.next().unwrap().trim_matches(['[', ']']);
        names.map(move |key| format!("{section}.{key}"))
    })
    .collect()
}

/// The content of a file counts, not its path.
#[test]
fn authorities_and_uris_apply_live() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let with = |uri: &str| {
        let (mut params, key) = (rcgen::CertificateParams::default(), rcgen::KeyPair::generate().unwrap());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        config(&format!(
            "[identity]\nauthorities = [{file:?}]\n[clients.a]\nuris = [\"urn:{uri}\"]\ncommands = [\"x\"]"
        ))
    };
    let shown =
        |old: &Config, new: &Config| diff(old, new).iter().map(ToString::to_string).collect::<Vec<_>>();
    let (old, new) = (with("a"), with("b"));
    assert_eq!(
        shown(&old, &new),
        ["live     changed  identity.authorities", "live     changed  clients.a.uris"]
    );
    assert!(shown(&new, &new).is_empty());
}

#[test]
fn what_is_applied_needs_no_restart() {
    let old = config("");
    let limits: String = RESTART_LIMITS
        .iter()
        .map(|key| match *key {
            "plugin_memory" => "plugin_memory = \"3GiB\"\n".to_owned(),
            "queue_timeout" => "queue_timeout = \"3s\"\n".to_owned(),
            key => format!("{key} = 201\n"),
        })
        .collect();
    let mut new = config(&format!(
        "watch = true\ncore_dumps = \"dumps\"\n[state]\nengine = \"sqlite\"\npath = \"x.db\"\n\
         file_size = \"1GiB\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n[limits]\nbody = \"1KiB\"\n{limits}"
    ));
    new.server.listen.clear();
    new.admin.listen.push(AdminAddress::Socket("admin.sock".into()));
    new.admin.tls_listen.push("127.0.0.1:2".parse().unwrap());
    new.admin.health.push("127.0.0.1:3".parse().unwrap());
    new.server.cache = "other".into();
    let needs_restart = |change: &Change| change.applies == Applies::Restart;
    let changes = diff(&old, &new);
    let keys: BTreeSet<_> =
        changes.iter().filter(|change| needs_restart(change)).map(|change| change.key.clone()).collect();
    let compared = include_str!("mod.rs").lines().filter(|line| line.ends_with("\" Restart,")).count();
    assert_eq!(keys.len(), RESTART_LIMITS.len() + compared, "this test changes too few keys: {keys:?}");
    assert_eq!(keys, marked_in_config_md(), "docs/config.md: rows that end with \"Needs a restart.\"");
    assert_eq!(keys, listed_in_operations_md(), "docs/operations.md: the keys that need a restart");
    let left = diff(&old, &new.applied_to(&old));
    assert!(!left.iter().any(needs_restart), "{left:?}");
    assert!(left.iter().any(|change| change.key == "limits.body"));
}
