//! Secrets in a config file with a mistake: no fault shows them, for any kind and place of mistake.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lictor::config::{self, Section, Style};
use proptest::prelude::*;

/// The text around the mistake.
const SAMPLE: &str = include_str!("config/ok-sample.toml");

/// Mistakes that put a secret where none is expected; `{}` stands for it.
const SLIPS: &[&str] = &[
    "[plugins.echo.config] password = \"{}\"",
    "[plugins.echo.config] {}",
    "[plugins.echo.config]x=\"{}\"",
    "[plugins.echo.config\nx=\"{}\"",
    "[plugins.echo.config]\npassword = \"{}",
    "[plugins.echo.config]\nx = {}",
    "[plugins.echo.config]\nx = \"\"\"\n{}",
    "[plugins.echo.config]\n\"{}\" = 5",
    "[plugins.echo.config]\n{} = 5",
    "[plugins.echo.config]\n{}",
    "[plugins.echo.config]\nx = [\"{}\"]",
    "[plugins.echo.config]\nx = \"{}\"\nx = \"{}\"",
    "[plugins.echo.config]\nx = \"ok\"\n# {}\n[plugins.echo.config]",
    "[plugins.echo.config]\r\nx = \"{}\" junk",
    "[plugins.echo.config]\nx = \"a\" {}",
    "[plugins.echo.config]\nx.y = \"{}\"",
    "[plugins.echo.config.sub]\nx = \"{}\"",
    "[[plugins.echo.config]]\nx = \"{}\"",
    "[plugins.echo.confg]\nx = \"{}\"",
    "[plugins.\"echo\".config]\nx = '{}",
    "[ plugins . echo . config ]\nx = \"\\q{}\"",
    "[\"plugins\".\"ech\\u006f\".\"conf\\u0069g\"]\nx = {}",
    "[plugins.new]\nconfig = { x = \"{}\" }",
    "[plugins.new] config = { x = \"{}\" }",
    "[plugins.new]\nconfig = { x = \"{}\", y = }",
    "[plugins.new]\nconfig = {\n x = \"{}\"\n z\n}",
    "[plugins.new.config]\nx = { value = \"{}\" }",
    "[plugins.new.config]\nx = { \"{}\" = \"file\" }",
    "[plugins.new.config]\nx = { file = \"a\", token = \"{}\" }",
    "[plugins.new.config]\nx = { file = { x = \"{}\" } }",
    "[plugins.new.config]\nx = { env = \"TOKEN={}\" }",
    "[plugins.new.config]\nx = { credential = \"a\" } # {}",
    "[plugins.new.config]\nx = { env = \"{}",
    "[plugins.new.config]\nx = { file = {} }",
    "[plugins.new.config.x]\ncredential = \"a\" \"{}\"",
    "[plugins.new]\nconfig={x=\"{}\"} y",
    "[plugins.new]\nconfig = \"{}\"",
    "[plugins.new]\nconfig.x = {}",
    "[plugins.new]\nconfig.\"{}",
    "[plugins.new]\nauth = \"{}\"",
    "[plugins.new]\nPassphrase = \"{}\"",
    "[plugins.new]\ntimeout = \"1s\" token = \"{}\"",
    "[plugins.new]\ntimeout = \"1s, token = {}",
    "[clients.new]\ntoken = \"{}\"",
    "[identity]\nx = \"-----BEGIN PRIVATE KEY-----\\n{}\"",
    "[state]\npath = \"\"\"-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\"\"\"",
    "db_passwd = \"{}\"",
    "{}",
];

/// Mistakes that make a passphrase of letters alone a key where the place of a secret is expected, or a part
/// of a text that is no TOML.
const LETTERS: &[&str] = &[
    "[plugins.new.config]\nx = { {} = \"file\" }",
    "[plugins.new.config]\nx = { \"{}\" = \"file\", file = \"a\" }",
    "[plugins.new.config]\nx.{} = \"file\"",
    "[plugins.new.config.x]\n{} = \"file\"",
    "[plugins.new.config.x.{}]\nfile = \"a\"",
    "[plugins.new.config]\nx = \"a\n{}\"",
    "[plugins.new.config]\nx = \"\"\"\n{}",
    "[plugins.new.config]\nx = \"a\" {}",
    "[plugins.new.config]\n{}",
    "[plugins.new.config]\n{}: \"a\"",
    "[plugins.new.config] {}",
    "[plugins.new]\nconfig.\"{}",
    "{}",
];

/// URLs with a secret in them. A damaged URL may have anything as its host or path, which faults show.
const URLS: &[&str] = &[
    "[plugins.new.grants]\nhttp = [\"https://user:{}@host\"]",
    "[plugins.new.grants]\nhttp = [\"https://user:/{}@host\"]",
    "[plugins.new.grants]\nhttp = [\"https://h/?token={}\"]",
    "[plugins.new.grants]\nhttp = [\"https://h/#{}\"]",
    "[plugins.new.grants]\nhttp = [{url=\"https://u:{}@h\", networks=5}]",
    "[plugins.new.grants]\nfiles = [\"https://u:{}@h/x?{}\"]",
    "[plugins.new]\ncomponent = \"https://u:{}@h/x?{}\"",
];

/// A secret that must not appear in any message, label, advice or line of a fault.
const SECRET: &str = "hunter2SECRET";

