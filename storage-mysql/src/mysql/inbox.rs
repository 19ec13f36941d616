//! Inboxes: pages, retention, and the entry points to `append` and `job`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gimlet_core::id::{GroupId, UserId};
use gimlet_core::message::{InboxEntry, Message};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{
    AppendOutcome, AppendRequest, Head, InboxSlice, InboxStore, JobLease, JobStepOutcome,
    StoreError,
};
use gimlet_core::time::UnixTimestamp;
use sqlx::Row as _;

use super::engine::{MysqlEngine, StatementEffect, WorkPace};
use super::lock::LockMode;
use super::session::{MysqlSession, bytes, number};
use super::{append, chunks, import, job};
use crate::error::EngineError;
use crate::record;

/// Entries or keys removed in one transaction.
const SLICE_ROWS: u64 = 1_000;

#[async_trait]
impl InboxStore for MysqlEngine {
    async fn append(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        self.append_with(batch, LockMode::Wait).await
    }

    async fn append_now(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        self.append_with(batch, LockMode::NoWait).await
    }

    fn append_concurrency(&self) -> usize {
        self.parallel_batches()
    }

    async fn after(
        &self,
        user: UserId,
        seq: Seq,
        limit: PageLimit,
    ) -> Result<InboxSlice, StoreError> {
        self.once("inbox.after", StatementEffect::Read, move |session| {
            page(session, user, seq, limit).boxed()
        })
        .await
    }

    async fn begin(&self, inboxes: &[(UserId, Seq)]) -> Result<(), StoreError> {
        // Ascending, like every other lock of heads.
        let inboxes: BTreeMap<UserId, Seq> = inboxes.iter().copied().collect();
        let inboxes: Arc<[(UserId, Seq)]> = inboxes.into_iter().collect();
        self.change("inbox.begin", WorkPace::Prompt, move |session| {
            let inboxes = Arc::clone(&inboxes);
            async move { import::begin(session, &inboxes).await }.boxed()
        })
        .await
    }

    async fn trim(&self, user: UserId, upto: Seq) -> Result<(), StoreError> {
        loop {
            let done = self.change("inbox.trim", WorkPace::Slow, move |session| {
                trim(session, user, upto).boxed()
            });
            if done.await? {
                return Ok(());
            }
        }
    }

    async fn claim_job(&self, group: Option<GroupId>) -> Result<Option<JobLease>, StoreError> {
        self.change("inbox.claim_job", WorkPace::Prompt, move |session| {
            job::claim(session, group).boxed()
        })
        .await
    }

    async fn advance_job(&self, lease: &JobLease) -> Result<JobStepOutcome, StoreError> {
        let lease = lease.clone();
        self.change("inbox.advance_job", WorkPace::Prompt, move |session| {
            let lease = lease.clone();
            async move { job::advance(session, &lease).await }.boxed()
        })
        .await
    }

    async fn sweep(&self, max: usize) -> Result<usize, StoreError> {
        // `trim` removes bodies with their last entry, so only keys remain to be removed here.
        let (now, mut left) = (self.now(), max as u64);
        while left > 0 {
            let slice = left.min(SLICE_ROWS);
            let sweeping = self.change("inbox.sweep", WorkPace::Slow, move |session| {
                sweep(session, now, slice).boxed()
            });
            let (found, removed) = sweeping.await?;
            left -= removed.min(left);
            if found < slice {
                break;
            }
        }
        Ok(max - usize::try_from(left).unwrap_or(max))
    }
}

impl MysqlEngine {
    async fn append_with(
        &self,
        batch: &[AppendRequest],
        locks: LockMode,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        AppendRequest::check("inbox.append", batch)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (batch, now): (Arc<[AppendRequest]>, _) = (batch.into(), self.now());
        self.change("inbox.append", WorkPace::Divisible, move |session| {
            let batch = Arc::clone(&batch);
            async move { append::append_with(session, &batch, now, locks).await }.boxed()
        })
        .await
    }
}

/// Largest body, in bytes, that is read with its entry even for a small page.
const SMALL_BODY_BYTES: usize = 256;

