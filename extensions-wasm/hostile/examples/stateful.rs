//! Passes every packet, and can save its state: written from the contract alone,
//! without the SDK, as an author in another language would. Its parameter says which
//! misdeed its `save` and `restore` are.

#![allow(
    missing_docs,
    reason = "the bindings are generated from wit/packet.wit, which documents them"
)]

use std::sync::Mutex;

wit_bindgen::generate!({ path: "../../wit", world: "stateful" });

use exports::ipqext::packet::extension::{
    Batch, Context, Description, Guest as Extension, Outcome,
};
use exports::ipqext::packet::state::Guest as State;
use ipqext::packet::types::{Edits, Needs, OnFault, Verdicts};

/// The parameters: which misdeed.
static MISDEED: Mutex<String> = Mutex::new(String::new());

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

    fn init(context: Context) -> Result<(), String> {
        *MISDEED.lock().map_err(|error| error.to_string())? = context.params;
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
        commit("save");
        let (start, length): (usize, usize) = match &*misdeed() {
            "beyond" => (0x7fff_0000, 4096),
            "long" => (1, 0x7fff_ffff),
            _ => return Ok(Vec::new()),
        };
        // SAFETY: none. The vector goes to the host as it is, which has to see through it.
        Ok(unsafe { Vec::from_raw_parts(start as *mut u8, length, length) })
    }

    fn restore(_version: String, _parts: Vec<Vec<u8>>) -> Result<(), String> {
        commit("restore");
        Ok(())
    }
}

fn misdeed() -> String {
    MISDEED
        .lock()
        .map(|misdeed| misdeed.clone())
        .unwrap_or_default()
}

fn commit(function: &str) {
    match &*misdeed() {
        "panics" => panic!("{function} is too much"),
        "loops" => loop {
            std::hint::black_box(());
        },
        _ => {}
    }
}

#[cfg(target_family = "wasm")]
export!(Stateful);
