//! Names in documents and manifests.

#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

use std::collections::BTreeSet;

use super::{files, none, root, text};

/// Returns the names of all dependencies of a manifest, of every kind.
pub fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            names.extend(table.keys().cloned());
        } else if key == "workspace" || key == "target" || key.starts_with("cfg(") {
            names.extend(dependencies(table));
        }
    }
    names
}

/// Returns the names in the first cells of a document's tables: `` | `name` | `` or `` | `one`, `other` | ``.
pub fn named_in_tables(document: &str) -> BTreeSet<String> {
    let cells = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.flat_map(|(cell, _)| cell.split("`, `").map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Returns the targets of a document's links, and their lines.
pub fn links(document: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for (number, line) in (1..).zip(document.lines()) {
        is_fenced ^= line.trim_start().starts_with("```");
        if is_fenced {
            continue;
        }
        // Text between backticks is not a link.
        let prose: String = line.split('`').step_by(2).collect();
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| (number, target.to_owned())));
    }
    found
}

/// Returns the tests that a document names: `` `module::test` ``.
pub fn named_tests(document: &str) -> BTreeSet<String> {
    let is_name = |text: &&str| {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == ':';
        text.contains("::") && text.chars().all(is_part)
    };
    document.split('`').skip(1).step_by(2).filter(is_name).map(str::to_owned).collect()
}

/// Returns the source files that a document names: `` `path/to/file.rs` ``.
fn named_sources(document: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c);
    let is_path = |span: &&str| span.contains('/') && span.ends_with(".rs") && span.chars().all(is_part);
    spans(document).filter(is_path).map(str::to_owned).collect()
}

/// Returns the text between backticks, outside of blocks.
fn spans(document: &str) -> impl Iterator<Item = &str> {
    let mut is_fenced = false;
    let prose = document.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        !is_fenced && !is_fence
    });
    prose.flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Returns the items that a document finds in a file: `` `ITEM` in `path/to/file.rs` ``.
fn items_in_sources(document: &str) -> Vec<(&str, &str)> {
    let spans: Vec<&str> = document.split('`').collect();
    let pairs = spans.windows(3).filter(|spans| spans[1].trim() == "in" && spans[2].ends_with(".rs"));
    pairs.map(|spans| (spans[0], spans[2])).collect()
}

/// Returns the log events in a document's table: `` | `target` | `message`, … | ``, where an empty target
/// repeats the one above.
pub fn named_events(document: &str) -> BTreeSet<(String, String)> {
    let mut events = BTreeSet::new();
    let mut current = "";
    let after_head = document.split_once("\n| target | message |").map_or("", |(_, after)| after);
    for row in after_head.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let mut cells = row.split('|').skip(1);
        let (target, messages) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        current = target.split('`').nth(1).unwrap_or(current);
        events.extend(
            messages.split('`').skip(1).step_by(2).map(|message| (current.to_owned(), message.to_owned())),
        );
    }
    events
}

/// Returns the metrics that a text names: `lictor_…_total`.
pub fn named_metrics(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("lictor_") && word.ends_with("_total")).map(str::to_owned).collect()
}

/// Their paths are from the root or from `src/`.
#[test]
fn files_that_documents_name_are_there() {
    let file = |name: &str| {
        let paths = [name.to_owned(), format!("src/{name}")];
        paths.into_iter().find(|path| root().join(path).is_file())
    };
    let is_about_source = |path: &&String| {
        let of_root = ["ARCHITECTURE.md", "CONTRIBUTING.md"].contains(&path.as_str());
        of_root || path.starts_with("docs/") && path.ends_with(".md")
    };
    let (mut faults, mut seen) = (Vec::new(), 0);
    for path in files().iter().filter(is_about_source) {
        let document = text(path);
        let sources = named_sources(&document);
        seen += sources.len();
        let gone = sources.iter().filter(|name| file(name).is_none());
        faults.extend(gone.map(|name| format!("{path}: there is no {name}; name the file as it is now")));
        for (item, name) in items_in_sources(&document) {
            if file(name).is_some_and(|file| !text(&file).contains(item)) {
                faults.push(format!("{path}: {name} has no {item}; name the file that has it"));
            }
        }
    }
    none(&faults, seen);
}

#[test]
fn links_and_names_are_found() {
    assert_eq!(links("[a](b.md) `[c](d)`\n```\n[e](f)\n```\n"), [(1, "b.md".to_owned())]);
    let names = named_in_tables("`no`\n| `one` | x |\n| `two`, `three` | y |\n");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["one", "three", "two"]);
    assert_eq!(named_tests("a `b::c_1` `d` `e::F`\n").into_iter().collect::<Vec<_>>(), ["b::c_1"]);
    let sources = named_sources("`a/b.rs` `c.rs` `a/NAME.rs`\n```\n`d/e.rs`\n```\n");
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["a/b.rs"]);
    assert_eq!(items_in_sources("`A` (`B` in\n`a/b.rs`) `C` and `c.rs`"), [("B", "a/b.rs")]);
    let table = "\n| target | message | level |\n|---|---|---|\n| `a` | `b`, `c` | x `y` |\n| | `d` | x |\n\n| `e` | `f` |";
    let events = named_events(table).into_iter().map(|(target, message)| target + &message);
    assert_eq!(events.collect::<Vec<_>>(), ["ab", "ac", "ad"]);
    let metrics = named_metrics("| `lictor_a_b_total`, lictor_a |");
    assert_eq!(metrics.into_iter().collect::<Vec<_>>(), ["lictor_a_b_total"]);
    let manifest = "[dependencies]\na = \"1\"\n[target.'cfg(unix)'.dev-dependencies]\nb = \"1\"\n[package]\nname = \"c\"";
    assert_eq!(dependencies(&manifest.parse().unwrap()).into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

/// The SDK tells authors to write the same profile that their projects have.
#[test]
fn the_profile_of_the_sdks_readme_is_the_projects() {
    let profile = |path: &str| {
        let text = text(path).replace("{{name}}", "NAME");
        let from = text.find("[profile.release]").expect(path);
        text[from..]
            .lines()
            .take_while(|line| !line.is_empty() && *line != "```")
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(profile("sdk/rust/README.md"), profile("sdk/templates/rust/Cargo.toml"));
}
