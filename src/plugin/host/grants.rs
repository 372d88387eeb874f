//! What a plugin was granted, and what to write in the config file for what it was not.

use std::collections::BTreeMap;

use wasmtime_wasi_config::WasiConfigVariables;

/// What a plugin may use beyond what every plugin may.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// What it reads through `wasi:config`; nothing where it may not.
    pub config: Option<BTreeMap<String, String>>,
    /// Whether it may write events into the log through `wasi:logging`.
    pub logging: bool,
}

impl Grants {
    pub(in crate::plugin) fn prepare(&self) -> Granted {
        let config = self.config.iter().flatten();
        Granted { config: config.map(|(key, value)| (key.clone(), value.clone())).collect() }
    }
}

/// The grants of one plugin in the form in which host functions use them.
pub(in crate::plugin) struct Granted {
    pub(super) config: WasiConfigVariables,
}

/// An interface that a plugin may import where it was granted.
pub(in crate::plugin) struct Grantable {
    /// The interface without its version.
    pub(in crate::plugin) interface: &'static str,
    /// Major and minor version of its package.
    pub(in crate::plugin) version: (u64, u64),
    /// Whether these grants allow it.
    pub(in crate::plugin) is_granted: fn(&Grants) -> bool,
    /// What to write below `[plugins.NAME]` to grant it, `NAME` being the plugin's.
    pub(in crate::plugin) lines: &'static str,
}

/// All of them.
pub(in crate::plugin) const GRANTABLE: &[Grantable] = &[
    Grantable {
        interface: "wasi:config/store",
        version: (0, 2),
        is_granted: |grants| grants.config.is_some(),
        lines: "[plugins.NAME.config]",
    },
    Grantable {
        interface: "wasi:logging/logging",
        version: (0, 1),
        is_granted: |grants| grants.logging,
        lines: "[plugins.NAME.grants] logging = true",
    },
];
