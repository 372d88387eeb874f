//! The config file: each `tests/config/NAME.toml`, and the verdict of `lictor::config` on it in `NAME.txt`.
//!
//! To add a case, write the `.toml`, run with `BLESS=1`, and review the resulting `.txt`. In a `.toml`,
//! `{{laptop.sha1}}` and `{{laptop.sha256}}` stand for the thumbprints of `certs/laptop.pem`, and likewise
//! for the other certificates of [`Fixture`], which are made anew for each run. The cases include files of
//! `tests/config/included/`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lictor::config::{self, Loaded, Severity, Style};
use lictor::identity::Thumbprint;
use proptest::prelude::*;

/// The example in the server's contract; it must load unchanged.
const SAMPLE: &str = include_str!("config/ok-sample.toml");

/// A folder with the files that the cases name.
struct Fixture {
    folder: tempfile::TempDir,
    /// Placeholders in a case, and their values.
    marks: Vec<(String, String)>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let (certs, plugins) = (folder.path().join("certs"), folder.path().join("plugins"));
    fs::create_dir(&certs).unwrap();
    fs::create_dir(&plugins).unwrap();
    let mut marks = Vec::new();
    for name in ["server", "laptop", "dev", "other"] {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(certs.join(name).with_extension("pem"), made.cert.pem()).unwrap();
        let der = made.cert.der();
        marks.push((format!("{{{{{name}.sha1}}}}"), Thumbprint::sha1_of(der).to_string()));
        marks.push((format!("{{{{{name}.sha256}}}}"), Thumbprint::sha256_of(der).to_string()));
        if name == "server" {
            let key = made.signing_key.serialize_pem();
            write_key(&certs.join("server.key"), &key, 0o600);
            write_key(&certs.join("open.key"), &key, 0o644);
            write_key(&certs.join("group.key"), &key, 0o640);
            write_key(&certs.join("joined.pem"), &(made.cert.pem() + &key), 0o644);
        }
        if name == "laptop" {
            fs::write(certs.join("laptop-copy.pem"), made.cert.pem()).unwrap();
            fs::write(certs.join("laptop.der"), der).unwrap();
            fs::write(certs.join("damaged.pem"), made.cert.pem().replace("MII", "M!I")).unwrap();
        }
    }
    let text = |name: &str| fs::read_to_string(certs.join(name)).unwrap();
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(certs.join("garbled.pem"), text("server.pem") + no_certificate).unwrap();
    let cas = ["ca", "new-ca"].map(|name| {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        fs::write(certs.join(name).with_extension("pem"), made.pem()).unwrap();
        marks.push((format!("{{{{{name}.sha256}}}}"), Thumbprint::sha256_of(made.der()).to_string()));
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2022, 1, 1),
            next_update: rcgen::date_time_ymd(2023, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&rcgen::Issuer::from_params(&params, &key)).unwrap();
        fs::write(certs.join(name).with_extension("crl.pem"), list.pem().unwrap()).unwrap();
        fs::write(certs.join(name).with_extension("crl.der"), list.der()).unwrap();
        marks.push((format!("{{{{{name}.crl}}}}"), Thumbprint::sha256_of(list.der()).to_string()));
        made.pem()
    });
    fs::write(certs.join("two.pem"), cas.concat()).unwrap();
    fs::write(certs.join("both-cas.pem"), cas.concat()).unwrap();
    let laptop = fs::read_to_string(certs.join("laptop.pem")).unwrap();
    fs::write(certs.join("ca-and-laptop.pem"), cas[0].clone() + &laptop).unwrap();
    fs::write(certs.join("empty.pem"), "").unwrap();
    for name in ["echo", "kv", "time"] {
        fs::write(plugins.join(name).with_extension("wasm"), "").unwrap();
    }
    for file in files_below(&self::folder().join("included")) {
        let text = marked(&marks, &fs::read_to_string(&file).unwrap());
        let copy = folder.path().join(file.strip_prefix(self::folder()).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, text).unwrap();
    }
    // For any umask: files that others may write are warned of, or refused.
    let modes = std::process::Command::new("chmod").args(["-R", "go-w"]).arg(folder.path()).status();
    assert!(modes.unwrap().success());
    make_secrets(&folder.path().join("secrets"));
    fs::create_dir(folder.path().join("included/later")).unwrap();
    Fixture { folder, marks }
});

