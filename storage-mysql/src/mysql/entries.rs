//! Raises the heads of inboxes and stores their entries, for an append and for a step of a job.

use std::collections::BTreeMap;
use std::sync::Arc;

use gimlet_core::id::{MessageId, UserId};
use gimlet_core::seq::Seq;

use super::chunks;
use super::session::{MysqlSession, number, user};
use crate::error::EngineError;

/// Location of an entry's body.
#[derive(Clone, Debug)]
pub(super) enum BodyLocation {
    /// In the entry.
    Inline(Arc<[u8]>),
    /// In the row of this message.
    Shared(MessageId),
}

impl BodyLocation {
    fn weight(&self) -> usize {
        match self {
            Self::Inline(body) => 48 + body.len(),
            Self::Shared(_) => 48,
        }
    }
}

/// An entry to be stored.
pub(super) type NewEntry = (UserId, Seq, BodyLocation);

/// The next seq of each user whose head was raised.
#[derive(Debug)]
pub(super) struct NextSeqs(BTreeMap<UserId, Seq>);

impl NextSeqs {
    pub(super) fn take(&mut self, user: UserId) -> Result<Seq, EngineError> {
        let next = self.0.get_mut(&user);
        let next = next.ok_or(EngineError::Corrupt(
            "a head is missing after it was raised",
        ))?;
        let seq = *next;
        *next = seq.next();
        Ok(seq)
    }
}

/// Raises each head by its count and returns the first of the new seqs. The heads stay locked until
/// the COMMIT, so no other entry can come in between (laws 2 and 3).
pub(super) async fn take_seqs(
    session: &mut MysqlSession,
    counts: &BTreeMap<UserId, u64>,
) -> Result<NextSeqs, EngineError> {
    let rows: Vec<(u64, u64)> = counts.iter().map(|(it, n)| (it.get(), *n)).collect();
    for chunk in chunks::padded_chunks(rows.len()) {
        let mut upsert = sqlx::query(chunks::text(
            "INSERT INTO inbox_head (user_id, seq, floor) VALUES ",
            "(?, ?, 0)",
            chunk.size(),
            " ON DUPLICATE KEY UPDATE seq = seq + VALUES(seq)",
        ));
        for (at, is_padding) in chunk.rows() {
            let (user, n) = rows.get(at).copied().expect("an index of these rows");
            upsert = upsert.bind(user).bind(if is_padding { 0 } else { n });
        }
        session.run(upsert).await?;
    }
    let users: Vec<u64> = rows.iter().map(|(user, _)| *user).collect();
    let head = "SELECT user_id, seq FROM inbox_head FORCE INDEX (PRIMARY) WHERE user_id IN (";
    let mut next = BTreeMap::new();
    // Not a locking read, as for the keys: the upsert has locked these rows.
    for row in session.rows_in(head, &users, ")").await? {
        let user = user(&row, 0)?;
        let n = counts.get(&user).copied().unwrap_or_default();
        let raised = number(&row, 1)?;
        let before = Seq::new(raised.saturating_sub(n));
        // Checked before anything is stored under these seqs: they must never have been assigned
        // before (law 10).
        session.history.holds(user, before)?;
        // Noted as known only after the COMMIT: a transaction that fails has assigned nothing.
        session.taken.push((user, Seq::new(raised)));
        next.insert(user, before.next());
    }
    Ok(NextSeqs(next))
}

/// Stores entries. A seq that is already stored is never overwritten: it is reported as corruption.
pub(super) async fn put_entries(
    session: &mut MysqlSession,
    mut entries: Vec<NewEntry>,
) -> Result<(), EngineError> {
    // Ascending by primary key, like every other lock of the batch.
    entries.sort_unstable_by_key(|(user, seq, _)| (*user, *seq));
    let weight = |at: usize| entries.get(at).map_or(0, |(_, _, body)| body.weight());
    for chunk in chunks::unpadded_chunks(entries.len(), session.packet, weight) {
        let mut insert = sqlx::query(chunks::text(
            "INSERT INTO inbox (user_id, seq, shared, body) VALUES ",
            "(?, ?, ?, ?)",
            chunk.size(),
            "",
        ));
        for (at, _) in chunk.rows() {
            let (user, seq, body) = entries.get(at).expect("an index of these rows");
            insert = insert.bind(user.get()).bind(seq.get());
            insert = match body {
                BodyLocation::Inline(body) => insert.bind(None::<&[u8]>).bind(Some(&**body)),
                BodyLocation::Shared(id) => insert
                    .bind(Some(id.as_bytes().as_slice()))
                    .bind(None::<&[u8]>),
            };
        }
        session.run(insert).await.map_err(taken)?;
    }
    Ok(())
}

fn taken(fault: EngineError) -> EngineError {
    if fault.is_duplicate() {
        return EngineError::Corrupt(
            "a seq above the head is already stored: the head moved backwards",
        );
    }
    fault
}
