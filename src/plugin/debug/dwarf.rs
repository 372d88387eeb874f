//! Makes a table of places from debug information: DWARF that a component's author generated or wrote.
//!
//! Invariant: runs in the compiler's process and nowhere else. Crafted input can take all memory, all time or
//! the stack; only the bounds on that process stop it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use addr2line::gimli::{self, Dwarf, EndianSlice, LittleEndian, SectionId};
use addr2line::{Context, Frame, Location};

use super::backtrace::{readable, shortened};
use super::places::{ELSEWHERE, MAX_INLINED, Place, Table};
use crate::debug_file::{self, Module};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// Files and folders of the author's folder that belong to the kits and the tools.
const KITS: [&str; 7] = ["lictor", "lictor.c", "lictor.h", "lictor_clock.c", "build", "target", ".tools"];

/// Stands for a function without a name.
const UNKNOWN: &str = "<unknown>";

/// Names that are kept of a path that leads elsewhere: a whole path would reveal the machine that built it.
const KEPT_NAMES: usize = 3;

/// Makes the table of places of `component` from its debug file.
///
/// # Errors
///
/// The fault in the debug file, in words that quote nothing of it.
pub(in crate::plugin) fn places(component: &[u8], debug: &[u8]) -> Result<Vec<u8>, String> {
    let damaged = |_| "it is damaged".to_owned();
    let with = debug_file::split(debug).map_err(damaged)?;
    if with.bare != component {
        return Err("it is of another build than the component".to_owned());
    }
    let without = debug_file::split(component).map_err(damaged)?;
    let mut table = Table::default();
    for (module, bare) in with.modules.iter().zip(&without.modules) {
        let at = u32::try_from(bare.code.start).map_err(|_| "its component is too large".to_owned())?;
        add(module, at, with.source_root, &mut table)
            .map_err(|error| format!("its debug information is damaged: {error}"))?;
    }
    table.into_bytes().ok_or_else(|| "it tells of more places than are kept".to_owned())
}

/// Adds the places of one core module, whose code section's content begins `at` bytes into the component.
fn add(module: &Module<'_>, at: u32, root: Option<&str>, table: &mut Table) -> Result<(), gimli::Error> {
    let code_bytes = module.code.len() as u64;
    let context = Context::from_dwarf(dwarf(module)?)?;
    let (mut functions, mut files) = (Known::default(), Known::default());
    for (start, length, location) in context.find_location_range(0, code_bytes)? {
        let end = start.saturating_add(length).min(code_bytes);
        let chain: Vec<_> = chain(&context, start, location)
            .into_iter()
            .map(|(function, location)| {
                let file = location.as_ref().and_then(|location| location.file).unwrap_or_default();
                let line = location.as_ref().and_then(|location| location.line).unwrap_or(0);
                let function = shown(&mut functions, function, readable);
                (function, shown(&mut files, file.to_owned(), |file| shown_path(file, root)), line)
            })
            .collect();
        let places: Vec<_> =
            chain.iter().map(|(function, file, line)| Place { function, file, line: *line }).collect();
        let in_file = |offset: u64| u32::try_from(offset).unwrap_or(u32::MAX).saturating_add(at);
        table.add((in_file(start), in_file(end)), &places);
    }
    Ok(())
}

/// Names in debug information, with the form that is shown: a few names occur many times.
type Known = HashMap<String, Rc<str>>;

fn shown(known: &mut Known, name: String, show: impl Fn(&str) -> String) -> Rc<str> {
    if let Some(shown) = known.get(&name) {
        return Rc::clone(shown);
    }
    let shown: Rc<str> = show(&name).into();
    known.insert(name, Rc::clone(&shown));
    shown
}

fn dwarf<'a>(module: &Module<'a>) -> Result<Dwarf<Bytes<'a>>, gimli::Error> {
    let section = |id: SectionId| module.debug.iter().find(|(name, _)| *name == id.name());
    Dwarf::load(|id| Ok(Bytes::new(section(id).map_or(&[][..], |(_, bytes)| *bytes), LittleEndian)))
}

/// Returns the functions at `address`, each inlined into the next, and the location in each. If no function
/// is known, only `location` is.
fn chain<'a>(
    context: &'a Context<Bytes<'_>>,
    address: u64,
    location: Location<'a>,
) -> Vec<(String, Option<Location<'a>>)> {
    let mut found = Vec::new();
    if let Ok(mut frames) = context.find_frames(address).skip_all_loads() {
        while let Ok(Some(Frame { function, location, .. })) = frames.next() {
            let name = function.and_then(|function| function.raw_name().ok().map(Cow::into_owned));
            found.push((name.unwrap_or_else(|| UNKNOWN.to_owned()), location));
            if found.len() == MAX_INLINED {
                break;
            }
        }
    }
    if found.is_empty() {
        found.push((UNKNOWN.to_owned(), Some(location)));
    }
    found
}