/// Attempts to read a page: a trim may come between its two statements, and a snapshot of MariaDB
/// may have a hole (see [`PageBounds`]).
const PAGE_TRIES: usize = 5;

/// Entry of a page; its body is either read or still to be read.
enum PageSlot {
    Read(InboxEntry),
    Large(Seq),
}

async fn page(
    session: &mut MysqlSession,
    user: UserId,
    seq: Seq,
    limit: PageLimit,
) -> Result<InboxSlice, EngineError> {
    for _ in 0..PAGE_TRIES {
        let (mut page, slots) = lengths(session, user, seq, limit).await?;
        let bounds = PageBounds {
            after: seq,
            head: page.head,
            more: page.more,
        };
        if !bounds.are_filled_by(slots.iter().map(PageSlot::seq)) {
            continue;
        }
        let large = slots.iter().filter_map(|slot| match slot {
            PageSlot::Large(seq) => Some(seq.get()),
            PageSlot::Read(_) => None,
        });
        let mut bodies = large_bodies(session, user, &large.collect::<Vec<_>>()).await?;
        let entries = slots.into_iter().map(|slot| match slot {
            PageSlot::Read(entry) => Some(entry),
            PageSlot::Large(seq) => Some(InboxEntry {
                seq,
                message: Arc::new(bodies.remove(&seq)?),
            }),
        });
        // A missing body was trimmed after its length was read: the inbox now begins later.
        let Some(items) = entries.collect::<Option<Vec<_>>>() else {
            continue;
        };
        page.items = items;
        return Ok(page);
    }
    Err(EngineError::Corrupt(
        "an entry of an inbox, or its message, is missing; run `gimlet verify`",
    ))
}

impl PageSlot {
    const fn seq(&self) -> Seq {
        match self {
            Self::Read(entry) => entry.seq,
            Self::Large(seq) => *seq,
        }
    }
}

/// The entries that a page must hold: without a hole, up to its end or to the inbox's head.
///
/// One statement should read one moment. On MariaDB 10.11 under load a page was seen to miss an entry
/// below one that it returned. The likely cause, not proven: while the server collects the active
/// transactions of the snapshot, one of them commits, and so does a later one that waited for it;
/// the statement then counts the first as active and the second as committed. A page with a hole is
/// therefore read again, with a new snapshot.
struct PageBounds {
    /// The page begins after this entry.
    after: Seq,
    /// The inbox's head and floor, from the same statement.
    head: Head,
    /// More entries follow the page.
    more: bool,
}

impl PageBounds {
    /// Returns whether these entries are all that the page must hold, in order.
    fn are_filled_by(&self, entries: impl Iterator<Item = Seq>) -> bool {
        let mut last = self.after.max(self.head.floor);
        for seq in entries {
            if seq != last.next() {
                return false;
            }
            last = seq;
        }
        if self.more {
            last < self.head.head
        } else {
            last >= self.head.head
        }
    }
}

