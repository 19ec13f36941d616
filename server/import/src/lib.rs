//! `gimlet import gim`: reads the MySQL database of a gim server and writes its users, devices,
//! friends, groups and messages into gimlet's storage, with their ids and seqs.
//!
//! The database is read twice in one snapshot: first to check every row, then to write. So a
//! database with rows that cannot be imported is refused before anything is written.
//!
//! Rows are read page by page and nothing grows with the database. Messages are appended through
//! the store traits in the order of their seqs, so every law of the storage holds for them as for
//! messages that were sent: an inbox that gim has trimmed begins at its first seq
//! (`InboxStore::begin`), and a seq that gim has skipped gets a message without content
//! ([`filler`](message)), because gimlet's inboxes have no holes.
//!
//! `generation` recognises the schema, `source` reads rows, `message` converts them, `inbox` puts
//! them in order, and `run` does one pass after the other.

mod accounts;
mod devices;
mod error;
mod findings;
mod friends;
mod generation;
mod groups;
mod inbox;
mod message;
mod pass;
mod pushed;
mod rows;
mod run;
mod source;
mod summary;
mod target;

pub use error::ImportError;
pub use generation::GimGeneration;
pub use run::{ImportOptions, ProgressCallback, run};
pub use source::GimDatabase;
pub use summary::{ImportPhase, ImportProgress, ImportSummary};
pub use target::ImportTarget;
