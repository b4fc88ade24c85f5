//! Passes every packet, and can save its state: written from the contract alone,
//! without the SDK, as an author in another language would.

#![allow(
    missing_docs,
    reason = "the bindings are generated from wit/packet.wit, which documents them"
)]

wit_bindgen::generate!({ path: "../../wit", world: "stateful" });

use exports::ipqext::packet::extension::{
    Batch, Context, Description, Guest as Extension, Outcome,
};
use exports::ipqext::packet::state::Guest as State;
use ipqext::packet::types::{Edits, Needs, OnFault, Verdicts};

struct Stateful;

impl Extension for Stateful {
    fn describe() -> Description {
        Description {
            name: "stateful".to_owned(),
            version: "1.2.3".to_owned(),
            summary: "Passes every packet, and can save its state".to_owned(),
            needs: Needs {
                snap_length: 0,
                edits: Edits::None,
                verdicts: Verdicts::empty(),
                mark_mask: 0,
                on_fault: OnFault::Pass,
            },
        }
    }

    fn init(_context: Context) -> Result<(), String> {
        Ok(())
    }

    fn fini() -> Result<(), String> {
        Ok(())
    }

    fn start() -> Result<(), String> {
        Ok(())
    }

    fn stop() -> Result<(), String> {
        Ok(())
    }

    fn reset() -> Result<(), String> {
        Ok(())
    }

    fn info() -> Option<String> {
        None
    }

    fn help() -> Option<String> {
        None
    }

    fn proc(_batch: Batch) -> Outcome {
        Outcome {
            decisions: Vec::new(),
            edits: Vec::new(),
            bytes: Vec::new(),
        }
    }
}

impl State for Stateful {
    fn save() -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn restore(_version: String, _parts: Vec<Vec<u8>>) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(target_family = "wasm")]
export!(Stateful);
