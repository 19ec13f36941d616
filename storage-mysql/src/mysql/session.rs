//! One connection in use: runs statements, counts them, and reads rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gimlet_core::id::{DeviceId, Epoch, GroupId, MessageId, UserId};
use gimlet_core::seq::Seq;
use gimlet_core::time::UnixTimestamp;
use sqlx::mysql::{MySqlArguments, MySqlQueryResult, MySqlRow};
use sqlx::query::Query;
use sqlx::{MySql, Row as _, SqlSafeStr};

use super::chunks;
use super::history::StoreHistory;
use super::pool::PooledConnection;
use crate::error::EngineError;

/// A statement with its values.
pub(super) type BoundStatement<'q> = Query<'q, MySql, MySqlArguments>;

/// Largest number of bytes of bodies in one statement.
const MAX_BODY_BYTES: u64 = 2 << 20;

/// A pooled connection, for one piece of work.
#[derive(Debug)]
pub(crate) struct MysqlSession {
    lease: PooledConnection,
    statements: Arc<AtomicU64>,
    /// Largest number of bytes of bodies in one statement on this connection.
    pub(super) packet: usize,
    /// Known heads and epochs, with which heads are compared.
    pub(super) history: Arc<StoreHistory>,
    /// Heads that the open transaction has raised; noted in the history after the COMMIT.
    pub(super) taken: Vec<(UserId, Seq)>,
}

impl MysqlSession {
    pub(super) fn new(
        lease: PooledConnection,
        statements: Arc<AtomicU64>,
        history: Arc<StoreHistory>,
    ) -> Self {
        let packet = usize::try_from(MAX_BODY_BYTES.min(lease.packet() / 2));
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
        statement: BoundStatement<'_>,
    ) -> Result<MySqlQueryResult, EngineError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        Ok(statement.execute(self.lease.conn()).await?)
    }

    /// Runs a statement that reads.
    pub(super) async fn rows(
        &mut self,
        statement: BoundStatement<'_>,
    ) -> Result<Vec<MySqlRow>, EngineError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        Ok(statement.fetch_all(self.lease.conn()).await?)
    }

    /// Runs a statement that reads at most one row.
    pub(super) async fn row(
        &mut self,
        statement: BoundStatement<'_>,
    ) -> Result<Option<MySqlRow>, EngineError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        Ok(statement.fetch_optional(self.lease.conn()).await?)
    }

    /// Runs a statement without values, by the text protocol.
    pub(super) async fn plain(&mut self, sql: impl SqlSafeStr) -> Result<(), EngineError> {
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
    ) -> Result<Vec<MySqlRow>, EngineError> {
        let mut found = Vec::with_capacity(numbers.len());
        for chunk in chunks::padded_chunks(numbers.len()) {
            let mut statement = sqlx::query(chunks::text(head, "?", chunk.size(), tail));
            for (at, _) in chunk.rows() {
                statement = statement.bind(numbers.get(at).copied());
            }
            found.append(&mut self.rows(statement).await?);
        }
        Ok(found)
    }

    /// Replaces the epoch `old` (law 10); no transaction may be open.
    pub(super) async fn renew(&mut self, old: Epoch) -> Result<(), EngineError> {
        let history = Arc::clone(&self.history);
        history.renew(self.lease.conn(), old).await
    }

    /// Checks the server of this connection in the same way as that of a new one.
    pub(super) async fn check_server(&mut self) -> Result<(), EngineError> {
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
pub(super) fn number(row: &MySqlRow, at: usize) -> Result<u64, EngineError> {
    Ok(row.try_get::<u64, _>(at)?)
}

/// Returns a column as a signed number.
pub(super) fn signed(row: &MySqlRow, at: usize) -> Result<i64, EngineError> {
    Ok(row.try_get::<i64, _>(at)?)
}

/// Returns a column as a time.
pub(super) fn time(row: &MySqlRow, at: usize) -> Result<UnixTimestamp, EngineError> {
    signed(row, at).map(UnixTimestamp)
}

/// Returns a column as bytes.
pub(super) fn bytes(row: &MySqlRow, at: usize) -> Result<Vec<u8>, EngineError> {
    Ok(row.try_get_unchecked::<Vec<u8>, _>(at)?)
}

/// Returns a column as `N` bytes.
pub(super) fn fixed<const N: usize>(row: &MySqlRow, at: usize) -> Result<[u8; N], EngineError> {
    let bytes = bytes(row, at)?;
    bytes
        .try_into()
        .map_err(|_| EngineError::Corrupt("a column of fixed width has another width"))
}

/// Returns a column as text.
pub(super) fn text(row: &MySqlRow, at: usize) -> Result<String, EngineError> {
    // Decoded from bytes: with a binary collation, servers disagree about the column's type.
    String::from_utf8(bytes(row, at)?).map_err(|_| EngineError::Corrupt("a text is not UTF-8"))
}

const ID_OUT_OF_RANGE: EngineError = EngineError::Corrupt("an id is out of range");

/// Returns a column as a user id.
pub(super) fn user(row: &MySqlRow, at: usize) -> Result<UserId, EngineError> {
    UserId::new(number(row, at)?).ok_or(ID_OUT_OF_RANGE)
}

/// Returns a column as a device id.
pub(super) fn device(row: &MySqlRow, at: usize) -> Result<DeviceId, EngineError> {
    DeviceId::new(number(row, at)?).ok_or(ID_OUT_OF_RANGE)
}

/// Returns a column as a group id.
pub(super) fn group(row: &MySqlRow, at: usize) -> Result<GroupId, EngineError> {
    GroupId::new(number(row, at)?).ok_or(ID_OUT_OF_RANGE)
}

/// Returns a column as a message id.
pub(super) fn message_id(row: &MySqlRow, at: usize) -> Result<MessageId, EngineError> {
    fixed(row, at).map(MessageId::from_bytes)
}
