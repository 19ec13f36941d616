//! Locking reads that lock exactly the rows that they name.
//!
//! The server may plan a locking read with a list (`WHERE id IN (…) FOR UPDATE`) as a scan if the
//! table is small. The scan then waits for other rows: batches with disjoint rows would wait for
//! each other, or deadlock. So the values come as a derived table that is joined to the key: one
//! look-up for each.

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySql};

use super::chunks;
use super::session::MysqlSession;
use crate::error::EngineError;

/// Values in one statement; with more, the server takes longer to plan it than to run it.
const LOCKED_ROWS_PER_STATEMENT: usize = 64;

/// Behaviour if another session has locked a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockMode {
    /// Waits for up to the lock wait timeout of the session.
    Wait,
    /// Fails at once. MySQL 8, MariaDB 10.3 and TiDB support it.
    NoWait,
}

/// A table and the key by which its rows are locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockTarget {
    /// Columns that are read, of the table `t`.
    pub(super) columns: &'static str,
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    /// Type of the key, for a cast: a parameter has no type of its own.
    pub(super) kind: &'static str,
}

/// Heads of inboxes.
pub(super) const HEADS: LockTarget = LockTarget {
    columns: "t.user_id",
    table: "inbox_head",
    key: "user_id",
    kind: "UNSIGNED",
};

/// Groups with their roster versions.
pub(super) const GROUPS: LockTarget = LockTarget {
    columns: "t.group_id, t.version",
    table: "group_info",
    key: "group_id",
    kind: "UNSIGNED",
};

/// Keys of sends.
pub(super) const KEYS: LockTarget = LockTarget {
    columns: "t.seq",
    table: "send_key",
    key: "id",
    kind: "BINARY",
};

/// Locks the rows with these keys, in ascending order, and reads them. A row may be returned twice.
pub(super) async fn lock<'q, T>(
    session: &mut MysqlSession,
    rows: LockTarget,
    keys: &[T],
    locks: LockMode,
) -> Result<Vec<MySqlRow>, EngineError>
where
    T: Copy + Send + Sync + sqlx::Encode<'q, MySql> + sqlx::Type<MySql> + 'q,
{
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(LOCKED_ROWS_PER_STATEMENT) {
        for chunk in chunks::padded_chunks(keys.len()) {
            let mut select = sqlx::query(text(rows, chunk.size(), locks));
            for (at, _) in chunk.rows() {
                select = select.bind(*keys.get(at).expect("an index of these rows"));
            }
            found.append(&mut session.rows(select).await?);
        }
    }
    Ok(found)
}

fn text(rows: LockTarget, count: usize, locks: LockMode) -> AssertSqlSafe<String> {
    let LockTarget {
        columns,
        table,
        key,
        kind,
    } = rows;
    let one = format!("SELECT CAST(? AS {kind}) AS k");
    let all = vec![one; count].join(" UNION ALL ");
    let tail = match locks {
        LockMode::Wait => "",
        LockMode::NoWait => " NOWAIT",
    };
    AssertSqlSafe(format!(
        "SELECT {columns} FROM ({all}) v STRAIGHT_JOIN {table} t FORCE INDEX (PRIMARY) \
         ON t.{key} = v.k FOR UPDATE{tail}"
    ))
}
