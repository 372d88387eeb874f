//! Debug files crafted against their reader: each costs the places that it would provide, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::certs::Identity;
use testkit::components::Minimal;
use testkit::server::{Server, Setup};

use crate::{assert_serves, tell_memory};

/// Most that the server may grow through work in another process.
const GROWTH_KIB: u64 = 48 << 10;

/// Sections of debug information, by name.
type Sections = Vec<(&'static str, Vec<u8>)>;

/// Makes a plugin that traps in `name`, with these sections in its debug file.
fn forged(folder: &Path, name: &str, sections: &Sections) -> PathBuf {
    let escaped = |bytes: &[u8]| {
        let mut text = String::with_capacity(bytes.len() * 3);
        for byte in bytes {
            text.extend(['\\', hex(byte >> 4), hex(byte & 15)]);
        }
        text
    };
    let customs: String =
        sections.iter().map(|(name, bytes)| format!("(@custom {name:?} \"{}\")\n", escaped(bytes))).collect();
    let plain = || Minimal::new(&[name]).handling_by("unreachable");
    let component = plain().write(folder, name);
    let debug = component.with_extension("wasm.debug");
    fs::write(debug, plain().in_its_module(&customs, "").bytes()).unwrap();
    component
}

fn hex(digit: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(digit)])
}

/// Builds one unit: `entries` encoded by `abbreviations`, for code from its beginning.
fn unit(abbreviations: &[u8], entries: &[u8]) -> Sections {
    const HEADER: [u8; 7] = [4, 0, 0, 0, 0, 0, 4];
    const ROOT: [u8; 13] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0];
    let length = (HEADER.len() + ROOT.len() + entries.len()) as u32;
    let info = [&length.to_le_bytes()[..], &HEADER, &ROOT, entries].concat();
    // A unit with its line table and its code, then the abbreviations for `entries`.
    let root = [1, 0x11, 1, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0];
    vec![(".debug_abbrev", [&root[..], abbreviations, &[0]].concat()), (".debug_info", info)]
}

/// Builds the line table of one file from this program.
fn lines(program: &[u8]) -> Vec<u8> {
    let header =
        [&[1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1][..], b"\0a.c\0\0\0\0\0"].concat();
    let counted = [&[4, 0], &(header.len() as u32).to_le_bytes()[..], &header, program].concat();
    [&(counted.len() as u32).to_le_bytes()[..], &counted].concat()
}

/// A row at the beginning of the code, so that its functions are looked up.
const ONE_ROW: &[u8] = &[0, 5, 2, 0, 0, 0, 0, 1, 2, 0x80, 1, 0, 1, 1];

/// Builds a function with inlined functions, each within the one before.
fn deep() -> Sections {
    const DEPTH: usize = 200_000;
    let function = [2, 0x2e, 1, 0x11, 0x01, 0x12, 0x06, 0, 0];
    let inlined = [3, 0x1d, 1, 0x11, 0x01, 0x12, 0x06, 0, 0];
    let mut entries = vec![2, 0, 0, 0, 0, 0xff, 0, 0, 0];
    for _ in 0..DEPTH {
        entries.extend([3, 0, 0, 0, 0, 0xff, 0, 0, 0]);
    }
    let mut sections = unit(&[function, inlined].concat(), &entries);
    sections.push((".debug_line", lines(ONE_ROW)));
    sections
}

/// Builds one row per byte: each a byte of code further, with the next line.
fn long() -> Sections {
    const ROWS: usize = 12 << 20;
    let mut program = vec![0, 5, 2, 0, 0, 0, 0];
    program.resize(ROWS, 33);
    program.extend([0, 1, 1]);
    let mut sections = unit(&[], &[]);
    sections.push((".debug_line", lines(&program)));
    sections
}

/// Builds a function whose name refers to itself.
fn circle() -> Sections {
    let function = [2, 0x2e, 0, 0x11, 0x01, 0x12, 0x06, 0x31, 0x13, 0, 0];
    let entry = [2, 0, 0, 0, 0, 0xff, 0, 0, 0, 24, 0, 0, 0];
    let mut sections = unit(&function, &entry);
    sections.push((".debug_line", lines(ONE_ROW)));
    sections
}

fn junk() -> Sections {
    [".debug_abbrev", ".debug_info", ".debug_line", ".debug_str", ".debug_ranges", ".debug_aranges"]
        .map(|name| (name, (0..999_u32).map(|byte| ((byte * 89) >> 3) as u8).collect()))
        .to_vec()
}

fn warnings_of_long(server: &Server) -> usize {
    let log = server.log();
    let is_it = |words: &str| words.contains("the debug file of the plugin `long` is not used");
    log.iter().filter(|entry| entry.text("warning").is_some_and(is_it)).count()
}

#[test]
fn debug_files_against_their_reader_cost_the_places_alone() {
    let tester = Identity::new("tester");
    let forgeries = [
        ("junk", junk(), Some("its debug information is damaged")),
        ("deep", deep(), Some("it makes the compiler overflow its stack")),
        ("long", long(), Some("it takes more than compile_memory")),
        ("circle", circle(), None),
    ];
    let mut setup = Setup::new().master("tester", &tester).echo();
    setup = setup.section("[limits]\ncompile_memory = \"320MiB\"\ncompile_time = \"20s\"");
    for (name, sections, _) in &forgeries {
        let component = forged(setup.folder(), name, sections);
        setup = setup.plugin(name, &component, &[name], "");
    }
    let server = setup.start();
    // A first call makes the pages resident that any call needs.
    assert_serves(&server, &tester);
    let before = server.settled_kib();
    for (name, _, words) in forgeries {
        let begin = format!("the debug file of the plugin `{name}` is not used: ");
        let is_told = |entry: &testkit::server::Entry| {
            entry.text("warning").is_some_and(|warning| warning.contains(&begin))
        };
        match words {
            Some(words) => {
                let told = server.wait_for_log(name, is_told);
                assert!(told.text("warning").unwrap().contains(words), "{told:?}");
            }
            None => assert!(!server.log().iter().any(is_told), "{name}"),
        }
        assert_eq!(server.connect(&tester).ask_framed(name).failure(), ("plugin-trapped", "unknown"));
        let broke = server.wait_for_log(name, |entry| {
            entry.message() == "plugin broke off" && entry.text("plugin") == Some(name)
        });
        assert_eq!(broke.text("at").is_some(), words.is_none(), "{broke:?}");
    }
    // A file that stays the same is not read again.
    let refused = || {
        let metrics = server.connect(&tester).ask("@status metrics");
        let line = metrics.lines().find(|line| line.starts_with("lictor_compile_memory_used_up_total "));
        line.expect("the metric is there").to_owned()
    };
    let (refused_before, warned_before) = (refused(), warnings_of_long(&server));
    assert_eq!(refused_before, "lictor_compile_memory_used_up_total 1");
    let commands = "commands = [\"long\"]\n";
    server.edit(|text| text.replace(commands, &format!("{commands}timeout = \"4s\"\n")));
    server.signal("HUP");
    server.wait_for_log("the reload", |entry| entry.message() == "reloaded");
    testkit::eventually("the warning", || (warnings_of_long(&server) > warned_before).then_some(()));
    assert_eq!(refused(), refused_before);
    tell_memory(&server, before);
    assert!(server.resident_kib() < before + GROWTH_KIB);
    assert_serves(&server, &tester);
}
