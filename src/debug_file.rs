//! Separation of debug information: `NAME.wasm.debug` is the component as its tools made it, `NAME.wasm` the
//! same without debug information.
//!
//! So the two match if the former without its debug information equals the latter, byte for byte; and
//! WebAssembly tools read the debug file as any component.

use std::ops::Range;

use anyhow::{Result, bail};
use wasm_encoder::{CustomSection, RawSection, Section as _};
use wasmparser::BinaryReader;

/// Prefix of the names of debug sections.
const DEBUG: &str = ".debug_";

/// Section of a debug file that names the folder of the author's files.
const SOURCE_ROOT: &str = "lictor.source-root";

/// Maximum nesting of components: more than any tool produces.
const MAX_DEPTH: u32 = 32;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const HEADER_BYTES: usize = 8;

/// Section ids: custom sections, code, and the sections of a component that hold a core module or a
/// component.
const CUSTOM: u8 = 0;
const CODE: u8 = 10;
const MODULE: u8 = 1;
const NESTED: u8 = 4;

/// A component, and the contents of its debug file, if it has debug information.
#[derive(Debug)]
pub struct Built {
    /// The component, without debug information.
    pub component: Vec<u8>,
    /// The debug file's bytes.
    pub debug: Option<Vec<u8>>,
}

/// A component separated from its debug information.
#[derive(Debug, Default)]
pub struct Split<'a> {
    /// The component without debug information.
    pub bare: Vec<u8>,
    /// Its core modules, as found in the file.
    pub modules: Vec<Module<'a>>,
    /// The folder of the author's files.
    pub source_root: Option<&'a str>,
}

/// A core module's code and its debug information.
#[derive(Debug, Default)]
pub struct Module<'a> {
    /// Position of the code section's content in the file. Addresses in debug information are relative to its
    /// start.
    pub code: Range<usize>,
    /// The debug sections, with their names.
    pub debug: Vec<(&'a str, &'a [u8])>,
}

/// Returns true if these bytes begin like a component.
pub(crate) fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(COMPONENT)
}

/// Separates the debug information from the component `whole`, which was built from files in the folder
/// `source_root`.
pub(crate) fn strip(whole: &[u8], source_root: &str) -> Result<Built> {
    let Split { bare, modules, .. } = split(whole)?;
    let debug = modules.iter().any(|module| !module.debug.is_empty()).then(|| {
        let mut debug = whole.to_vec();
        let root = source_root.as_bytes().into();
        CustomSection { name: SOURCE_ROOT.into(), data: root }.append_to(&mut debug);
        debug
    });
    Ok(Built { component: bare, debug })
}

/// Separates a component's debug information. Reads only the positions of sections, not their contents.
///
/// # Errors
///
/// The bytes are no component, or its sections exceed it.
pub fn split(component: &[u8]) -> Result<Split<'_>> {
    if !is_component(component) {
        bail!("it is no component");
    }
    let mut split = Split::default();
    split.bare = bare((component, 0), MAX_DEPTH, &mut split)?;
    Ok(split)
}

/// Returns the component or core module in `bytes`, at offset `at` of the file, without debug information.
fn bare<'a>((bytes, at): (&'a [u8], usize), depth: u32, split: &mut Split<'a>) -> Result<Vec<u8>> {
    let is_component = is_component(bytes);
    if depth == 0 || !(is_component || bytes.starts_with(CORE_MODULE)) {
        bail!("it holds something that is neither a component nor a core module, or is nested too deep");
    }
    let mut kept = bytes[..HEADER_BYTES].to_vec();
    let mut module = Module::default();
    for (id, range) in sections(bytes)? {
        let content = &bytes[range.clone()];
        match id {
            MODULE | NESTED if is_component => {
                let inner = bare((content, at + range.start), depth - 1, split)?;
                RawSection { id, data: &inner }.append_to(&mut kept);
                continue;
            }
            CUSTOM => {
                let (name, data) = custom(content)?;
                if !is_component && name.starts_with(DEBUG) {
                    module.debug.push((name, data));
                    continue;
                }
                if is_component && name == SOURCE_ROOT {
                    split.source_root = std::str::from_utf8(data).ok();
                    continue;
                }
            }
            CODE if !is_component => module.code = at + range.start..at + range.end,
            _ => {}
        }
        RawSection { id, data: content }.append_to(&mut kept);
    }
    if !is_component {
        split.modules.push(module);
    }
    Ok(kept)
}