/// Reads the head and the entries of the page: small bodies completely, of large ones only the
/// header, so that no body is read that does not fit into the page.
async fn lengths(
    session: &mut MysqlSession,
    user: UserId,
    seq: Seq,
    limit: PageLimit,
) -> Result<(InboxSlice, Vec<PageSlot>), EngineError> {
    let items = limit.items.max(1);
    let small = (limit.bytes / items).max(SMALL_BODY_BYTES);
    // Entries and their head are one commit, and one statement reads one moment, as far as the
    // server keeps it (see `PageBounds`). The first row is the head, the others are entries; with a
    // join to the head, the server would sort the entries first.
    let sql = "SELECT 1, seq, floor, NULL FROM inbox_head WHERE user_id = ? UNION ALL \
               (SELECT 0, i.seq, CAST(LENGTH(COALESCE(i.body, m.body)) AS UNSIGNED), \
               IF(LENGTH(COALESCE(i.body, m.body)) <= ?, COALESCE(i.body, m.body), \
               LEFT(COALESCE(i.body, m.body), ?)) \
               FROM inbox i LEFT JOIN message m ON m.message_id = i.shared \
               WHERE i.user_id = ? AND i.seq > ? ORDER BY i.seq LIMIT ?)";
    let select = sqlx::query(sql)
        .bind(user.get())
        .bind(i64::try_from(small).unwrap_or(i64::MAX))
        .bind(record::HEADER as u64)
        .bind(user.get())
        .bind(seq.get())
        .bind(items as u64 + 1);
    // Taken before the read: see `StoreHistory::saw`.
    let known = session.history.known(user);
    let rows = session.rows(select).await?;
    let (mut page, mut slots, mut taken) = (InboxSlice::default(), Vec::new(), 0);
    for row in &rows {
        let seq = Seq::new(number(row, 1)?);
        if row.try_get_unchecked::<i64, _>(0)? == 1 {
            let floor = Seq::new(number(row, 2)?);
            page.head = Head { head: seq, floor };
            continue;
        }
        if slots.len() == items || taken > limit.bytes {
            page.more = true;
            break;
        }
        let length = row.try_get::<Option<u64>, _>(2)?;
        let length = length.ok_or(EngineError::Corrupt("an entry's message is missing"))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // The whole of a small body, the header of a large one.
        let body = bytes(row, 3)?;
        let slot = if length <= small {
            let message = Arc::new(record::decode(body)?);
            taken += message.content.len();
            PageSlot::Read(InboxEntry { seq, message })
        } else {
            taken = taken.saturating_add(record::content_len(&body, length)?);
            PageSlot::Large(seq)
        };
        slots.push(slot);
    }
    session.history.saw(user, known, page.head.head)?;
    Ok((page, slots))
}

/// Reads the bodies of these entries.
async fn large_bodies(
    session: &mut MysqlSession,
    user: UserId,
    seqs: &[u64],
) -> Result<HashMap<Seq, Message>, EngineError> {
    let mut bodies = HashMap::with_capacity(seqs.len());
    for chunk in chunks::padded_chunks(seqs.len()) {
        let mut select = sqlx::query(chunks::text(
            "SELECT i.seq, COALESCE(i.body, m.body) FROM inbox i \
             LEFT JOIN message m ON m.message_id = i.shared WHERE i.user_id = ? AND i.seq IN (",
            "?",
            chunk.size(),
            ")",
        ));
        select = select.bind(user.get());
        for (at, _) in chunk.rows() {
            select = select.bind(seqs.get(at).copied());
        }
        for row in session.rows(select).await? {
            let body = row.try_get_unchecked::<Option<Vec<u8>>, _>(1)?;
            if let Some(body) = body {
                bodies.insert(Seq::new(number(&row, 0)?), record::decode(body)?);
            }
        }
    }
    Ok(bodies)
}

/// Removes one slice of entries; returns whether no more slices are left.
async fn trim(session: &mut MysqlSession, user: UserId, upto: Seq) -> Result<bool, EngineError> {
    let sql = "SELECT seq, floor FROM inbox_head WHERE user_id = ? FOR UPDATE";
    let Some(row) = session.row(sqlx::query(sql).bind(user.get())).await? else {
        return Ok(true);
    };
    // The head is locked before the bodies, as in `append`. It is read under the lock, so the range
    // below cannot change.
    let (head, floor) = (number(&row, 0)?, number(&row, 1)?);
    let upto = upto.get().min(head);
    if upto <= floor {
        return Ok(true);
    }
    let end = upto.min(floor + SLICE_ROWS);
    let sql = "SELECT shared FROM inbox \
               WHERE user_id = ? AND seq > ? AND seq <= ? AND shared IS NOT NULL";
    let select = sqlx::query(sql).bind(user.get()).bind(floor).bind(end);
    let mut shared: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for row in session.rows(select).await? {
        *shared.entry(bytes(&row, 0)?).or_default() += 1;
    }
    let sql = "DELETE FROM inbox WHERE user_id = ? AND seq <= ?";
    session
        .run(sqlx::query(sql).bind(user.get()).bind(end))
        .await?;
    let sql = "UPDATE inbox_head SET floor = ? WHERE user_id = ?";
    session
        .run(sqlx::query(sql).bind(end).bind(user.get()))
        .await?;
    release(session, &shared.into_iter().collect::<Vec<_>>()).await?;
    Ok(end == upto)
}

