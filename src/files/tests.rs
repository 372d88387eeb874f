//! Files of other users, circular links, pipes: each in a folder of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::{Fault, FileId, Opened, Reason, Reserved, read_named};

/// A user other than root and the one that runs the tests.
const STRANGER: u32 = 65_534;

/// Reads a file, whoever wrote it.
fn read_any(path: &Path, most: u64) -> Result<Vec<u8>, Fault> {
    Opened::file(path)?.bytes(most)
}

/// A folder with the same modes under any umask.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("file"), 0o644);
    folder
}

fn write(path: &Path, mode: u32) {
    fs::write(path, "text").unwrap();
    set_mode(path, mode);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Changes the owner of a file, or of a link itself, to a stranger; only root can.
#[must_use]
fn is_given_away(path: &Path) -> bool {
    let is_given = std::os::unix::fs::lchown(path, Some(STRANGER), None).is_ok();
    if !is_given {
        println!("SKIPPED: what takes a file of another user, which root alone can make");
    }
    is_given
}

/// Reads a file whose content directs the server.
fn read_trusted(path: &Path, most: u64) -> Result<Vec<u8>, Fault> {
    Opened::file(path)?.trusted()?.bytes(most)
}

#[track_caller]
fn reason(path: &Path) -> Reason {
    read_trusted(path, 100).unwrap_err().reason
}

#[test]
fn a_file_is_read_by_whatever_path_leads_to_it() {
    let folder = folder();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("a/b")).unwrap();
    symlink("file", at("link")).unwrap();
    symlink(at("link"), at("a/absolute")).unwrap();
    symlink("../../a", at("a/b/up")).unwrap();
    for path in ["file", "./a/../file", "link", "a/absolute", "a/b/up/b/up/absolute", "a//b/../../file"] {
        let opened = Opened::file(&at(path)).unwrap();
        assert_eq!(opened.bytes(4).unwrap(), b"text", "{path}");
        assert_eq!(opened.real_path(), at("file").canonicalize().unwrap(), "{path}");
        assert_eq!(Some(opened.id()), FileId::at(&at("file")), "{path}");
    }
    assert_eq!(Opened::folder(&at("a/b/up")).unwrap().real_path(), at("a").canonicalize().unwrap());
}

#[test]
fn a_relative_path_begins_in_the_folder_of_the_process() {
    let opened = Opened::file(Path::new("Cargo.toml")).unwrap();
    assert_eq!(opened.real_path(), std::env::current_dir().unwrap().join("Cargo.toml"));
    assert!(Opened::folder(Path::new(".")).is_ok() && Opened::folder(Path::new("/")).is_ok());
}

#[test]
fn what_is_open_in_this_process_is_found_by_its_number() {
    let folder = folder();
    let file = fs::File::open(folder.path().join("file")).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&file);
    assert_eq!(read_any(Path::new(&format!("/proc/self/fd/{number}")), 100).unwrap(), b"text");
    assert_eq!(
        Opened::folder(Path::new("/proc/self/cwd")).unwrap().id(),
        FileId::at(Path::new(".")).unwrap()
    );
    let (pipe, _end) = std::io::pipe().unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&pipe);
    assert_eq!(reason(Path::new(&format!("/dev/fd/{number}"))), Reason::NotPlain);
}

#[test]
fn what_is_no_plain_file_is_not_opened() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(reason(&pipe), Reason::NotPlain);
    assert_eq!(reason(Path::new("/dev/null")), Reason::NotPlain);
    assert_eq!(reason(folder.path()), Reason::Folder);
    assert_eq!(reason(&folder.path().join("none")), Reason::Missing);
    assert_eq!(reason(&folder.path().join("file/below")), Reason::Missing);
    assert_eq!(reason(Path::new("")), Reason::Missing);
    assert_eq!(Opened::folder(&folder.path().join("file")).unwrap_err().reason, Reason::NotFolder);
}

