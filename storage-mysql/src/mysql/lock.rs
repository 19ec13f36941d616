//! Locking reads that lock the rows they name and no others.
//!
//! A locking read with a list (`WHERE id IN (…) FOR UPDATE`) may be planned as a scan where the table is
//! small, and then it waits for rows of others: batches with disjoint rows would wait for each other, or
//! deadlock. So the values come as a derived table that is joined to the key: one look-up for each.

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySql};

use super::cut;
use super::session::Session;
use crate::error::Fault;

/// Values in one statement: above, the server takes longer to plan it than to run it.
const CHUNK: usize = 64;

/// What is done about rows that another session has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locks {
    /// They are waited for as long as the server is set to.
    Wait,
    /// The statement fails at once. MySQL 8, MariaDB 10.3 and TiDB know it.
    NoWait,
}

/// A table and the key by which rows are locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lockable {
    /// The columns that are read, of the table `t`.
    pub(super) columns: &'static str,
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    /// The key's type, for a cast: a parameter has none of its own.
    pub(super) kind: &'static str,
}

/// The head of each inbox.
pub(super) const HEADS: Lockable = Lockable {
    columns: "t.user_id",
    table: "inbox_head",
    key: "user_id",
    kind: "UNSIGNED",
};

/// The groups with their roster versions.
pub(super) const GROUPS: Lockable = Lockable {
    columns: "t.group_id, t.version",
    table: "group_info",
    key: "group_id",
    kind: "UNSIGNED",
};

/// The keys of sends.
pub(super) const KEYS: Lockable = Lockable {
    columns: "t.seq",
    table: "send_key",
    key: "id",
    kind: "BINARY",
};

/// Locks the rows with these keys, ascending, and reads them. One may come twice.
pub(super) async fn lock<'q, T>(
    session: &mut Session,
    rows: Lockable,
    keys: &[T],
    locks: Locks,
) -> Result<Vec<MySqlRow>, Fault>
where
    T: Copy + Send + Sync + sqlx::Encode<'q, MySql> + sqlx::Type<MySql> + 'q,
{
    let mut found = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK) {
        for piece in cut::filled(chunk.len()) {
            let mut select = sqlx::query(text(rows, piece.size(), locks));
            for (at, _) in piece.rows() {
                select = select.bind(*chunk.get(at).expect("a piece of these"));
            }
            found.append(&mut session.rows(select).await?);
        }
    }
    Ok(found)
}

fn text(rows: Lockable, count: usize, locks: Locks) -> AssertSqlSafe<String> {
    let Lockable {
        columns,
        table,
        key,
        kind,
    } = rows;
    let one = format!("SELECT CAST(? AS {kind}) AS k");
    let all = vec![one; count].join(" UNION ALL ");
    let tail = match locks {
        Locks::Wait => "",
        Locks::NoWait => " NOWAIT",
    };
    AssertSqlSafe(format!(
        "SELECT {columns} FROM ({all}) v STRAIGHT_JOIN {table} t FORCE INDEX (PRIMARY) \
         ON t.{key} = v.k FOR UPDATE{tail}"
    ))
}