/// Subtracts these numbers of entries from their bodies' reference counts, and deletes bodies
/// without entries.
async fn release(session: &mut MysqlSession, shared: &[(Vec<u8>, i64)]) -> Result<(), EngineError> {
    for chunk in chunks::padded_chunks(shared.len()) {
        let mut update = sqlx::query(chunks::text(
            "INSERT INTO message (message_id, refs, body) VALUES ",
            "(?, ?, '')",
            chunk.size(),
            " ON DUPLICATE KEY UPDATE refs = refs + VALUES(refs)",
        ));
        for (at, is_padding) in chunk.rows() {
            let (id, entries) = shared.get(at).expect("an index of these rows");
            update = update
                .bind(id.as_slice())
                .bind(if is_padding { 0 } else { -entries });
        }
        session.run(update).await?;
        let mut delete = sqlx::query(chunks::text(
            "DELETE FROM message WHERE refs <= 0 AND message_id IN (",
            "?",
            chunk.size(),
            ")",
        ));
        for (at, _) in chunk.rows() {
            let (id, _) = shared.get(at).expect("an index of these rows");
            delete = delete.bind(id.as_slice());
        }
        session.run(delete).await?;
    }
    Ok(())
}

/// Deletes up to `max` keys whose window has passed; returns how many were found and how many
/// deleted.
async fn sweep(
    session: &mut MysqlSession,
    now: UnixTimestamp,
    max: u64,
) -> Result<(u64, u64), EngineError> {
    // Expired keys are found without locks and then deleted by the primary key, in the order in
    // which senders lock it. So the two cannot lock rows in opposite order.
    let sql = "SELECT id FROM send_key WHERE expires_at <= ? ORDER BY expires_at LIMIT ?";
    let rows = session.rows(sqlx::query(sql).bind(now.0).bind(max)).await?;
    let mut ids = Vec::with_capacity(rows.len());
    for row in &rows {
        ids.push(bytes(row, 0)?);
    }
    ids.sort_unstable();
    let mut removed = 0;
    for chunk in chunks::padded_chunks(ids.len()) {
        let mut delete = sqlx::query(chunks::text(
            "DELETE FROM send_key WHERE expires_at <= ? AND id IN (",
            "?",
            chunk.size(),
            ")",
        ));
        delete = delete.bind(now.0);
        for (at, _) in chunk.rows() {
            let id = ids.get(at).expect("an index of these rows");
            delete = delete.bind(id.as_slice());
        }
        removed += session.run(delete).await?.rows_affected();
    }
    Ok((rows.len() as u64, removed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_with_a_hole_is_recognised() {
        let filled = |after: u64, floor: u64, head: u64, more, entries: &[u64]| {
            let head = Head {
                head: Seq::new(head),
                floor: Seq::new(floor),
            };
            let after = Seq::new(after);
            let bounds = PageBounds { after, head, more };
            bounds.are_filled_by(entries.iter().copied().map(Seq::new))
        };
        assert!(filled(241, 0, 243, false, &[242, 243]));
        assert!(filled(0, 0, 9, true, &[1, 2]));
        assert!(filled(1, 4, 6, false, &[5, 6]), "the floor is above");
        assert!(filled(7, 0, 7, false, &[]) && filled(9, 0, 7, false, &[]));
        assert!(filled(0, 7, 7, false, &[]) && filled(0, 0, 0, false, &[]));
        // The first, a middle, and the last entries are missing; an entry is above the head.
        assert!(!filled(241, 0, 243, false, &[243]));
        assert!(!filled(0, 0, 4, false, &[1, 2, 4]));
        assert!(!filled(0, 0, 4, false, &[1, 2]) && !filled(0, 0, 1, false, &[]));
        assert!(!filled(0, 0, 4, true, &[1, 2, 4]));
        assert!(!filled(0, 0, 2, true, &[1, 2, 3]));
        assert!(!filled(0, 0, 3, false, &[1, 3, 2]));
    }
}