/// The id and range of each section.
fn sections(bytes: &[u8]) -> Result<Vec<(u8, Range<usize>)>> {
    let mut reader = BinaryReader::new(bytes, 0);
    reader.read_bytes(HEADER_BYTES)?;
    let mut found = Vec::new();
    while !reader.eof() {
        let id = reader.read_u8()?;
        let size = reader.read_var_u32()? as usize;
        let start = bytes.len() - reader.bytes_remaining();
        reader.read_bytes(size)?;
        found.push((id, start..start + size));
    }
    Ok(found)
}

/// The name and contents of a custom section.
fn custom(section: &[u8]) -> Result<(&str, &[u8])> {
    let mut reader = BinaryReader::new(section, 0);
    let name = reader.read_string()?;
    Ok((name, &section[section.len() - reader.bytes_remaining()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Sections = [(&'static str, &'static [u8])];

    const BARE: &Sections = &[("name", b"functions")];

    const WHOLE: &Sections = &[(".debug_info", b"units"), ("name", b"functions"), (".debug_line", &[7; 300])];

    fn module(sections: &Sections) -> Vec<u8> {
        let mut module = CORE_MODULE.to_vec();
        for (name, data) in sections {
            CustomSection { name: (*name).into(), data: (*data).into() }.append_to(&mut module);
        }
        RawSection { id: CODE, data: &[0] }.append_to(&mut module);
        module
    }

    /// A component that contains a core module and a component with another one.
    fn component(sections: &Sections) -> Vec<u8> {
        let mut inner = COMPONENT.to_vec();
        RawSection { id: MODULE, data: &module(sections) }.append_to(&mut inner);
        let mut component = COMPONENT.to_vec();
        RawSection { id: NESTED, data: &inner }.append_to(&mut component);
        RawSection { id: MODULE, data: &module(sections) }.append_to(&mut component);
        component
    }

    #[test]
    fn a_component_without_its_debug_information_is_as_if_it_never_had_any() {
        let whole = component(WHOLE);
        let built = strip(&whole, "/home/ada/greet").unwrap();
        assert_eq!(built.component, component(BARE));
        let debug = built.debug.unwrap();
        assert!(debug.starts_with(&whole));
        let split = split(&debug).unwrap();
        assert_eq!(split.bare, component(BARE));
        assert_eq!(split.source_root, Some("/home/ada/greet"));
        assert_eq!(split.modules.len(), 2);
        for module in &split.modules {
            assert_eq!(debug[module.code.clone()], [0]);
            assert_eq!(module.debug, [(".debug_info", &b"units"[..]), (".debug_line", &[7; 300])]);
        }
        let again = strip(&built.component, "/elsewhere").unwrap();
        assert!(again.debug.is_none() && again.component == component(BARE));
    }

    #[test]
    fn what_is_cut_off_or_nested_without_end_is_no_component() {
        let whole = component(WHOLE);
        for length in 0..whole.len() {
            // Sections at the end may be missing as a whole.
            if let Ok(split) = split(&whole[..length]) {
                assert!(split.modules.len() < 2, "{length}");
            }
        }
        let mut nested = COMPONENT.to_vec();
        for _ in 0..MAX_DEPTH {
            let mut around = COMPONENT.to_vec();
            RawSection { id: NESTED, data: &nested }.append_to(&mut around);
            nested = around;
        }
        assert!(split(&nested).is_err());
        assert!(split(&module(WHOLE)).is_err() && split(b"").is_err());
    }
}
