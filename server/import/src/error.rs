//! Reasons an import fails, worded for an operator.

use std::io;

use gimlet_core::id::UserId;
use gimlet_core::store::StoreError;

/// Reasons an import fails.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The address cannot be parsed.
    #[error(
        "the address of gim's database is wrong: {0}; it should read mysql://user:password@host:port/database"
    )]
    Address(#[source] sqlx::Error),
    /// The server of gim's database failed.
    #[error(
        "gim's database cannot be read: {0}; check the address, the user's rights and that the server is up"
    )]
    Database(#[from] sqlx::Error),
    /// The server of gim's database did not answer.
    #[error("gim's database did not answer within {seconds} s: check the address and the server")]
    Timeout {
        /// The time that was waited.
        seconds: u64,
    },
    /// The tables are not those of a gim that can be imported.
    #[error("the tables are not those of a gim that can be imported: {0}")]
    Schema(String),
    /// Rows cannot be imported.
    #[error(
        "{rows} rows cannot be imported, and nothing was written: correct them, or pass --skip-broken \
         to go on without them; --report FILE lists all of them. The first: {first}"
    )]
    Broken {
        /// Their number.
        rows: u64,
        /// The first of them.
        first: String,
    },
    /// The report cannot be written.
    #[error("the report cannot be written: {0}")]
    Report(#[source] io::Error),
    /// The storage failed.
    #[error("the storage failed: {}", chain(.0))]
    Store(#[from] StoreError),
    /// The storage holds something else than this import wrote.
    #[error(
        "the inbox of user {user} continued at {found} instead of {expected}: another program writes \
         to the storage; stop it, and import into an empty one"
    )]
    InboxMoved {
        /// The owner of the inbox.
        user: UserId,
        /// The seq that the storage assigned.
        found: u64,
        /// The seq that the message had at gim.
        expected: u64,
    },
    /// The storage has another user with this phone number.
    #[error(
        "the phone number of user {0} belongs to another user of the storage: import into an empty one"
    )]
    PhoneTaken(u64),
    /// The roster of a group changed during the import.
    #[error("group {0} was changed during the import: stop the program that writes to the storage")]
    GroupChanged(u64),
    /// The caller cancelled the import.
    #[error("cancelled: {0}")]
    Cancelled(#[source] io::Error),
}

fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
