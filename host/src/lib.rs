//! `ipqext-host` as a library: the daemon's parts, in the order in which a packet
//! meets them. `ARCHITECTURE.md` tells the way of one packet.
//!
//! | module | job |
//! | --- | --- |
//! | [`packet`] | packets, batches, verdicts: plain values |
//! | [`source`] | where packets come from and verdicts go |
//! | [`worker`] | one thread per queue |
//! | [`chain`] | many decisions become one verdict |
//! | [`runtime`] | the sandbox, on wasmtime |
//! | [`replay`] | captures through a chain, and two versions compared |
//! | [`embed`] | the sandbox for other programs |
//! | [`mod@bench`] | what an extension costs |
//! | [`shadow`] | another version beside the running one, compared |
//! | [`registry`] | the directory of extensions |
//! | [`event`] | all that can happen to the supervisor |
//! | [`supervisor`] | owns extensions, generations and workers |
//! | [`control`] | the control socket |
//! | [`links`] | the network devices |
//! | [`trace`] | watching packets |
//! | [`capture`] | capture files |
//! | [`telemetry`] | counters and the log |
//! | [`rules`] | firewall rules that send packets to a queue |
//! | [`doctor`] | what is wrong with this machine's queues |
//! | [`handover`] | what a daemon and the one that takes its place say |
//! | [`systemd`] | what a service manager is told, and keeps |
//! | [`config`] | the configuration file |
//! | [`cases`] | an author's tests of a compiled extension |
//! | [`daemon`], [`cli`] | wiring, and the daemon's command line |
//! | [`client`], [`socket_path`] | the client's command line |
//! | [`params`], [`completion`], `document`, `number`, `processors`, `queues`, `units` | what operators write, in command lines and files |
//! | `summary`, `backtrace` | packets and faults, for people |

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod backtrace;
pub mod bench;
pub mod capture;
pub mod cases;
pub mod chain;
pub mod cli;
pub mod client;
pub mod completion;
pub mod config;
pub mod control;
pub mod daemon;
pub mod doctor;
mod document;
pub mod embed;
pub mod event;
pub mod handover;
pub mod links;
mod number;
pub mod packet;
pub mod params;
mod processors;
mod queues;
pub mod registry;
pub mod replay;
pub mod rules;
pub mod runtime;
pub mod shadow;
pub mod socket_path;
pub mod source;
mod summary;
pub mod supervisor;
pub mod systemd;
pub mod telemetry;
pub mod trace;
mod units;
pub mod worker;

pub use embed::{BuildError, Chain, ChainBuilder, Extension};
