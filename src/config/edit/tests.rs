//! Edits that are taken back, on configs in every form.

use proptest::prelude::*;

use super::*;

fn laptop() -> Section {
    let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Section {
        table: "clients",
        name: "x.new".to_owned(),
        rows: vec![row("thumbprints", "[\"ab\"]"), row("commands", "[\"echo\"]")],
        tables: vec![("extras".to_owned(), vec![row("connections", "2")])],
    }
}

const ADDED: &str = "[clients.\"x.new\"]\nthumbprints = [\"ab\"]\ncommands = [\"echo\"]\n\n[clients.\"x.new\".extras]\nconnections = 2\n";

fn without(text: &str) -> String {
    without_section(text, "clients", "x.new").unwrap()
}

#[test]
fn a_section_goes_behind_the_last_of_its_table() {
    for (before, after) in [
        ("", ""),
        ("[server]\na = 1\n\n[clients.a]\nb = 2 # c\n# d = 3\n", "\n# all\n[plugins.p]\n"),
        ("[clients.a]\nb = [\n1,\n# two\n]\n", "# p\n[plugins.p]\n"),
        ("[server]\na = 1\n# the end\n", ""),
        ("[server]\na = 1\n", "\n\n"),
        ("clients.a.b = 2\n\nserver.c = 1\n", "\n[plugins.p]\n"),
        ("[clients]\na = { b = 2 }\nc.d = 3\n", "[plugins.p]\n"),
        ("# no clients\n", ""),
        ("\u{feff}[clients.a]\n", ""),
    ] {
        let text = format!("{before}{after}");
        let blank = if before.is_empty() { "" } else { "\n" };
        let added = laptop().added_to(&text);
        assert_eq!(added, format!("{before}{blank}{ADDED}{after}"));
        assert_eq!(without(&added), text);
        let windows = text.replace('\n', "\r\n");
        let added_to_windows = laptop().added_to(&windows);
        if !text.is_empty() {
            assert_eq!(added_to_windows, added.replace('\n', "\r\n"));
        }
        assert_eq!(without(&added_to_windows), windows);
    }
}

#[test]
fn a_text_without_a_last_newline_stays_so() {
    for text in ["a = 1", "a = 1\r\nb = 2", "[clients.a]\nb = 1 # c", "\u{feff}", "  "] {
        let added = laptop().added_to(text);
        assert!(added.ends_with("connections = 2"), "{added}");
        assert_eq!(without(&added), text);
    }
}

#[test]
fn an_inline_table_gets_an_inline_entry() {
    const ENTRY: &str =
        "\"x.new\" = { thumbprints = [\"ab\"], commands = [\"echo\"], extras = { connections = 2 } }";
    for (before, sign, after) in [
        ("clients = {", " ", "}\n"),
        ("clients = {", " ", " } # none\n[server]\n"),
        ("clients = { a = { b = [{ c = 1 }, 2] }", ", ", " }\n"),
        ("clients = { a.b = 1, a.c = 2", ", ", " }"),
    ] {
        let text = format!("{before}{after}");
        let added = laptop().added_to(&text);
        assert_eq!(added, format!("{before}{sign}{ENTRY}{after}"));
        assert_eq!(without(&added), text);
    }
}

#[test]
fn a_section_goes_with_its_tables_and_its_comments() {
    for (text, rest) in [
        // Written in several ways and places.
        (
            "[a]\n\n# old\n\n# of x\n# too\n[clients.x] # it\nk = 1\n# l = 2\n\n# b\n[b]\n[clients.\"x\".extras]\nm = 1\n[c]\n",
            "[a]\n\n# old\n\n# b\n[b]\n[c]\n",
        ),
        ("[clients.x]\nk = \"\"\"\n[clients.y]\n# \"\"\"\n\n\n[b]\n", "\n[b]\n"),
        ("clients.x.k = 1\nclients.y.k = 2\nclients.x.l = 3\n", "clients.y.k = 2\n"),
        ("[clients]\ny.k = 1\n# x\nx = { k = 1 }\nx2.k = 1\n", "[clients]\ny.k = 1\nx2.k = 1\n"),
        ("clients = { x = { k = 1 }, y = {} }", "clients = { y = {} }"),
        ("clients = { y = {}, x.k = 1, x.l = 2, z = {} }", "clients = { y = {}, z = {} }"),
        ("clients = { x.k = 1, y = {}, x.l = 2 }", "clients = { y = {} }"),
        ("clients = { x = {} }", "clients = { }"),
        ("clients = {\n x = {},\n}", "clients = {\n}"),
        ("[[clients.x.k]]\nl = 1\n\n[[clients.x.k]]\n\n[b]", "[b]"),
        ("k = \"\"\"\n#\"\"\"\n[clients.x]\n", "k = \"\"\"\n#\"\"\"\n"),
        ("[clients.x]\r\nk = 1\r\n\r\n[b]\r\n", "[b]\r\n"),
        ("\u{feff}[clients.x]\n[b]\n", "\u{feff}[b]\n"),
        ("[b]\nk = 1\n\n[clients.x]\nk = 1", "[b]\nk = 1"),
        ("[clients.x]", ""),
    ] {
        assert_eq!(without_section(text, "clients", "x").as_deref(), Some(rest), "{text}");
        assert_eq!(without_section(rest, "clients", "x"), None, "{rest}");
    }
}

