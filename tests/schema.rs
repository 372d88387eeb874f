//! The JSON Schema of a config: shipped as it is printed, and of the same mind as the reader about each case
//! of `tests/config`, apart from faults that no schema can see.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use lictor::config;
use serde_json::Value;

/// Cases with faults of how values and files fit together, or of what a text means.
const UNSEEN: &[&str] = &[
    "admin-conflicts",
    "admin-default-port",
    "admin-sockets",
    "chain-with-a-block-that-is-no-certificate",
    "client-certificate-missing",
    "client-file-twice",
    "client-limits-half",
    "client-nothing-pinned",
    "client-pin-twice",
    "client-unknown-built-in",
    "client-uris-without-authorities",
    "clients-share-a-thumbprint",
    "clients-share-a-uri",
    "clients-share-file-and-sha256",
    "clients-share-sha1-and-file",
    "disabled",
    "empty",
    "grant-leads-to-plugins-secrets",
    "identity-revocation-files",
    "include-broken",
    "include-pattern-withheld",
    "include-twice",
    "include-whole",
    "include-withheld",
    "include-wrong",
    "limits-part-over-default",
    "limits-part-over-whole",
    "listen-covered",
    "listen-twice",
    "names-with-dots",
    "plugin-command-twice",
    "plugin-component-missing",
    "plugins-share-a-command",
    "role-patterns",
    "role-twice",
    "role-unknown",
    "role-unknown-of-none",
    "secret-files",
    "secret-withheld",
    "server-certificate-is-a-folder",
    "server-certificate-is-the-key",
    "server-files-missing",
    "server-missing",
    "state-sqlite-without-path",
];

const SHIPPED: &str = "docs/server.schema.json";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn compiled(schemas: &mut Schemas) -> SchemaIndex {
    let mut compiler = Compiler::new();
    let place = "https://example.org/server.schema.json";
    compiler.add_resource(place, config::schema()).unwrap();
    compiler.compile(place, schemas).unwrap_or_else(|error| panic!("{error:#}"))
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
    }
}

/// Returns the names of the cases and their texts.
fn cases() -> Vec<(String, String)> {
    let files = fs::read_dir(root().join("tests/config")).unwrap().map(|file| file.unwrap().path());
    let cases = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let mut cases: Vec<_> = cases
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, text.replace(".sha1}}", &"0".repeat(40)).replace(".sha256}}", &"0".repeat(64)))
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn the_shipped_schema_is_the_one_that_is_printed() {
    let shipped = fs::read_to_string(root().join(SHIPPED)).unwrap_or_default();
    let printed = format!("{:#}\n", config::schema());
    assert!(shipped == printed, "write it anew: cargo run -- schema > {SHIPPED}");
}

#[test]
fn the_schema_accepts_what_is_served_and_sees_every_fault_of_form() {
    let mut schemas = Schemas::new();
    let schema = compiled(&mut schemas);
    let (mut loaded, mut unseen, mut refused) = (0, BTreeSet::new(), BTreeSet::new());
    for (name, text) in cases() {
        // A schema is asked only once the text is TOML.
        let Ok(table) = text.parse::<toml::Table>() else { continue };
        let told = fs::read_to_string(root().join(format!("tests/config/{name}.txt"))).unwrap();
        let config = json(table.into());
        let verdict = schemas.validate(&config, schema);
        match (told.lines().any(|line| line.starts_with("ok: ")), verdict) {
            (true, Ok(())) => loaded += 1,
            (true, Err(error)) => {
                refused.insert(format!("{name}: {error}"));
            }
            (false, Ok(())) => {
                unseen.insert(name);
            }
            (false, Err(_)) => {}
        }
    }
    assert!(refused.is_empty(), "these are served:\n{}", refused.into_iter().collect::<Vec<_>>().join("\n"));
    assert!(loaded > 20, "{loaded} cases: are they still found?");
    let expected: BTreeSet<_> = UNSEEN.iter().map(|name| (*name).to_owned()).collect();
    let (new, seen): (Vec<_>, Vec<_>) =
        (unseen.difference(&expected).collect(), expected.difference(&unseen).collect());
    assert!(
        new.is_empty() && seen.is_empty(),
        "not seen, and not listed: {new:#?}\nlisted, and seen: {seen:#?}"
    );
}

#[test]
fn every_key_is_described_and_no_other_is_allowed() {
    let schema = config::schema();
    let mut tables = vec![&schema];
    let (mut keys, mut found) = (0, 0);
    while let Some(value) = tables.pop() {
        if let Some(properties) = value.get("properties").and_then(Value::as_object) {
            found += 1;
            assert_eq!(value["additionalProperties"], false, "{value:#}");
            for (key, value) in properties {
                let is_section = value.get("properties").is_some() || value.get("propertyNames").is_some();
                let is_described = value["description"].as_str().is_some_and(|text| text.len() > 8);
                assert!(is_section || is_described || key == "include", "{key}: {value:#}");
                keys += 1;
            }
        }
        match value {
            Value::Object(map) => tables.extend(map.values()),
            Value::Array(items) => tables.extend(items),
            _ => {}
        }
    }
    assert!(found >= 14 && keys == config::known_keys().count(), "{found} tables, {keys} keys");
    let timeout = &schema["properties"]["plugins"]["additionalProperties"]["properties"]["timeout"];
    assert_eq!(timeout["default"], "5s");
    assert!(timeout["description"].as_str().unwrap().ends_with(" From 1ms to 1d."), "{timeout:#}");
}