/// Replaces the placeholders in `text`.
fn marked(marks: &[(String, String)], text: &str) -> String {
    marks.iter().fold(text.to_owned(), |text, (mark, value)| text.replace(mark, value))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn write_key(path: &Path, pem: &str, mode: u32) {
    fs::write(path, pem).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    #[cfg(not(unix))]
    let _ = mode;
}

/// Makes files that plugins' secrets may name.
fn make_secrets(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let large = "hunter2 ".repeat(10_000);
    for (name, bytes, mode) in [
        ("token", "hunter2\n".as_bytes(), 0o600),
        ("of-time", b"hunter2", 0o600),
        ("open", b"hunter2", 0o644),
        ("group", b"hunter2", 0o640),
        ("writable", b"hunter2", 0o666),
        ("latin", b"hunter2 \xe9", 0o600),
        ("large", large.as_bytes(), 0o600),
        ("empty", b"", 0o600),
        ("newline", b"\r\n", 0o600),
    ] {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::symlink("../certs/server.key", folder.join("link-to-key")).unwrap();
    fs::hard_link(folder.join("../certs/server.key"), folder.join("key-again")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.join("pipe")).status();
    assert!(made.unwrap().success());
}

impl Fixture {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the config module's verdict on `text`, without parts that differ between runs.
    fn verdict(&self, name: &str, text: &str) -> String {
        let text = marked(&self.marks, text);
        let verdict = match config::parse(&self.path(&format!("{name}.toml")), &text) {
            Ok(loaded) if name.starts_with("ok-") => accepted(&loaded) + &format!("{:#?}\n", loaded.config),
            Ok(loaded) => accepted(&loaded),
            Err(faults) => {
                assert!(faults.iter().any(|fault| fault.severity() == Severity::Error), "{name}: no error");
                format!("{faults}\n")
            }
        };
        let verdict = self.marks.iter().fold(verdict, |text, (mark, value)| text.replace(value, mark));
        verdict.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// Shows the warnings, and a line about the config.
fn accepted(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let mut text = String::new();
    for warning in &loaded.warnings {
        assert_eq!(warning.severity(), Severity::Warning);
        text += &format!("{warning}\n\n");
    }
    text += &format!("ok: {} clients, {} plugins\n", config.clients.len(), config.plugins.len());
    text
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// Runs every case; fails if there are none.
#[test]
fn check() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut failures = Vec::new();
    let mut cases = BTreeSet::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            cases.insert(path);
        }
    }
    assert!(cases.len() >= 45, "only {} cases in {}", cases.len(), folder().display());
    for case in cases {
        let name = case.file_stem().unwrap().to_str().unwrap().to_owned();
        let said = FIXTURE.verdict(&name, &fs::read_to_string(&case).unwrap());
        let expected = case.with_extension("txt");
        if bless {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            failures.push(format!("{name}: expected in {}, but was:\n{said}", expected.display()));
        }
    }
    assert!(failures.is_empty(), "{}\n(BLESS=1 writes what is said now)", failures.join("\n"));
}

#[test]
fn every_expectation_has_its_case() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.is_dir() || path.with_extension("toml").exists(), "{} is left over", path.display());
    }
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let missing = config::load(&FIXTURE.path("missing.toml")).unwrap_err().to_string();
    assert!(missing.contains("there is no such file") && missing.contains("lictor init"), "{missing}");
    let folder = config::load(FIXTURE.folder.path()).unwrap_err().to_string();
    assert!(folder.contains("this is a folder"), "{folder}");
    let latin = FIXTURE.path("latin.toml");
    fs::write(&latin, b"[server]\ncertificate = \"caf\xe9\"\n").unwrap();
    let latin = config::load(&latin).unwrap_err().to_string();
    assert!(latin.contains("not UTF-8: line 2"), "{latin}");
}

#[test]
fn a_file_is_loaded_as_its_text_is() {
    let path = FIXTURE.path("sample.toml");
    fs::write(&path, SAMPLE).unwrap();
    let loaded = config::load(&path).unwrap();
    assert_eq!(loaded.config, config::parse(&path, SAMPLE).unwrap().config);
    assert_eq!(loaded.config.path, path);
}

#[test]
fn positions_and_colour_are_given() {
    let faults =
        config::parse(Path::new("server.toml"), "[server]\n\nlisten = [\"é\", \"x\"]\n").unwrap_err();
    let positions: Vec<_> = faults.iter().map(|fault| fault.position()).collect();
    assert_eq!(positions, [Some((1, 1)), Some((3, 11)), Some((3, 16))]);
    assert!(
        faults.render(Style::Colored).contains("\u{1b}[") && !faults.render(Style::Plain).contains('\u{1b}')
    );
}

#[test]
fn a_fault_never_shows_what_is_secret() {
    let text = "[server]\ncertificate = \"-----BEGIN hunter2\"\n[plugins.kv]\npassword = \"hunter2\"\n\
                [plugins.echo.config]\na = 5 # hunter2\nb = \"hunter2\nc = [\"hunter2\"]\ntoken = \"hunter2\"\n";
    for text in [text.to_owned(), text.replace("b = \"hunter2\n", "b = { c = 'hunter2' }\n")] {
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            if let Err(faults) = config::parse(Path::new("server.toml"), &text[..end]) {
                let shown = faults.to_string();
                assert!(!shown.contains("hunter"), "{shown}");
                assert!(!format!("{faults:?}").contains("hunter"));
            }
        }
    }
}

#[test]
fn a_config_in_a_log_does_not_tell_what_plugins_read() {
    let loaded = config::parse(&FIXTURE.path("sample.toml"), SAMPLE).unwrap();
    let shown = format!("{:?}", loaded.config);
    assert!(shown.contains("greeting") && !shown.contains("\"hello\""), "{shown}");
}

