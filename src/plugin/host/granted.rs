//! The grants of a plugin with all that host functions need to use them.

use std::sync::Arc;

use wasmtime_wasi_config::WasiConfigVariables;

use super::grants::Grants;
use super::http::{Gate, Web};
use super::topics::Topics;
use crate::files::Reserved;

/// The grants of one plugin in the form that host functions use.
pub(in crate::plugin) struct Granted {
    pub(super) grants: Grants,
    pub(super) config: WasiConfigVariables,
    /// Paths to which no file and no folder may lead.
    pub(super) reserved: Arc<Reserved>,
    pub(super) topics: Arc<Topics>,
    pub(super) http: Option<Arc<Gate>>,
}

impl Grants {
    pub(in crate::plugin) fn prepare(
        &self,
        web: &Arc<Web>,
        topics: &Arc<Topics>,
        reserved: &Arc<Reserved>,
    ) -> Granted {
        let config = self.config.iter().flat_map(|settings| &settings.0);
        Granted {
            config: config.map(|(key, value)| (key.clone(), value.clone())).collect(),
            reserved: Arc::clone(reserved),
            topics: Arc::clone(topics),
            http: self.http.as_ref().map(|grant| Arc::new(Gate::new(grant, Arc::clone(web)))),
            grants: self.clone(),
        }
    }
}
