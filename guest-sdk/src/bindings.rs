//! The contract with the host as generated from `wit/packet.wit`.
//!
//! The other modules translate these types to the SDK's own, so that a new
//! version of the contract need not change a line that an author wrote.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::undocumented_unsafe_blocks,
    reason = "generated code"
)]

wit_bindgen::generate!({
    path: "../wit",
    world: "stateless",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "ipqext_sdk::bindings",
});

/// The interface of those whose state can be carried over, which stands beside the
/// other one in what such an extension exports.
pub mod state {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package ipqext:sdk;

            world state {
                export ipqext:packet/state@0.1.0;
            }
        ",
        pub_export_macro: true,
        export_macro_name: "export_state",
        default_bindings_module: "ipqext_sdk::bindings::state",
    });
}
