//! Imports from another system: the mark of an import that has not ended, and inboxes that begin at
//! a seq.
//!
//! The rows of an import are many transactions. While they are written, `meta` has a row
//! `importing`, and the database does not open: an import that was interrupted must not pass for a
//! complete one.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use gimlet_core::id::UserId;
use gimlet_core::seq::Seq;
use gimlet_core::store::StoreError;

use super::chunks;
use super::engine::{MysqlEngine, WorkPace};
use super::session::{MysqlSession, number};
use crate::error::EngineError;

impl MysqlEngine {
    /// Marks the database as one that is being imported. Returns false, and marks nothing, if it
    /// has data already.
    pub(crate) async fn begin_import(&self) -> Result<bool, StoreError> {
        self.change("import.begin", WorkPace::Slow, |session| {
            mark(session).boxed()
        })
        .await
    }

    /// Removes the mark: the import is complete.
    pub(crate) async fn finish_import(&self) -> Result<(), StoreError> {
        self.change("import.finish", WorkPace::Slow, |session| {
            async move {
                let sql = "DELETE FROM meta WHERE name = 'importing'";
                session.run(sqlx::query(sql)).await.map(drop)
            }
            .boxed()
        })
        .await
    }
}

/// Returns whether an import into this database has not ended.
pub(super) async fn is_unfinished(session: &mut MysqlSession) -> Result<bool, EngineError> {
    let sql = "SELECT value FROM meta WHERE name = 'importing'";
    Ok(session.row(sqlx::query(sql)).await?.is_some())
}

async fn mark(session: &mut MysqlSession) -> Result<bool, EngineError> {
    let sql = "SELECT CAST((SELECT COUNT(*) FROM (SELECT 1 FROM account LIMIT 1) a) \
               + (SELECT COUNT(*) FROM (SELECT 1 FROM inbox_head LIMIT 1) h) \
               + (SELECT COUNT(*) FROM (SELECT 1 FROM group_info LIMIT 1) g) \
               + (SELECT COUNT(*) FROM (SELECT 1 FROM friend LIMIT 1) f) \
               + (SELECT COUNT(*) FROM (SELECT 1 FROM device LIMIT 1) d) AS UNSIGNED)";
    let row = session.row(sqlx::query(sql)).await?;
    let row = row.ok_or(EngineError::Corrupt("a count has no row"))?;
    if number(&row, 0)? > 0 {
        return Ok(false);
    }
    // Two imports at once: the second one waits for the first one's row, and finds it.
    let sql = "INSERT INTO meta (name, value) VALUES ('importing', 1) \
               ON DUPLICATE KEY UPDATE name = name";
    let done = session.run(sqlx::query(sql)).await?;
    Ok(done.rows_affected() == 1)
}

/// Begins inboxes without entries, given in ascending order.
pub(super) async fn begin(
    session: &mut MysqlSession,
    inboxes: &[(UserId, Seq)],
) -> Result<(), EngineError> {
    // An upsert that changes nothing locks the rows and inserts the missing ones, so that no sender
    // comes between the check and the change.
    put(
        session,
        inboxes,
        " ON DUPLICATE KEY UPDATE user_id = user_id",
        false,
    )
    .await?;
    let at: BTreeMap<u64, u64> = inboxes
        .iter()
        .map(|(user, at)| (user.get(), at.get()))
        .collect();
    let users: Vec<u64> = at.keys().copied().collect();
    let head =
        "SELECT user_id, seq, floor FROM inbox_head FORCE INDEX (PRIMARY) WHERE user_id IN (";
    for row in session.rows_in(head, &users, ")").await? {
        let (user, head, floor) = (number(&row, 0)?, number(&row, 1)?, number(&row, 2)?);
        if head > floor || at.get(&user).is_none_or(|at| head > *at) {
            return Err(EngineError::Misuse(
                "an inbox that begins has entries, or ends later",
            ));
        }
    }
    put(
        session,
        inboxes,
        " ON DUPLICATE KEY UPDATE seq = VALUES(seq), floor = VALUES(floor)",
        true,
    )
    .await?;
    // Noted as known after the COMMIT, like the seqs of a send.
    let begun = inboxes.iter().copied();
    session.taken.extend(begun);
    Ok(())
}

/// Inserts rows of heads, with their seqs or with zeros; `tail` says what happens to existing ones.
async fn put(
    session: &mut MysqlSession,
    inboxes: &[(UserId, Seq)],
    tail: &str,
    with_seqs: bool,
) -> Result<(), EngineError> {
    for chunk in chunks::padded_chunks(inboxes.len()) {
        let mut upsert = sqlx::query(chunks::text(
            "INSERT INTO inbox_head (user_id, seq, floor) VALUES ",
            "(?, ?, ?)",
            chunk.size(),
            tail,
        ));
        for (at, _) in chunk.rows() {
            let (user, seq) = inboxes.get(at).expect("an index of these rows");
            let seq = if with_seqs { seq.get() } else { 0 };
            upsert = upsert.bind(user.get()).bind(seq).bind(seq);
        }
        session.run(upsert).await?;
    }
    Ok(())
}