#[track_caller]
fn keeps_its_secret(text: &str) {
    let (shown, debug) = match config::parse(Path::new("nowhere/server.toml"), text) {
        Ok(loaded) => {
            let warnings = loaded.warnings.iter().map(ToString::to_string).collect::<String>();
            (warnings, format!("{:?}", loaded.warnings))
        }
        Err(faults) => (faults.to_string() + &faults.render(Style::Colored), format!("{faults:?}")),
    };
    assert!(!shown.contains("hunter"), "{text}\n{shown}");
    assert!(!debug.contains("hunter"), "{text}");
}

#[test]
fn no_slip_shows_a_secret_wherever_it_stands() {
    let lines: Vec<_> = SAMPLE.split_inclusive('\n').collect();
    let letters = LETTERS.iter().map(|slip| slip.replace("{}", "correcthunter"));
    let others = SLIPS.iter().chain(URLS).map(|slip| slip.replace("{}", SECRET));
    for slip in others.chain(letters) {
        for place in 0..=lines.len() {
            keeps_its_secret(&format!("{}{slip}\n{}", lines[..place].concat(), lines[place..].concat()));
        }
    }
}

/// Files and a variable that hold the secret, wrong in each way and right.
#[test]
fn no_fault_shows_what_a_place_holds() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("right"), SECRET).unwrap();
    fs::write(folder.path().join("latin"), [SECRET.as_bytes(), b"\xe9"].concat()).unwrap();
    fs::write(folder.path().join("large"), SECRET.repeat(10_000)).unwrap();
    fs::write(folder.path().join("open"), SECRET).unwrap();
    fs::write(folder.path().join("writable"), SECRET).unwrap();
    for (name, mode) in [("open", 0o644), ("writable", 0o666)] {
        fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
    }
    let kept = std::env::var("PATH").unwrap();
    let certificates = rcgen::generate_simple_self_signed(["server".to_owned()]).unwrap();
    fs::write(folder.path().join("server.pem"), certificates.cert.pem()).unwrap();
    fs::write(folder.path().join("server.key"), certificates.signing_key.serialize_pem()).unwrap();
    fs::write(folder.path().join("echo.wasm"), "").unwrap();
    let path = folder.path().join("server.toml");
    let mut read = 0;
    for place in [
        "{ file = \"right\" }",
        "{ file = \"latin\" }",
        "{ file = \"large\" }",
        "{ file = \"open\" }",
        "{ file = \"writable\" }",
        "{ file = \"right\", env = \"PATH\" }",
        "{ env = \"PATH\" }",
    ] {
        let text = format!(
            "[server]\ncertificate = \"server.pem\"\nprivate_key = \"server.key\"\n\
             [plugins.echo]\ncomponent = \"echo.wasm\"\n[plugins.echo.config]\ntoken = {place}\n"
        );
        let shown = match config::parse(&path, &text) {
            Ok(loaded) => {
                let token = loaded.config.plugins.values().next().unwrap().config.as_ref().unwrap();
                let value = token["token"].value().unwrap();
                assert!(value == SECRET || value == kept);
                read += 1;
                let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
                format!("{loaded:?}{loaded:#?}{warnings:?}")
            }
            Err(faults) => format!("{faults}{faults:?}"),
        };
        assert!(!shown.contains("hunter2") && !shown.contains(&kept), "{place}\n{shown}");
    }
    assert_eq!(read, 3);
}

/// A change is shown with the lines around it, whatever is in them.
#[test]
fn no_difference_shows_a_secret_wherever_it_stands() {
    let lines: Vec<_> = SAMPLE.split_inclusive('\n').collect();
    let mut shown = 0;
    let letters = LETTERS.iter().map(|slip| slip.replace("{}", "correcthunter"));
    let others = SLIPS.iter().chain(URLS).map(|slip| slip.replace("{}", SECRET));
    for slip in others.chain(letters) {
        for place in 0..=lines.len() {
            let text = format!("{}{slip}\n{}", lines[..place].concat(), lines[place..].concat());
            if config::parse_syntax(Path::new("server.toml"), &text).is_err() {
                continue;
            }
            for table in ["clients", "plugins"] {
                let tables = Vec::new();
                let section = Section { table, name: "added".to_owned(), rows: Vec::new(), tables };
                let names = config::section_names(&text, table);
                let without = names.iter().filter_map(|name| config::without_section(&text, table, name));
                for edited in without.chain([section.added_to(&text)]) {
                    let difference = config::difference(&text, &edited);
                    assert!(!difference.contains("hunter2"), "{difference}");
                    shown += usize::from(difference.contains("\n"));
                }
            }
        }
    }
    assert!(shown > 1000, "{shown} differences");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Mistakes among other lines, with further damage.
    #[test]
    fn no_damage_shows_a_secret(
        slip in prop::sample::select(SLIPS),
        at in any::<prop::sample::Index>(),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..4usize, "[\"'\\[\\]={}\n#., ]{0,2}"), 0..4
        ),
    ) {
        let mut lines: Vec<_> = SAMPLE.split_inclusive('\n').collect();
        let slip = format!("{}\n", slip.replace("{}", SECRET));
        lines.insert(at.index(lines.len()), &slip);
        let mut text = lines.concat();
        for (place, length, insertion) in edits {
            let start = text.floor_char_boundary(place.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            // A cut within the secret itself leaves a different text.
            let is_within = text.match_indices(SECRET).any(|(at, _)| start < at + SECRET.len() && at < end.max(start + 1));
            if !is_within {
                text.replace_range(start..end, &insertion);
            }
        }
        keeps_its_secret(&text);
    }
}
