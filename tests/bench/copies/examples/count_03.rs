//! `count` under another name.

#[path = "../../../../extensions-wasm/count/src/lib.rs"]
mod count;
