//! The JSON Schema of a config: the forms that the reader has, with the bounds and the documentation.

use serde_json::{Value, json};

use super::fields::Shape as _;
use super::limits::{Bound, Unit, bounds};
use super::raw::{RawConfig, known_keys};

/// The documentation, whose tables tell what each key means.
const DOCUMENTATION: &str = include_str!("../../docs/config.md");

/// Returns the JSON Schema of a config file, and of the files that it includes. It knows the form of each
/// value, and nothing of how values and files fit together.
#[must_use]
pub fn schema() -> Value {
    let mut schema = RawConfig::schema();
    for (section, key) in known_keys() {
        if let (Some(value), Some(meaning)) = (value(&mut schema, section, key), meaning(section, key)) {
            value["description"] = meaning.into();
        }
    }
    for bound in bounds() {
        if let Some(value) = value(&mut schema, bound.section, bound.key) {
            limit(value, bound);
        }
    }
    let required = [
        ("server", json!(["certificate", "private_key"])),
        ("plugins.NAME.grants.http", json!(["url"])),
        ("telemetry", json!(["otlp"])),
    ];
    for (section, keys) in required {
        if let Some(table) = table(&mut schema, section) {
            table["required"] = keys;
        }
    }
    if let Some(listen) = value(&mut schema, "server", "listen") {
        listen["minItems"] = 1.into();
    }
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "The config file of Lictor".into();
    schema
}

/// Adds the range and the default of `bound`. Of a text's range a pattern excludes 0 alone.
fn limit(value: &mut Value, bound: &Bound) {
    let written = |amount| match bound.unit {
        Unit::Count => json!(amount),
        Unit::TimeSpan | Unit::ByteSize => bound.written(amount).into(),
    };
    if bound.unit == Unit::Count {
        (value["minimum"], value["maximum"]) = (bound.least.into(), bound.most.into());
    } else if bound.least > 0 {
        let pattern = value["pattern"].as_str().unwrap_or_default().replacen("[0-9]+", "0*[1-9][0-9]*", 1);
        value["pattern"] = pattern.into();
    }
    if let Some(default) = bound.default {
        value["default"] = written(default);
    }
    let meaning = value["description"].as_str().unwrap_or(bound.reason);
    let range = format!("{meaning} From {} to {}.", bound.written(bound.least), bound.written(bound.most));
    value["description"] = range.into();
}

/// Returns the schema of `key` in `section`.
fn value<'s>(schema: &'s mut Value, section: &str, key: &str) -> Option<&'s mut Value> {
    table(schema, section)?.get_mut("properties")?.get_mut(key)
}

/// Returns the schema of the table `section`.
fn table<'s>(schema: &'s mut Value, section: &str) -> Option<&'s mut Value> {
    let mut parts = section.split('.').filter(|part| !part.is_empty());
    parts.try_fold(schema, |table, part| {
        let value = match part {
            "NAME" => table.get_mut("additionalProperties")?,
            key => table.get_mut("properties")?.get_mut(key)?,
        };
        Some(table_in(value))
    })
}

/// Returns the table among the forms of `value`, or of its items.
fn table_in(value: &mut Value) -> &mut Value {
    if value.get("items").is_some() {
        return table_in(&mut value["items"]);
    }
    // The table stands last.
    match value.get("anyOf").and_then(Value::as_array).map(Vec::len) {
        Some(forms) => &mut value["anyOf"][forms - 1],
        None => value,
    }
}

/// Returns the meaning of `key` in `section` as the documentation tells it.
fn meaning(section: &str, key: &str) -> Option<String> {
    let (_, chapter) = DOCUMENTATION.split_once(&format!("# `[{section}]`\n"))?;
    let chapter = chapter.split("\n#").next()?;
    let row = chapter.lines().find_map(|line| line.strip_prefix(&format!("| `{key}` | ")))?;
    Some(without_links(row.trim_end_matches([' ', '|']).rsplit(" | ").next()?))
}

/// Replaces each link of a Markdown text by its words.
fn without_links(text: &str) -> String {
    let mut words = String::new();
    for (number, part) in text.split("](").enumerate() {
        let rest = if number == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) };
        words.push_str(&rest.replace('[', ""));
    }
    words
}
