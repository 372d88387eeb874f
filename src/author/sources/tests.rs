//! The files that count as sources, and the changes of them that count.

use std::os::unix::fs::symlink;
use std::time::Duration;

use tokio::time::timeout;

use super::*;

#[test]
fn what_tools_and_editors_make_is_no_source() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let sources =
        ["plugin.c", "src/lib.rs", ".cargo/config.toml", "Cargo.toml", "src/build.rs", "test.toml", "link"];
    let made = [
        "greet.wasm",
        "greet.wasm.20937.0.new",
        "greet.wasm.debug",
        "build/core.wasm",
        "target/x",
        "lictor/target/x",
        ".tools/x",
        ".git/HEAD",
        "node_modules/a/b.js",
        "lictor/__pycache__/x.pyc",
        "Cargo.lock",
        ".plugin.c.swp",
        ".#plugin.c",
        "#plugin.c#",
        "plugin.c~",
        "4913",
        "state.db-wal",
        "dev.log",
        "cache/x",
    ];
    for name in sources.iter().chain(&made).filter(|name| **name != "link") {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), "").unwrap();
    }
    symlink("/", at("link")).unwrap();
    let files = look(folder.path(), &[at("cache")], None).files;
    let mut found: Vec<_> = files.into_iter().map(|(path, _)| path).collect();
    found.sort();
    let mut expected = sources.map(at);
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn too_many_files_are_refused_and_told_of_once_while_they_are_watched() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("source"), "1").unwrap();
    let mut sources = Sources::of(folder.path(), Vec::new(), None).unwrap();
    fs::create_dir(at("brought")).unwrap();
    for number in 0..MOST {
        fs::write(at("brought").join(number.to_string()), "").unwrap();
    }
    let words = |error: anyhow::Error| {
        let error = error.to_string();
        assert!(error.contains("too many to watch"), "{error}");
    };
    words(Sources::of(folder.path(), Vec::new(), None).err().unwrap());
    words(loop {
        // The watch may have seen the files arrive.
        if let Err(error) = sources.changed().await {
            break error;
        }
    });
    fs::write(at("source"), "2").unwrap();
    assert!(timeout(Duration::from_millis(600), sources.changed()).await.is_err());
    fs::remove_dir_all(at("brought")).unwrap();
    assert_eq!(sources.changed().await.unwrap(), Path::new("source"));
}

#[tokio::test]
async fn what_each_round_writes_begins_no_round_for_ever_and_a_source_always_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("source"), "0").unwrap();
    fs::write(at("stamp"), "0").unwrap();
    let mut sources = Sources::of(folder.path(), Vec::new(), None).unwrap();
    let changed = |path: &str| Round { changed: Some(path.into()), made: Vec::new() };
    // A file written before the round's end breaks off two rounds, and then lets them run on.
    for round in ["1", "2"] {
        sources.begin_round();
        fs::write(at("stamp"), round).unwrap();
        assert_eq!(sources.changed().await.unwrap(), Path::new("stamp"));
    }
    let patience = Duration::from_millis(600);
    for (round, ended) in [
        ("3", changed("stamp")),
        ("4", Round { changed: None, made: vec!["stamp".into()] }),
        ("5", Round::default()),
    ] {
        sources.begin_round();
        fs::write(at("stamp"), round).unwrap();
        assert!(timeout(patience, sources.changed()).await.is_err(), "round {round}");
        assert_eq!(sources.end_round().unwrap(), ended, "round {round}");
    }
    // A source still breaks off a round, and that says nothing about what the round would have written.
    sources.begin_round();
    fs::write(at("source"), "1").unwrap();
    assert_eq!(sources.changed().await.unwrap(), Path::new("source"));
    sources.begin_round();
    fs::write(at("stamp"), "6").unwrap();
    assert_eq!(sources.end_round().unwrap(), Round::default());
    // The file counts between rounds, and also after a round that did not write it.
    fs::write(at("stamp"), "by hand").unwrap();
    assert_eq!(sources.changed().await.unwrap(), Path::new("stamp"));
    sources.begin_round();
    assert_eq!(sources.end_round().unwrap(), Round::default());
    sources.begin_round();
    fs::write(at("stamp"), "7").unwrap();
    assert_eq!(sources.end_round().unwrap(), changed("stamp"));
}

#[tokio::test]
async fn the_same_bytes_are_no_change_but_another_mode_is() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a"), "1").unwrap();
    fs::write(at("b"), "1").unwrap();
    let mut sources = Sources::of(folder.path(), Vec::new(), None).unwrap();
    fs::write(at("a"), "1").unwrap();
    assert!(timeout(Duration::from_millis(600), sources.changed()).await.is_err());
    fs::write(at("b"), "2").unwrap();
    assert_eq!(sources.changed().await.unwrap(), Path::new("b"));
    fs::set_permissions(at("a"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(sources.changed().await.unwrap(), Path::new("a"));
}

#[tokio::test]
async fn a_source_that_is_written_made_or_removed_is_named_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("src")).unwrap();
    fs::write(at("src/a.rs"), "1").unwrap();
    let mut sources = Sources::of(folder.path(), Vec::new(), None).unwrap();
    let mut next = async || sources.changed().await.unwrap();
    fs::write(at("src/a.rs"), "22").unwrap();
    assert_eq!(next().await, Path::new("src/a.rs"));
    fs::create_dir(at("src/deep")).unwrap();
    fs::write(at("src/deep/b.rs"), "").unwrap();
    assert_eq!(next().await, Path::new("src/deep/b.rs"));
    fs::write(at("new.rs"), "").unwrap();
    assert_eq!(next().await, Path::new("new.rs"));
    fs::remove_file(at("src/a.rs")).unwrap();
    assert_eq!(next().await, Path::new("src/a.rs"));
    // Output does not count: the next file named is the next source written.
    fs::create_dir(at("build")).unwrap();
    for made in ["greet.wasm", "build/x", ".x.swp"] {
        fs::write(at(made), "").unwrap();
    }
    fs::write(at("new.rs"), "more").unwrap();
    assert_eq!(next().await, Path::new("new.rs"));
}
