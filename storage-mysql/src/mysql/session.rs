//! One connection in use: runs statements, counts them, and reads rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gimlet_core::id::{DeviceId, Epoch, GroupId, MessageId, UserId};
use gimlet_core::seq::Seq;
use gimlet_core::time::Timestamp;
use sqlx::mysql::{MySqlArguments, MySqlQueryResult, MySqlRow};
use sqlx::query::Query;
use sqlx::{MySql, Row as _, SqlSafeStr};

use super::cut;
use super::history::History;
use super::pool::Lease;
use crate::error::Fault;

/// A statement with its values.
pub(super) type Statement<'q> = Query<'q, MySql, MySqlArguments>;

/// Largest number of bytes of bodies in one statement.
const MAX_BODIES: u64 = 2 << 20;

/// A pooled connection, for one piece of work.
#[derive(Debug)]
pub(crate) struct Session {
    lease: Lease,
    statements: Arc<AtomicU64>,
    /// Largest number of bytes of bodies in one statement on this connection.
    pub(super) packet: usize,
    /// Known heads and epochs, with which heads are compared.
    pub(super) history: Arc<History>,
    /// Heads that the open transaction has raised; noted in the history after the COMMIT.
    pub(super) taken: Vec<(UserId, Seq)>,
}

impl Session {
    pub(super) fn new(lease: Lease, statements: Arc<AtomicU64>, history: Arc<History>) -> Self {
        let packet = usize::try_from(MAX_BODIES.min(lease.packet() / 2));
        Self {
            lease,
            statements,
            packet: packet.unwrap_or(usize::MAX),
            history,
            taken: Vec::new(),
        }
    }

    /// Returns whether its connection was used before.
    pub(super) fn is_reused(&self) -> bool {
        self.lease.reused
    }

    /// Returns the generation of its connection.
    pub(super) fn generation(&self) -> u64 {
        self.lease.generation()
    }

    /// Runs a statement that changes data.
    pub(super) async fn run(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<MySqlQueryResult, Fault> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        Ok(statement.execute(self.lease.conn()).await?)
    }

    /// Runs a statement that reads.
    pub(super) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<MySqlRow>, Fault> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        Ok(statement.fetch_all(self.lease.conn()).await?)
    }

    /// Runs a statement that reads at most one row.
    pub(super) async fn row(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<Option<MySqlRow>, Fault> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        Ok(statement.fetch_optional(self.lease.conn()).await?)
    }

    /// Runs a statement without values, by the text protocol.
    pub(super) async fn plain(&mut self, sql: impl SqlSafeStr) -> Result<(), Fault> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        sqlx::raw_sql(sql).execute(self.lease.conn()).await?;
        Ok(())
    }

    /// Reads the rows with these numbers: `head` precedes the list, `tail` follows it.
    pub(super) async fn rows_in(
        &mut self,
        head: &str,
        numbers: &[u64],
        tail: &str,
    ) -> Result<Vec<MySqlRow>, Fault> {
        let mut found = Vec::with_capacity(numbers.len());
        for piece in cut::filled(numbers.len()) {
            let mut statement = sqlx::query(cut::text(head, "?", piece.size(), tail));
            for (at, _) in piece.rows() {
                statement = statement.bind(numbers.get(at).copied());
            }
            found.append(&mut self.rows(statement).await?);
        }
        Ok(found)
    }

    /// Replaces the epoch `old` (law 10); no transaction may be open.
    pub(super) async fn renew(&mut self, old: Epoch) -> Result<(), Fault> {
        let history = Arc::clone(&self.history);
        history.renew(self.lease.conn(), old).await
    }

    /// Checks the server of this connection in the same way as that of a new one.
    pub(super) async fn check_server(&mut self) -> Result<(), Fault> {
        let history = Arc::clone(&self.history);
        history.check_server(self.lease.conn()).await
    }

    /// Gives the connection back. If the session is dropped instead, the connection is closed, and
    /// the server rolls back whatever was begun.
    pub(super) fn give_back(self) {
        self.lease.give_back();
    }
}

/// Returns a column as a number.
pub(super) fn number(row: &MySqlRow, at: usize) -> Result<u64, Fault> {
    Ok(row.try_get::<u64, _>(at)?)
}

/// Returns a column as a signed number.
pub(super) fn signed(row: &MySqlRow, at: usize) -> Result<i64, Fault> {
    Ok(row.try_get::<i64, _>(at)?)
}

/// Returns a column as a time.
pub(super) fn time(row: &MySqlRow, at: usize) -> Result<Timestamp, Fault> {
    signed(row, at).map(Timestamp)
}

/// Returns a column as bytes.
pub(super) fn bytes(row: &MySqlRow, at: usize) -> Result<Vec<u8>, Fault> {
    Ok(row.try_get_unchecked::<Vec<u8>, _>(at)?)
}

/// Returns a column as `N` bytes.
pub(super) fn fixed<const N: usize>(row: &MySqlRow, at: usize) -> Result<[u8; N], Fault> {
    let bytes = bytes(row, at)?;
    bytes
        .try_into()
        .map_err(|_| Fault::Corrupt("a column of fixed width has another width"))
}

/// Returns a column as text.
pub(super) fn text(row: &MySqlRow, at: usize) -> Result<String, Fault> {
    // Decoded from bytes: with a binary collation, servers disagree about the column's type.
    String::from_utf8(bytes(row, at)?).map_err(|_| Fault::Corrupt("a text is not UTF-8"))
}

const BAD_ID: Fault = Fault::Corrupt("an id is out of range");

/// Returns a column as a user id.
pub(super) fn user(row: &MySqlRow, at: usize) -> Result<UserId, Fault> {
    UserId::new(number(row, at)?).ok_or(BAD_ID)
}

/// Returns a column as a device id.
pub(super) fn device(row: &MySqlRow, at: usize) -> Result<DeviceId, Fault> {
    DeviceId::new(number(row, at)?).ok_or(BAD_ID)
}

/// Returns a column as a group id.
pub(super) fn group(row: &MySqlRow, at: usize) -> Result<GroupId, Fault> {
    GroupId::new(number(row, at)?).ok_or(BAD_ID)
}

/// Returns a column as a message id.
pub(super) fn message_id(row: &MySqlRow, at: usize) -> Result<MessageId, Fault> {
    fixed(row, at).map(MessageId::from_bytes)
}
