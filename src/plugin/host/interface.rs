//! One interface of the host: its names, its functions, and the grant that it needs.

use wasmtime::component::Linker;

use super::context::HostState;
use super::grants::Grants;

/// The config table, of the plugin `NAME`, for all grants but the plugin's own config.
pub(in crate::plugin) const GRANTS_TABLE: &str = "[plugins.NAME.grants]";

/// Functions of the host that plugins import under these names.
pub(in crate::plugin) struct Interface {
    /// Names of the imports, without their version. Empty if it only replaces functions of another interface.
    pub(in crate::plugin) names: &'static [&'static str],
    /// Major and minor version of their package.
    pub(in crate::plugin) version: (u64, u64),
    /// The grant that a plugin needs for it; `None` if every plugin has it.
    pub(in crate::plugin) grant: Option<Grant>,
    /// Adds its functions to a linker.
    pub(super) link: fn(&mut Linker<HostState>) -> wasmtime::Result<()>,
}

/// The grant that an interface needs.
#[derive(Clone, Copy)]
pub(in crate::plugin) struct Grant {
    /// Lines to write below `[plugins.NAME]` to grant it, `NAME` being the plugin's.
    pub(in crate::plugin) lines: &'static str,
    /// Returns true if these grants contain it.
    pub(super) is_in: fn(&Grants) -> bool,
}

impl Interface {
    /// Returns true if a plugin with `grants` may use it.
    pub(in crate::plugin) fn is_granted(&self, grants: &Grants) -> bool {
        self.grant.is_none_or(|grant| (grant.is_in)(grants))
    }
}
