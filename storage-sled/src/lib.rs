//! gimlet's embedded storage: one process, one directory, nothing to install.
//!
//! Serves a single node. All durable data is in one [sled](https://docs.rs/sled) tree. Rooms and
//! routes live only as long as the process, so they use the in-memory stores of `gimlet-core`.
//!
//! # What "stored" means
//!
//! | [`DurabilityLevel`] | an answered change survives | mechanism |
//! |---|---|---|
//! | `Power` (default) | a killed process and a loss of power | sled's flush, then `fsync` of every file sled wrote to |
//! | `Process` | a killed process | sled's flush: everything is in the operating system's hands |
//!
//! `Power` guarantees as much as `fsync` does: it does not cover a drive that ignores `fsync` or a
//! disk that is lost, and it has not been tested with a real power cut. Use the cluster storage to
//! keep data on more than one disk. With either setting, readers see a change only after it is
//! durable.
//!
//! # Operational limits
//!
//! - **One process, one directory.** A lock file enforces this; a second process is refused.
//! - **Space.** sled takes several times the size of the data (about seven times was measured for
//!   small messages) and does not give it back. Data is refused as full while less than
//!   [`Config::min_free`] is free; reads go on.
//! - **Memory.** Up to ten times [`Config::cache_bytes`], some 60 MiB for commits in progress
//!   (`garbage`), and 25 to 35 bytes for each stored row. `--example memory` measures it.
//! - **Failures.** After a disk error the storage refuses every call, and [`StorageHealth::failed`]
//!   returns: end the process and restart it. Every answered change is still there.
//!
//! # How it is tested
//!
//! `cargo run --release -p gimlet-storage-sled --example kill -- --kills 300` kills a writing
//! process 300 times (one in three within 300 ms of a start, some with the flush held, bodies up to
//! 60 KiB) and compares the directory with everything that the process had answered and shown. Its
//! result on the reference machine: 42,148 answered sends, none lost, nothing shown too early,
//! every reopen worked. `tests/syncs.rs` reads a trace of the system calls and checks that every
//! written file is synced at every answer. `--example rate` prints the throughput.
//!
//! # How it works
//!
//! One thread owns all changes (`writer`): it takes all waiting commands, applies them as one
//! atomic batch, makes the batch durable once and answers all callers. Reads run on a small pool of
//! threads (`readers`) and see one durable state (`shared`). The head of an inbox is not stored in
//! a row of its own; it is the seq of the last entry (`seq`, `heads`). The keys are in `key`, the
//! records in `gimlet.store.v1`.
//!
//! This crate depends on `gimlet-core`'s seams and its own records, and on no socket or service.

mod account;
mod api_key;
mod append;
mod backup;
mod capture;
mod config;
mod device;
mod draft;
mod entries;
mod error;
mod events;
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
mod jwt_user;
mod key;
mod log;
mod open;
mod outbox;
mod outbox_rows;
mod push_token;
mod readers;
mod record;
mod reserve;
mod rows;
mod seq;
mod shared;
mod snapshot;
mod space;
mod stamp;
mod store;
mod sweep;
mod system;
mod txn;
mod verify;
mod writer;

pub use backup::{
    BackupError, BackupExporter, BackupFrame, BackupReader, BackupWriter, ExportProgress,
    RestoreSummary, export_closed, restore,
};
pub use config::{Config, DurabilityLevel, HistoryMode};
pub use draft::StorageDraft;
pub use error::OpenError;
#[doc(hidden)]
pub use gate::FlushGate;
pub use health::StorageHealth;
pub use open::{OpenStorage, new_epoch, open};
pub use verify::verify;
