//! Says that its new bytes stand where it has no memory, or are more than the host takes:
//! written from the contract alone, without the SDK, which would not let it.

#![allow(
    missing_docs,
    reason = "the bindings are generated from wit/packet.wit, which documents them"
)]

use std::sync::Mutex;

wit_bindgen::generate!({ path: "../../wit", world: "stateless" });

use exports::ipqext::packet::extension::{
    Batch, Context, Description, Guest as Extension, Outcome,
};
use ipqext::packet::types::{Edits, Needs, OnFault, Verdicts};

/// The parameters: which lie.
static LIE: Mutex<String> = Mutex::new(String::new());

struct Lies;

impl Extension for Lies {
    fn describe() -> Description {
        Description {
            name: "lies".to_owned(),
            version: "0.1.0".to_owned(),
            summary: "Says that bytes stand where it has no memory".to_owned(),
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
        *LIE.lock().map_err(|error| error.to_string())? = context.params;
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
        let lie = LIE.lock().map(|lie| lie.clone()).unwrap_or_default();
        let (start, length): (usize, usize) = match &*lie {
            "beyond" => (0x7fff_0000, 4096),
            "wraps" => (0xffff_f000, 0x7fff_ffff),
            "long" => (1, 0x7fff_ffff),
            // It has that much, and the host takes less in one call.
            "much" => {
                let mut much = std::mem::ManuallyDrop::new(Vec::<u8>::with_capacity(20 << 20));
                (much.as_mut_ptr() as usize, 20 << 20)
            }
            _ => (1, 0),
        };
        // SAFETY: none. The vector goes to the host as it is, which has to see through it.
        let bytes = unsafe { Vec::from_raw_parts(start as *mut u8, length, length) };
        Outcome {
            decisions: Vec::new(),
            edits: Vec::new(),
            bytes,
        }
    }
}

#[cfg(target_family = "wasm")]
export!(Lies);