#[test]
fn sections_are_found_however_they_are_written() {
    let text = "clients.a.b = 1\n[clients.'c d']\n[clients.\"\\u0065\"]\n[clients.a.f]\n[plugins]\ng = {}\n";
    assert_eq!(section_names(text, "clients"), ["a", "c d", "e"]);
    assert_eq!(section_names(text, "plugins"), ["g"]);
    assert_eq!(section_line(text, "clients", "e"), Some(3));
    assert_eq!(section_names("clients = { a = {}, b.c = 1 }", "clients"), ["a", "b"]);
    assert_eq!(section_line("\nclients = { a = {}, b.c = 1 }", "clients", "b"), Some(2));
    assert_eq!(section_line(text, "clients", "b"), None);
}

#[test]
fn a_difference_shows_a_few_lines_around_the_change_and_no_secret() {
    let text = "[server]\nlisten = [\"127.0.0.1:1\"]\nwatch = true\ncertificate = \"c.pem\"\n\n[clients.a]\nroles = [\"r\"]\n\n\
                [plugins.p.config]\ntoken = \"hunter2\" # hunter2\n";
    let shown = difference(text, &laptop().added_to(text));
    assert_eq!(
        shown,
        "@@ -6,5 +6,12 @@\n [clients.a]\n roles = [\"r\"]\n \n+[clients.\"x.new\"]\n+thumbprints = [\"ab\"]\n+commands = [\"echo\"]\n\
         +\n+[clients.\"x.new\".extras]\n+connections = .\n+\n [plugins.p.config]\n token = \".......\" # …\n"
    );
    let removed = difference(text, &without_section(text, "plugins", "p").unwrap());
    assert!(removed.contains("-token = \".......\" # …\n") && !removed.contains("hunter2"), "{removed}");
}

#[test]
fn a_difference_shows_patterns_as_they_will_stand() {
    let old =
        "[clients.a] # …\ncommands = [\"a \\\"b\\\"\", 'x # ...', \"p#...\"] # hunter2 # x\r\nroles = []";
    let new = old.replace("\\\"b\\\"", "\\\"c\\\"");
    assert_eq!(
        difference(old, &new),
        "@@ -1,3 +1,3 @@\n [clients.a] # …\n-commands = [\"a \\\"b\\\"\", 'x # ...', \"p#...\"] # …\n\
         +commands = [\"a \\\"c\\\"\", 'x # ...', \"p#...\"] # …\n roles = []\n"
    );
    // A line of which nothing that changes is shown.
    let (old, new) = ("[plugins.p.config]\nk = \"abc\"\n", "[plugins.p.config]\nk = \"def\"\n");
    assert_eq!(difference(old, new), "@@ -1,2 +1,2 @@\n [plugins.p.config]\n-k = \"...\"\n+k = \"...\"\n");
    let added = Section {
        rows: vec![(
            "commands".to_owned(),
            super::super::quoted_list(&["say \"a b\" c\\d k=v,w # ?".to_owned()]),
        )],
        tables: Vec::new(),
        ..laptop()
    };
    let text = added.added_to("");
    let shown: String =
        difference("", &text).lines().skip(1).map(|line| format!("{}\n", &line[1..])).collect();
    assert_eq!(shown, text);
}

/// Parts of a config; together with others they may be no TOML.
const PARTS: &[&str] = &[
    "",
    "  ",
    "# a comment",
    "#",
    "top = 1",
    "[server]",
    "listen = [ # several\n  \"a\", # one\n\n  # two\n  'b',\n]",
    "[clients]",
    "clients.q.commands = [\"x\"]",
    "clients = { q = { commands = [] } , r.commands = [] }",
    "clients = {}",
    "q = { commands = [\"[clients.x]\"] }",
    "[clients.q]",
    "[clients.'x.ne']",
    "  [ clients . \"r s\" . limits ]  # spaced",
    "text = \"\"\"\n# no comment\n[clients.x]\n\"\"\"",
    "plugins.p.grants.http = [{ url = \"https://h\", networks = [] }]",
    "[plugins.p.config]",
    "k = 'v' # of p",
    "[[other]]",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, max_global_rejects: 1 << 20, ..ProptestConfig::default() })]

    #[test]
    fn a_section_added_and_taken_out_leaves_every_byte(
        parts in prop::collection::vec(prop::sample::select(PARTS), 0..9),
        is_windows in any::<bool>(),
        has_mark in any::<bool>(),
        has_end in any::<bool>(),
        table in prop::sample::select(&["clients", "plugins"][..]),
    ) {
        let mut text = parts.join("\n");
        if has_end { text.push('\n'); }
        if is_windows { text = text.replace('\n', "\r\n"); }
        if has_mark { text.insert(0, '\u{feff}'); }
        let Ok(before) = text.trim_start_matches('\u{feff}').parse::<toml::Table>() else { return Err(TestCaseError::reject("no TOML")) };
        let added = Section { table, ..laptop() }.added_to(&text);
        let after = added.trim_start_matches('\u{feff}').parse::<toml::Table>();
        let mut after = after.map_err(|error| TestCaseError::fail(format!("{added}\n{error}")))?;
        let entry = after[table].as_table_mut().unwrap().remove("x.new").unwrap();
        prop_assert_eq!(entry["extras"]["connections"].as_integer(), Some(2));
        if before.get(table).is_none() { after.remove(table); }
        prop_assert_eq!(&after, &before);
        prop_assert_eq!(without_section(&added, table, "x.new").unwrap(), text.clone());

        // A section that was there before.
        for name in section_names(&text, table) {
            let without = without_section(&text, table, &name).unwrap();
            let left = without.trim_start_matches('\u{feff}').parse::<toml::Table>();
            let mut left = left.map_err(|error| TestCaseError::fail(format!("{text}\n{without}\n{error}")))?;
            let mut expected = before.clone();
            let named = expected[table].as_table_mut().unwrap();
            named.remove(&name);
            if named.is_empty() { expected.remove(table); left.remove(table); }
            prop_assert_eq!(left, expected, "{}\n{}", text, without);
        }
    }
}
