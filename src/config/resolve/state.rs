//! `[state]`: the engine of plugins' state, and its file.

use toml::Spanned;

use super::bounds::{held, optional};
use super::folder::Folder;
use crate::config::fields::{Field, Findings, Named};
use crate::config::limits;
use crate::config::model::State;
use crate::config::names::PluginName;
use crate::config::raw::{RawPlugin, RawState};
use crate::config::values::StateEngine;

/// Resolves `[state]`.
pub(super) fn resolve(field: &Field<RawState>, folder: &Folder, findings: &mut Findings) -> State {
    let nothing = RawState::default();
    let raw = field.value().unwrap_or(&nothing);
    let state = State {
        engine: raw.engine.value().copied().unwrap_or_default(),
        path: raw.path.given().map(|path| folder.path(path)),
        file_size: optional(&limits::STATE_FILE_SIZE, "state", &raw.file_size, findings),
        store_keys: held(&limits::STATE_STORE_KEYS, "state", &raw.store_keys, findings),
        store_bytes: held(&limits::STATE_STORE_BYTES, "state", &raw.store_bytes, findings),
    };
    let without_file = [
        ("path", raw.path.given().map(Spanned::span)),
        ("file_size", raw.file_size.given().map(Spanned::span)),
    ];
    if let (StateEngine::Sqlite, Some(path)) = (state.engine, raw.path.given()) {
        folder.look_at_state(path, findings);
    }
    match (state.engine, raw.engine.given()) {
        (StateEngine::Sqlite, Some(engine)) if raw.path.is_absent() => findings
            .error("`state.engine` \"sqlite\" needs a `path`")
            .at(engine.span(), "this engine keeps a file")
            .help("write `path = \"state/lictor.db\"` below it")
            .done(),
        (StateEngine::Memory, _) if !matches!(raw.engine, Field::Faulty) => {
            for (key, span) in without_file.into_iter().filter_map(|(key, span)| Some((key, span?))) {
                findings
                    .warning(format!("`state.{key}` has no effect: the engine \"memory\" keeps no file"))
                    .at(span, "nothing is written to a file")
                    .help(format!(
                        "write `engine = \"sqlite\"` to keep the state in a file; or leave out `{key}`"
                    ))
                    .done();
            }
        }
        _ => {}
    }
    state
}

/// Warns if plugins have stores but the file has no `[state]`: losing the stores at a restart would be a
/// surprise.
pub(super) fn warn_of_forgetting(
    state: &Field<RawState>,
    plugins: &Field<Named<PluginName, RawPlugin>>,
    findings: &mut Findings,
) {
    if !state.is_absent() {
        return;
    }
    let plugins = plugins.value().into_iter().flat_map(|named| &named.entries);
    let stores = plugins.filter_map(|(_, plugin)| plugin.get_ref().grants.value()?.keyvalue.given());
    let stores = stores.filter(|given| !given.get_ref().items.is_empty());
    if let Some(first) = stores.into_iter().next() {
        findings
            .warning("plugins lose their stores when the server stops")
            .at(first.span(), "these stores are kept in memory")
            .help("add a section [state] with `engine = \"sqlite\"` and `path = \"state/lictor.db\"`")
            .help("or with `engine = \"memory\"`, if that is meant")
            .done();
    }
}
