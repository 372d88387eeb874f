//! Size of a component's definitions in its compiled code.
//!
//! Code and data of a component are mapped from a file and cost the process no memory of its own. Its
//! definitions (types, imports, functions, globals, exports, modules, instances) are decoded to the heap when
//! the code is loaded, stay there as long as the plugin, and take many times their size. The compiler's
//! process can't bound what this process decodes.

use std::fs::File;

use object::read::ReadCache;
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, elf::FileHeader64};

/// The section in which wasmtime keeps them.
const SECTION: &[u8] = b".wasmtime.info";

/// Bytes of memory that the costliest definitions take for each byte of that section, in wasmtime 48: core
/// function types of a hundred parameters take 52, empty modules 35, exports 8.
pub(super) const MEMORY_PER_BYTE: usize = 52;

/// Returns the size of this section in `code`. Reads only the section tables.
pub(super) fn size(code: &File) -> object::Result<u64> {
    let code = &ReadCache::new(code);
    let header = FileHeader64::<Endianness>::parse(code)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, code)?;
    Ok(sections.section_by_name(endian, SECTION).map_or(0, |(_, section)| section.sh_size(endian)))
}
