//! Fit: a component's imports and exports, and the words for a misfit.

use super::*;

#[test]
fn compatible_versions_of_what_is_there_fit() {
    for import in [
        "lictor:plugin/request@0.1.0",
        "lictor:plugin/types@0.1.9",
        "wasi:io/poll@0.2.0",
        "wasi:io/poll@0.2.6",
    ] {
        assert_eq!(import_misfits(&[import], "plugins.p", &Grants::default()), [""; 0], "{import}");
    }
    assert_eq!(export_misfit(World::Plugin, &["x".into(), "lictor:plugin/commands@0.1.4".into()]), None);
}

#[test]
fn a_misfit_names_the_import_and_what_there_is() {
    for (import, words) in [
        ("lictor:plugin/request@0.2.0", "this host has lictor:plugin/request@0.1"),
        ("wasi:io/poll@0.3.0", "this host has wasi:io/poll@0.2"),
        ("wasi:sockets/tcp@0.2.0", "no sockets"),
        ("wasi:http/incoming-handler@0.2.0", "does not offer"),
        ("wasi:http/outgoing-handler@0.3.0", "this host has wasi:http/outgoing-handler@0.2"),
        ("acme:thing/api@1.0.0", "does not offer; it offers lictor:plugin/output, "),
        ("plain-function", "does not offer"),
    ] {
        let misfits = import_misfits(&[import], "plugins.p", &Grants::default());
        let [misfit] = &misfits[..] else { panic!("{misfits:?}") };
        assert!(misfit.contains(import) && misfit.contains(words), "{misfit}");
    }
}

#[test]
fn what_a_component_imports_is_known_before_it_is_compiled() {
    let import = |name: &str| format!(r#"(import "{name}" (instance))"#);
    // The imports of a nested component do not count, and a type is no interface.
    let text = format!(
        r#"(component {} {} (import "t" (type (sub resource))) (component {}))"#,
        import("wasi:keyvalue/store@0.2.0-draft"),
        import("wasi:config/store@0.2.0-rc.1"),
        import("wasi:logging/logging@0.1.0-draft"),
    );
    let component = wat::parse_str(text).unwrap();
    let told = check_imports(&component, "plugins.p", &Grants::default()).unwrap_err();
    let names = "wasi:keyvalue/store@0.2.0-draft and wasi:config/store@0.2.0-rc.1";
    let lines = "[plugins.p.config]\n[plugins.p.grants]\nkeyvalue = [\"default\"]";
    assert_eq!(
        told,
        format!("it imports {names}, which are not granted to it; to grant them, add:\n{lines}")
    );
    let config = Some(crate::plugin::host::grants::Settings::default().into());
    let stores = Some(crate::plugin::host::grants::Stores::default());
    let granted = Grants { config, stores, ..Grants::default() };
    assert_eq!(check_imports(&component, "plugins.p", &granted), Ok(()));
    assert_eq!(check_imports(b"nonsense", "plugins.p", &Grants::default()), Ok(()));
}

/// A TOML file with the same table twice is invalid.
#[test]
fn what_to_add_to_a_table_that_is_there_does_not_begin_it_again() {
    let written = Grants { is_written: true, ..Grants::default() };
    for (imports, add) in [
        (
            &["lictor:plugin/state@0.1.0"][..],
            "grant it, add to [plugins.p.grants]:\nkeyvalue = [\"default\"]",
        ),
        (&["wasi:config/store@0.2.0-rc.1"], "grant it, add:\n[plugins.p.config]"),
        (
            &["wasi:config/store@0.2.0-rc.1", "wasi:logging/logging@0.1.0-draft"],
            "grant them, add:\n[plugins.p.config]\nand add to [plugins.p.grants]:\nlogging = true",
        ),
    ] {
        let told = import_misfits(imports, "plugins.p", &written);
        assert!(told[0].ends_with(add), "{told:?}");
    }
}

#[test]
fn a_missing_or_foreign_export_is_told() {
    let foreign = export_misfit(World::Plugin, &["lictor:plugin/commands@0.2.0".into()]).unwrap();
    assert!(foreign.contains("lictor:plugin/commands@0.2.0"), "{foreign}");
    let missing = export_misfit(World::Plugin, &[]).unwrap();
    assert!(missing.contains("exports nothing"), "{missing}");
    let exports = ["lictor:plugin/streaming-commands@0.1.0", "lictor:plugin/commands@0.1.0"];
    let both = export_misfit(World::StreamingPlugin, &exports.map(String::from)).unwrap();
    assert!(both.ends_with("one of the two"), "{both}");
    assert_eq!(export_misfit(World::StreamingPlugin, &[exports[0].into()]), None);
}

#[test]
fn what_is_not_granted_is_told_with_the_line_to_add() {
    let config = Some(crate::plugin::host::grants::Settings::default().into());
    let http = Some(crate::plugin::host::grants::HttpGrant::default());
    let all = Grants { config, logging: true, http, ..Grants::default() };
    for (import, line) in [
        ("wasi:config/store@0.2.0-rc.1", "[plugins.p.config]"),
        ("wasi:logging/logging@0.1.0-draft", "[plugins.p.grants]\nlogging = true"),
        ("lictor:plugin/http@0.1.0", "[plugins.p.grants]\nhttp = [\"https://HOST\"]"),
        ("wasi:http/types@0.2.12", "[plugins.p.grants]\nhttp = [\"https://HOST\"]"),
        ("wasi:http/outgoing-handler@0.2.0", "[plugins.p.grants]\nhttp = [\"https://HOST\"]"),
    ] {
        let misfits = import_misfits(&[import], "plugins.p", &Grants::default());
        let [misfit] = &misfits[..] else { panic!("{misfits:?}") };
        assert!(misfit.contains(import) && misfit.ends_with(&format!("add:\n{line}")), "{misfit}");
        assert!(line.parse::<toml::Table>().is_ok(), "{line}");
        assert_eq!(import_misfits(&[import], "plugins.p", &all), [""; 0]);
    }
}

#[test]
fn all_that_is_not_granted_is_told_with_each_table_once() {
    let imports = [
        "acme:thing/api@1.0.0",
        "wasi:http/types@0.2.0",
        "wasi:config/store@0.2.0-rc.1",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:logging/logging@0.1.0-draft",
    ];
    let misfits = import_misfits(&imports, "plugins.\"a.b\"", &Grants::default());
    let [missing, ungranted] = &misfits[..] else { panic!("{misfits:?}") };
    assert!(missing.contains("acme:thing/api@1.0.0, which this host does not offer"), "{missing}");
    let (words, lines) = ungranted.split_once(" are not granted to it; to grant them, add:\n").unwrap();
    assert_eq!(
        words,
        "it imports wasi:http/types@0.2.0, wasi:config/store@0.2.0-rc.1, wasi:http/outgoing-handler@0.2.0 and \
         wasi:logging/logging@0.1.0-draft, which"
    );
    let table: toml::Table = lines.parse().unwrap();
    let plugin = &table["plugins"]["a.b"];
    assert_eq!(plugin["grants"].as_table().unwrap().len(), 2, "{plugin}");
    assert!(plugin["config"].as_table().is_some(), "{plugin}");
}
