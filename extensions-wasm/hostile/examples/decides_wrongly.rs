//! Decides of packets as no extension may: written from the contract alone, without the
//! SDK, which would not let it.
//!
//! The parameter says how: of a packet that is not there (`beyond`), of one twice
//! (`twice`), of the last one first (`backwards`), or of the one behind its last, as if it
//! were that which another extension decided (`decided`).

#![allow(
    missing_docs,
    reason = "the bindings are generated from wit/packet.wit, which documents them"
)]

use std::sync::Mutex;

wit_bindgen::generate!({ path: "../../wit", world: "stateless" });

use exports::ipqext::packet::extension::{
    Batch, Context, Description, Guest as Extension, Outcome,
};
use ipqext::packet::types::{Decision, Edits, Needs, OnFault, Verdict, Verdicts};

/// The parameters: which way.
static HOW: Mutex<String> = Mutex::new(String::new());

struct DecidesWrongly;

impl Extension for DecidesWrongly {
    fn describe() -> Description {
        Description {
            name: "decides-wrongly".to_owned(),
            version: "0.1.0".to_owned(),
            summary: "Decides of packets as no extension may".to_owned(),
            needs: Needs {
                snap_length: 0,
                edits: Edits::None,
                verdicts: Verdicts::DROP,
                mark_mask: 0,
                on_fault: OnFault::Pass,
            },
        }
    }

    fn init(context: Context) -> Result<(), String> {
        *HOW.lock().map_err(|error| error.to_string())? = context.params;
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

    fn proc(batch: Batch) -> Outcome {
        let how = HOW.lock().map(|how| how.clone()).unwrap_or_default();
        let count = batch.packets.len() as u32;
        let named = match &*how {
            "beyond" => vec![u32::MAX],
            "twice" => vec![0, 0],
            "decided" => vec![count],
            _ => vec![count - 1, 0],
        };
        let decisions = named.into_iter().map(|packet| Decision {
            packet,
            verdict: Verdict::Drop,
            mark: None,
        });
        Outcome {
            decisions: decisions.collect(),
            edits: Vec::new(),
            bytes: Vec::new(),
        }
    }
}

#[cfg(target_family = "wasm")]
export!(DecidesWrongly);
