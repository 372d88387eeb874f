//! Unmodified output of wit-bindgen for `wit/`. The modules of this crate wrap it; use it directly for
//! anything they lack.
//!
//! The world names every interface that a host may offer. A component imports only the interfaces of which a
//! function remains after linking, so a plugin that never opens a store needs no grant for one.

#![allow(missing_docs, unreachable_pub, clippy::all)]

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package lictor:sdk;
        world all {
            include lictor:plugin/worker-plugin@0.1.0;
            import lictor:plugin/state@0.1.0;
            import lictor:plugin/files@0.1.0;
            import lictor:plugin/call@0.1.0;
            import lictor:plugin/events@0.1.0;
            import wasi:config/store@0.2.0-rc.1;
            import wasi:logging/logging@0.1.0-draft;
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
            import wasi:clocks/monotonic-clock@0.2.0;
            import wasi:clocks/wall-clock@0.2.0;
            import wasi:random/random@0.2.0;
            import wasi:http/outgoing-handler@0.2.0;
        }
    ",
    generate_all,
    pub_export_macro: true,
    default_bindings_module: "lictor_plugin::bindings",
});
