//! gimlet's embedded storage: one process, one directory, nothing to install.
//!
//! Serves a single node. Everything that lasts is in one [sled](https://docs.rs/sled) tree; rooms
//! and routes, which live as long as the process, are core's in-memory ones.
//!
//! # What "stored" means
//!
//! | [`Durability`] | an answered change survives | by |
//! |---|---|---|
//! | `Power` (default) | a killed process and a loss of power | sled's flush, then `fsync` of every file sled wrote to |
//! | `Process` | a killed process | sled's flush: everything is in the operating system's hands |
//!
//! `Power` reaches as far as `fsync` does: a drive that lies about it, or a disk that is lost, is
//! beyond it, and it was not tried with a real power cut. For more than one disk use the cluster
//! storage. Whatever the setting, readers see a change only when it is durable.
//!
//! # What to know
//!
//! - **One process, one directory.** A lock file says so; a second process is refused.
//! - **Space.** sled takes several times the size of the data (about seven times was measured for
//!   small messages) and does not give it back. Data is refused as full while less than
//!   [`Config::min_free`] is free; reads go on.
//! - **Memory.** Up to ten times [`Config::cache_bytes`], some 60 MiB for commits under way (`garbage`),
//!   and 25 to 35 bytes for each stored row. `--example memory` measures it.
//! - **Failures.** After an error of the disk nothing is accepted any more, and
//!   [`Health::failed`] returns: end the process and start it anew. What was answered is there.
//!
//! # How it is tried
//!
//! `cargo run --release -p gimlet-storage-sled --example kill -- --kills 300` kills a writing
//! process 300 times (one in three within 300 ms of a start, some with the flush held, bodies up to
//! 60 KiB) and compares what is left with what it had answered and shown. Its result on the
//! reference machine: 42,148 answered sends, none lost, nothing shown too early, every reopen
//! worked. `tests/syncs.rs` reads a trace of the system calls: at every answer each file that was
//! written is synced. `--example rate` prints how fast it is.
//!
//! # How it works
//!
//! One thread owns all changes (`writer`): it takes what waits, applies it as one atomic batch,
//! makes it durable once and answers everybody. Reads run on a few threads of their own (`readers`)
//! and see one durable state (`shared`). Where an inbox stands is not a row but the place of its last entry
//! (`seq`, `heads`). The keys are in `key`, the records in `gimlet.store.v1`.
//!
//! This crate knows `gimlet-core`'s seams and its own records; no socket, no service.

mod account;
mod append;
mod backup;
mod config;
mod device;
mod error;
mod expiry;
mod files;
mod friend;
mod garbage;
mod gate;
mod group;
mod heads;
mod health;
mod history;
mod inbox;
mod job;
mod key;
mod log;
mod open;
mod readers;
mod record;
mod reserve;
mod rows;
mod seq;
mod shared;
mod snapshot;
mod stamp;
mod store;
mod system;
mod txn;
mod verify;
mod writer;

pub use backup::{
    BackupError, Exported, Exporter, Frame, Reader, Restored, Writer, export_closed, restore,
};
pub use config::{Config, Durability, History};
pub use error::OpenError;
#[doc(hidden)]
pub use gate::FlushGate;
pub use health::Health;
pub use open::{Opened, new_epoch, open};
pub use verify::verify;
