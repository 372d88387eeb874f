//! Host bindings of the worlds of plugins, generated from `wit/`.

#![allow(missing_docs, reason = "generated; the documentation stands in wit/")]

wasmtime::component::bindgen!({
    path: "wit",
    world: "plugin",
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});

/// Bindings of `world streaming-plugin`, sharing the interfaces that both worlds import.
pub(super) mod streaming {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "streaming-plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "lictor:plugin/types": super::lictor::plugin::types,
            "lictor:plugin/request": super::lictor::plugin::request,
            "lictor:plugin/output": super::lictor::plugin::output,
        },
    });
}
