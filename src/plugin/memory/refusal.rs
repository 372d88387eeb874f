//! Refusals of memory to an instance: the reason and the remedy.

use std::fmt;

/// The reason why a memory or a table did not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum MemoryRefusal {
    /// The instance's limit is this many bytes.
    Own(usize),
    /// A table's limit is this many elements.
    Table(usize),
    /// The instance's limit is this many bytes, too few for the memory that the host holds for it.
    Held(usize),
    /// The module declares a maximum of this many bytes for this memory.
    Declared(usize),
    /// The module declares a maximum of this many elements for this table.
    DeclaredTable(usize),
    /// The budget of all instances is used up.
    Server,
}

pub(in crate::plugin) const RAISE_PLUGIN_MEMORY: &str =
    "raise `plugin_memory` and `process_memory` of [limits] as far as the machine has memory";

const RAISE_MEMORY: &str = "raise `memory` of the plugin, or `--memory` of the command line";

impl MemoryRefusal {
    /// Returns the remedy.
    pub(in crate::plugin) fn advice(self) -> &'static str {
        match self {
            Self::Own(_) | Self::Held(_) => RAISE_MEMORY,
            Self::Table(_) => "the bound is fixed: let it use several tables, or memory",
            Self::Declared(_) => "build it with a larger maximum, or none: `--max-memory` of its linker",
            Self::DeclaredTable(_) => "build it with a larger maximum of that table, or none",
            Self::Server => RAISE_PLUGIN_MEMORY,
        }
    }
}

/// The predicate of a sentence about the plugin.
impl fmt::Display for MemoryRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(max) => write!(f, "needed more than its {max} bytes of memory"),
            Self::Held(max) => write!(
                f,
                "needed more than its {max} bytes of memory, with what the host holds for its handles"
            ),
            Self::Table(max) => write!(f, "needed more than {max} elements in a table"),
            Self::Declared(max) => {
                write!(f, "needed more than the {max} bytes of memory that it declares as its most")
            }
            Self::DeclaredTable(max) => {
                write!(f, "needed more than the {max} elements of a table that it declares as its most")
            }
            Self::Server => f.write_str("needed more memory than the server has left for plugins"),
        }
    }
}
