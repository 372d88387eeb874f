//! The materials and tools of authors' projects: the kits' files, C bindings, and components.
//!
//! Knows nothing of the server, the config or the sandbox: names and bytes in, names and bytes out.

mod component;
mod debug;
mod project;
mod seal;

pub use component::{File, c_bindings, componentize};
pub use debug::{Built, Module, Parted, parted};
pub use project::{Language, ProjectFile, project};
pub use seal::seal;