#[test]
fn thousands_of_faults_are_cut_short_but_no_error_for_a_warning() {
    let client = |number| format!("[clients.c{number}]\nthumbprints = [\"{number:064x}\"]\n");
    let text = format!("{}[server]\n", (0..5_000).map(client).collect::<String>());
    let shown = config::parse(Path::new("server.toml"), &text).unwrap_err().to_string();
    assert!(shown.starts_with("error: `server` lacks"), "{}", &shown[..200]);
    assert!(shown.contains("more that are not shown") && shown.lines().count() < 1_000);
}

/// The documentation names every key, and every bound's actual default and range.
#[test]
fn the_documentation_is_complete() {
    let docs = documentation();
    let mut keys = 0;
    for (section, key) in config::known_keys().filter(|(section, _)| !section.is_empty()) {
        let text = section_of(&docs, section);
        assert!(text.contains(&format!("\n| `{key}` |")), "docs/config.md lacks `{key}` in [{section}]");
        keys += 1;
    }
    assert!(keys > 40, "{keys} keys");
    for bound in config::bounds() {
        let row = format!("\n| `{}` |", bound.key);
        let text = section_of(&docs, bound.section);
        let row = text[text.find(&row).unwrap() + 1..].lines().next().unwrap();
        let range = format!("{} to {}", bound.written(bound.least), bound.written(bound.most));
        assert!(row.contains(&range), "{range:?} is not in {row}");
        if let Some(default) = bound.default {
            assert!(row.contains(&format!("| `{}` |", quoted(bound, default))), "default: {row}");
        }
    }
}

fn quoted(bound: &config::Bound, amount: u64) -> String {
    let written = bound.written(amount);
    if bound.unit == config::Unit::Count { written } else { format!("\"{written}\"") }
}

#[test]
fn the_examples_of_the_documentation_load() {
    let docs = documentation();
    let mut examples = 0;
    for part in docs.split("```toml\n").skip(1) {
        let example = part.split("```").next().unwrap();
        if example.contains("[server]") {
            // A past time is taken, one of more than 90 days ahead of this machine's clock is not.
            let example = example.replace("report_until = 2026-", "report_until = 2020-");
            config::parse(&FIXTURE.path("server.toml"), &example).unwrap_or_else(|faults| panic!("{faults}"));
            examples += 1;
        }
    }
    assert!(examples > 0);
}

#[test]
fn the_full_example_writes_every_key() {
    let docs = documentation();
    let example = docs.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    for (_, key) in config::known_keys() {
        assert!(example.contains(key), "the full example lacks `{key}`");
    }
}

fn documentation() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md")).unwrap()
}

/// Returns the text below the heading of a section of the config file.
fn section_of<'d>(docs: &'d str, section: &str) -> &'d str {
    let headline = format!("\n## `[{section}]`");
    let start = docs.find(&headline).unwrap_or_else(|| panic!("docs/config.md lacks [{section}]"));
    let text = &docs[start + headline.len()..];
    &text[..text.find("\n## ").unwrap_or(text.len())]
}

/// Parsing and showing must not panic, for any text.
fn survives(text: &str) {
    let path = Path::new("nowhere/server.toml");
    if let Err(faults) = config::parse(path, text) {
        assert!(faults.iter().next().is_some());
        let _ = (faults.render(Style::Colored), faults.render(Style::Plain));
        for fault in faults.iter() {
            let _ = fault.position();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn a_soup_of_toml_is_survived(words in prop::collection::vec(
        prop::sample::select(vec![
            "[server]", "[plugins.a]", "[clients.\"é\"]", "[[limits]]", "\n", " = ", "listen", "timeout", "\"1s\"", "[",
            "]", "{", "}", "\"", "'", "\"\"\"", "5", "-1", "1e9", "99999999999999999999999999", "0x_1", "true", "é",
            "\r\n", "\u{feff}", "#", ".", ",", "commands", "config", "grants", "1979-05-27", "\t", "\0", "\u{202e}",
        ]), 0..40)
    ) {
        survives(&words.concat());
    }

    #[test]
    fn a_damaged_config_is_survived(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12usize, "\\PC{0,3}|[\"\\[\\]={}\n#]"), 1..6)
    ) {
        let mut text = SAMPLE.to_owned();
        for (place, length, insertion) in edits {
            let start = text.floor_char_boundary(place.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, &insertion);
        }
        survives(&text);
    }

    #[test]
    fn a_wrong_value_anywhere_is_survived(
        line in any::<prop::sample::Index>(),
        value in prop::sample::select(vec!["1", "-1", "1.5", "true", "\"\"", "\"x\"", "[]", "[1]", "{}", "1979-05-27", "[{}]"])
    ) {
        let lines: Vec<_> = SAMPLE.lines().collect();
        let places: Vec<_> = (0..lines.len()).filter(|line| lines[*line].contains(" = ")).collect();
        let chosen = places[line.index(places.len())];
        let changed = |(number, line): (usize, &&str)| match line.split_once(" = ") {
            Some((key, _)) if number == chosen => format!("{key} = {value}\n"),
            _ => format!("{line}\n"),
        };
        survives(&lines.iter().enumerate().map(changed).collect::<String>());
    }
}