/// Shows the path of a file as its author knows it: from the folder `root`, or, if it is elsewhere, its last
/// names.
fn shown_path(file: &str, root: Option<&str>) -> String {
    let below = root.and_then(|root| file.strip_prefix(root)?.strip_prefix('/'));
    let relative = (!file.starts_with('/')).then_some(file);
    let own = below.or(relative).map(|path| path.trim_start_matches("./"));
    match own {
        Some(own) if !KITS.contains(&own.split('/').next().unwrap_or_default()) => shortened(own),
        own => {
            let path = own.unwrap_or(file);
            let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
            let last = &names[names.len().saturating_sub(KEPT_NAMES)..];
            shortened(format!("{ELSEWHERE}{}", last.join("/")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::plugin::debug::places::Places;

    /// A component of one function, which does nothing at byte 3 of its code and traps at byte 4; its core
    /// module has these sections.
    fn component(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
        let custom = |(name, bytes): &(&str, &[u8])| format!("(@custom {name:?} \"{}\")", escaped(bytes));
        let customs: String = sections.iter().map(custom).collect();
        wat::parse_str(format!("(component (core module (func nop unreachable) {customs}))")).unwrap()
    }

    /// One unit of six bytes of code, with a line table.
    const ABBREVIATIONS: &[u8] = &[1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0];
    const UNIT: &[u8] = &[20, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0];

    /// The line table of `a.c`: line 5 from byte 3 on, and line 6 from byte 4 to byte 6.
    fn lines(program: &[u8]) -> Vec<u8> {
        let header = [
            &[1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1][..],
            b"\0/home/ada/greet/a.c\0\0\0\0\0",
        ]
        .concat();
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
        let counted = [&[4, 0], &length(header.len())[..], &header, program].concat();
        [&length(counted.len())[..], &counted].concat()
    }

    const PROGRAM: &[u8] = &[0, 5, 2, 3, 0, 0, 0, 3, 4, 1, 33, 2, 2, 0, 1, 1];

    fn told(debug: &[u8]) -> Result<[Option<String>; 4], String> {
        let bare = component(&[]);
        let places = Places::of(places(&bare, debug)?).unwrap();
        let code = debug_file::split(&bare).unwrap().modules[0].code.start;
        Ok([2, 3, 4, 6].map(|byte| places.at(code + byte).first().map(ToString::to_string)))
    }

    #[test]
    fn each_instruction_has_the_line_that_its_debug_information_says() {
        let lines = lines(PROGRAM);
        let sections = [(".debug_abbrev", ABBREVIATIONS), (".debug_info", UNIT), (".debug_line", &lines)];
        let whole = component(&sections);
        let some = |place: &str| Some(place.to_owned());
        let elsewhere = [None, some("…/ada/greet/a.c:5"), some("…/ada/greet/a.c:6"), None];
        assert_eq!(told(&whole), Ok(elsewhere));
        let debug = debug_file::strip(&whole, "/home/ada/greet").unwrap().debug.unwrap();
        assert_eq!(told(&debug), Ok([None, some("a.c:5"), some("a.c:6"), None]));
        assert_eq!(told(&component(&[])), Ok([None, None, None, None]));
        assert_eq!(told(b"").unwrap_err(), "it is damaged");
        let other = wat::parse_str("(component (core module (func nop nop)))").unwrap();
        assert_eq!(told(&other).unwrap_err(), "it is of another build than the component");
    }

    #[test]
    fn debug_information_that_is_forged_tells_nothing_and_breaks_nothing() {
        let whole = lines(PROGRAM);
        let nowhere = lines(&[0, 5, 2, 0xff, 0xff, 0xff, 0xff, 1, 2, 0x80, 0x80, 0x80, 0x80, 4, 1, 0, 1, 1]);
        let endless = [0xff; 64];
        let far = [&[0xf0, 0xff, 0xff, 0xff], &UNIT[4..]].concat();
        for (abbreviations, unit, lines) in [
            (&endless[..], UNIT, &whole[..]),
            (ABBREVIATIONS, &endless, &whole),
            (ABBREVIATIONS, &far, &whole),
            (ABBREVIATIONS, &UNIT[..9], &whole),
            (ABBREVIATIONS, UNIT, &endless),
            (ABBREVIATIONS, UNIT, &whole[..30]),
            (ABBREVIATIONS, UNIT, &nowhere),
            (&[], UNIT, &whole),
            (ABBREVIATIONS, &[], &whole),
            (ABBREVIATIONS, UNIT, &[]),
        ] {
            let sections = [(".debug_abbrev", abbreviations), (".debug_info", unit), (".debug_line", lines)];
            match told(&component(&sections)) {
                Ok(told) => assert_eq!(told, [None, None, None, None], "{sections:?}"),
                Err(words) => assert!(words.starts_with("its debug information is damaged: "), "{words}"),
            }
        }
    }

    #[test]
    fn a_path_tells_nothing_of_the_machine_that_built_it() {
        let root = Some("/home/ada/greet");
        for (file, shown) in [
            ("/home/ada/greet/src/helper.rs", "src/helper.rs"),
            ("./src/helper.rs", "src/helper.rs"),
            ("plugin.c", "plugin.c"),
            ("", ""),
            ("/home/ada/greet/lictor/sdk/rust/src/dispatch.rs", "…/rust/src/dispatch.rs"),
            ("/home/ada/greet/lictor.c", "…/lictor.c"),
            ("/home/ada/greeting/src/lib.rs", "…/greeting/src/lib.rs"),
            ("/rustc/0123/library/core/src/panicking.rs", "…/core/src/panicking.rs"),
            ("/", "…/"),
        ] {
            assert_eq!(shown_path(file, root), shown, "{file}");
        }
        assert_eq!(shown_path("/home/ada/greet/src/helper.rs", None), "…/greet/src/helper.rs");
        assert!(shown_path(&"x/".repeat(9999), root).len() < 300);
    }
}