#[test]
fn links_that_lead_in_a_circle_end() {
    let folder = folder();
    symlink("b", folder.path().join("a")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    assert_eq!(reason(&folder.path().join("a")), Reason::Links);
}

#[test]
fn a_file_is_read_within_its_bound() {
    let folder = folder();
    let file = folder.path().join("file");
    assert_eq!(read_trusted(&file, 4).unwrap(), b"text");
    assert_eq!(reason_within(&file, 3), Reason::TooLarge { most: 3 });
    // Its metadata says that it is empty.
    assert_eq!(reason_within(Path::new("/proc/self/maps"), 3), Reason::TooLarge { most: 3 });
}

fn reason_within(path: &Path, most: u64) -> Reason {
    read_any(path, most).unwrap_err().reason
}

#[test]
fn a_file_that_others_may_write_to_is_not_trusted() {
    let folder = folder();
    let file = folder.path().join("file");
    for mode in [0o602, 0o666, 0o777, 0o646] {
        set_mode(&file, mode);
        assert_eq!(reason(&file), Reason::Writable { mode });
    }
    for mode in [0o600, 0o644, 0o755, 0o444] {
        set_mode(&file, mode);
        let opened = Opened::file(&file).unwrap().trusted().unwrap();
        assert!(opened.warnings().is_empty(), "{mode:o}: {:?}", opened.warnings());
    }
    set_mode(&file, 0o664);
    let told = Opened::file(&file).unwrap().trusted().unwrap().warnings();
    assert_eq!(
        told.iter().map(|fault| &fault.reason).collect::<Vec<_>>(),
        [&Reason::GroupWritable { mode: 0o664 }]
    );
}

#[test]
fn a_folder_above_in_which_others_may_replace_the_file_is_told() {
    let folder = folder();
    let below = folder.path().join("shared/below");
    fs::create_dir_all(&below).unwrap();
    write(&below.join("file"), 0o644);
    let shared = folder.path().join("shared");
    for (mode, is_told) in [(0o777, true), (0o775, true), (0o1777, false), (0o755, false)] {
        set_mode(&shared, mode);
        let told = Opened::file(&below.join("file")).unwrap().trusted().unwrap().warnings();
        let real = shared.canonicalize().unwrap();
        let is_of = |fault: &Fault| {
            let Reason::LooseFolder { folder, .. } = &fault.reason else { return false };
            *folder == real
        };
        assert_eq!(told.iter().any(is_of), is_told, "{mode:o}: {told:?}");
    }
}

#[test]
fn what_the_server_keeps_is_its_own_alone() {
    let folder = folder();
    let file = folder.path().join("file");
    assert!(Opened::file(&file).unwrap().own().is_ok());
    set_mode(&file, 0o664);
    assert!(Opened::file(&file).unwrap().own().is_err(), "its group may write to it");
    set_mode(&file, 0o600);
    fs::hard_link(&file, folder.path().join("other")).unwrap();
    let refused = Opened::file(&file).unwrap().own().unwrap_err();
    assert!(matches!(refused.reason, Reason::NotOwn { names: 2, .. }), "{refused}");
    assert!(Opened::file(&file).unwrap().trusted().is_ok(), "Cargo's outputs have two names");
    set_mode(folder.path(), 0o700);
    assert!(Opened::folder(folder.path()).unwrap().own().is_ok());
}

#[test]
fn a_strangers_file_and_link_are_refused() {
    let folder = folder();
    let at = |path: &str| folder.path().join(path);
    symlink("file", at("link")).unwrap();
    fs::create_dir(at("inner")).unwrap();
    symlink("..", at("inner/up")).unwrap();
    write(&at("theirs"), 0o644);
    if !(is_given_away(&at("link")) && is_given_away(&at("inner/up")) && is_given_away(&at("theirs"))) {
        return;
    }
    let named =
        |path: &str| Reason::Link { link: folder.path().canonicalize().unwrap().join(path), owner: STRANGER };
    assert_eq!(reason(&at("link")), named("link"));
    assert_eq!(reason_within(&at("link"), 100), named("link"), "whatever the file is for");
    assert_eq!(reason(&at("inner/up/file")), named("inner/up"));
    assert_eq!(reason(&at("theirs")), Reason::Owner { owner: STRANGER });
    assert_eq!(read_any(&at("theirs"), 100).unwrap(), b"text");
    chown(at("inner"), Some(STRANGER), None).unwrap();
    write(&at("inner/file"), 0o644);
    let told = Opened::file(&at("inner/file")).unwrap().trusted().unwrap().warnings();
    assert!(matches!(told[0].reason, Reason::LooseFolder { owner: STRANGER, .. }), "{told:?}");
}

#[test]
fn the_layout_of_kubernetes_is_taken() {
    let folder = folder();
    let at = |path: &str| folder.path().join(path);
    for part in ["..2026_01", "..2026_02"] {
        fs::create_dir(at(part)).unwrap();
        set_mode(&at(part), 0o777);
        fs::write(at(part).join("server.toml"), part).unwrap();
        set_mode(&at(part).join("server.toml"), 0o644);
    }
    set_mode(folder.path(), 0o777);
    symlink("..2026_01", at("..data")).unwrap();
    symlink("..data/server.toml", at("server.toml")).unwrap();
    assert_eq!(read_trusted(&at("server.toml"), 100).unwrap(), b"..2026_01");
    symlink("..2026_02", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_eq!(read_trusted(&at("server.toml"), 100).unwrap(), b"..2026_02");
}

#[test]
fn a_fault_is_said_in_words() {
    let folder = folder();
    let file = folder.path().join("file");
    set_mode(&file, 0o666);
    let words = read_trusted(&file, 100).unwrap_err().to_string();
    let path = file.display();
    assert_eq!(
        words,
        format!(
            "{path}: users other than its owner can write to it: its mode is 666; find out who changed it, then \
             `chmod go-w {path}`"
        )
    );
    assert_eq!(
        read_trusted(&folder.path().join("a\nb"), 100).unwrap_err().to_string(),
        format!("{}/a\\nb: there is no such file", folder.path().display())
    );
}

#[test]
fn what_a_person_names_may_be_a_pipe() {
    let (pipe, mut end) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut end, b"text").unwrap();
    drop(end);
    let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
    assert_eq!(read_named(Path::new(&path), 4).unwrap(), b"text");
    assert_eq!(
        read_named(&folder().path().join("file"), 3).unwrap_err().reason,
        Reason::TooLarge { most: 3 }
    );
}

const KEY: &str = "the key";
const CACHE: &str = "the cache";

/// A folder with a key, names that lead to the key, and the reserved paths there.
fn kept() -> (TempDir, Reserved) {
    let folder = folder();
    let at = |path: &str| folder.path().join(path);
    for part in ["certs/old", "cache", "data/inner"] {
        fs::create_dir_all(at(part)).unwrap();
    }
    for file in ["certs/key", "cache/code", "data/free", "data/inner/free"] {
        write(&at(file), 0o600);
    }
    fs::hard_link(at("certs/key"), at("data/hard")).unwrap();
    symlink("../certs/key", at("data/link")).unwrap();
    symlink("../certs", at("data/certs")).unwrap();
    let entries = vec![(at("certs/key"), KEY), (at("cache"), CACHE), (at("state/db-wal"), "the state")];
    (folder, Reserved::new(entries))
}

#[test]
fn what_is_reserved_is_found_by_whatever_name() {
    let (folder, reserved) = kept();
    let at = |path: &str| folder.path().join(path);
    for (path, what) in [
        ("certs/key", Some(KEY)),
        ("data/hard", Some(KEY)),
        ("data/link", Some(KEY)),
        ("data/certs/key", Some(KEY)),
        ("cache/code", Some(CACHE)),
        ("data/free", None),
        ("file", None),
    ] {
        assert_eq!(reserved.withholds(&Opened::file(&at(path)).unwrap()), what, "{path}");
        let held = Opened::held(fs::File::open(at(path)).unwrap(), Path::new("elsewhere")).unwrap();
        assert_eq!(reserved.withholds(&held), what, "{path}, by its descriptor");
    }
    fs::remove_file(at("certs/key")).unwrap();
    write(&at("certs/new"), 0o600);
    fs::hard_link(at("certs/new"), at("data/new")).unwrap();
    fs::rename(at("certs/new"), at("certs/key")).unwrap();
    assert_eq!(reserved.withholds(&Opened::file(&at("data/new")).unwrap()), Some(KEY), "it was renewed");
    assert_eq!(reserved.withholds(&Opened::file(&at("data/hard")).unwrap()), None, "no key any more");
}

#[test]
fn a_folder_with_something_reserved_is_found() {
    let (folder, reserved) = kept();
    let at = |path: &str| folder.path().join(path);
    for (path, is_withheld) in [
        ("certs", true),
        ("data/certs", true),
        ("cache", true),
        (".", true),
        ("certs/old", false),
        ("data", false),
        ("data/inner", false),
    ] {
        let found = reserved.withholds(&Opened::folder(&at(path)).unwrap());
        assert_eq!(found.is_some(), is_withheld, "{path}: {found:?}");
    }
    assert!(reserved.withholds(&Opened::folder(Path::new("/")).unwrap()).is_some());
}

#[test]
fn what_is_not_there_yet_is_reserved_by_its_path() {
    let (folder, reserved) = kept();
    let at = |path: &str| folder.path().join(path);
    assert_eq!(reserved.withholds_missing(&at("state/db-wal")), Some("the state"));
    assert_eq!(reserved.withholds_missing(&at("data/../cache/new")), Some(CACHE));
    assert_eq!(reserved.withholds_missing(&at("data/new")), None);
    let other = Reserved::new(vec![(at("data/new"), "new")]);
    reserved.extend(&other);
    assert_eq!(reserved.withholds_missing(&at("data/new")), Some("new"));
    assert_eq!(reserved.withholds_missing(&at("state/db-wal")), Some("the state"));
    reserved.replace(&other);
    assert_eq!(reserved.withholds_missing(&at("state/db-wal")), None);
}

#[test]
fn what_a_pattern_matches_is_reserved_now_and_later() {
    let folder = folder();
    let at = |path: &str| folder.path().join(path);
    for part in ["conf.d/inner", "beside"] {
        fs::create_dir_all(at(part)).unwrap();
    }
    let patterns = ["conf.d/*.toml", "not-there/a*"].map(|pattern| (at(pattern), "a pattern"));
    let reserved = Reserved::default().with_patterns(patterns.into_iter());
    for (path, is_withheld) in [
        ("conf.d/n.toml", true),
        ("beside/../conf.d/n.toml", true),
        ("conf.d/notes", false),
        ("conf.d/inner/n.toml", false),
        ("beside/n.toml", false),
        ("not-there/ab", true),
        ("not-there/b", false),
        ("not-there/inner/ab", false),
    ] {
        assert_eq!(reserved.withholds_missing(&at(path)).is_some(), is_withheld, "{path}");
    }
    for (path, is_withheld) in [("conf.d", true), (".", true), ("conf.d/inner", false), ("beside", false)] {
        let found = reserved.withholds(&Opened::folder(&at(path)).unwrap());
        assert_eq!(found.is_some(), is_withheld, "{path}: {found:?}");
    }
    symlink("../conf.d/n.toml", at("beside/link")).unwrap();
    for file in ["conf.d/n.toml", "conf.d/notes", "beside/n.toml"] {
        write(&at(file), 0o600);
    }
    for (path, is_withheld) in
        [("conf.d/n.toml", true), ("beside/link", true), ("conf.d/notes", false), ("beside/n.toml", false)]
    {
        let found = reserved.withholds(&Opened::file(&at(path)).unwrap());
        assert_eq!(found.is_some(), is_withheld, "{path}: {found:?}");
    }
}

#[test]
fn memory_and_devices_are_nobodys() {
    let reserved = Reserved::default();
    let mine = format!("/proc/{}/status", std::process::id());
    for path in [&*mine, "/proc/self/status", "/proc/thread-self/status", "/proc/1/status"] {
        assert!(reserved.withholds(&Opened::file(Path::new(path)).unwrap()).is_some(), "{path}");
    }
    for path in ["/proc", "/dev", "/proc/self/task"] {
        assert!(reserved.withholds(&Opened::folder(Path::new(path)).unwrap()).is_some(), "{path}");
    }
    assert_eq!(reserved.withholds(&Opened::file(Path::new("/proc/loadavg")).unwrap()), None);
}
