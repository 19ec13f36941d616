//! The changes of one commit, gathered before any of them is applied to the tree.
//!
//! Commands run one after the other on the same transaction, and each sees the changes of those
//! before it. A command that fails is rolled back; the other commands of the commit are not
//! affected.

use std::collections::HashMap;

use prost::Message;
use sled::{Batch, IVec, Tree};

use gimlet_core::id::UserId;
use gimlet_core::store::Head;
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::store::Number;

use crate::error::EngineError;
use crate::expiry::ExpiringKeys;
use crate::heads::HeadCache;
use crate::rows::{CHUNKED_ROW, MAX_ROW_BYTES, RowOverlay, RowView, SINGLE_ROW, whole};
use crate::{heads, key};

/// Undo entry: the state of the changes before a command changed them.
#[derive(Debug)]
enum UndoEntry {
    /// No earlier command of the commit had changed this row.
    Untouched(IVec),
    /// An earlier command had set or removed this row.
    Row(IVec, Option<IVec>),
    /// The head of this inbox in the changes, if it was there.
    Head(UserId, Option<Head>),
}

/// The changes of one commit.
#[derive(Debug)]
pub(crate) struct CommitChanges {
    /// The rows, ready to be applied.
    pub(crate) batch: Batch,
    /// The new heads of inboxes.
    pub(crate) heads: HashMap<UserId, Head>,
    /// The shadowed values, which readers see until the commit is durable.
    pub(crate) former: RowOverlay,
    /// The rows once more, if the caller asked for them.
    pub(crate) rows: Vec<(IVec, Option<IVec>)>,
    /// Position of the last event, if the commit adds one.
    pub(crate) last_event: Option<u64>,
}

/// The writer's view of the tree and its pending changes.
#[derive(Debug)]
pub(crate) struct WriteTransaction<'a> {
    tree: &'a Tree,
    now: UnixTimestamp,
    /// Cache of the heads as they are in the tree.
    heads: &'a HeadCache,
    /// The new values.
    changes: RowOverlay,
    /// The shadowed values, which readers see until the new ones are durable.
    former: RowOverlay,
    /// The keys of sends that were recorded.
    expiring: ExpiringKeys,
    /// Undo log of the current command.
    undo: Vec<UndoEntry>,
    bytes: usize,
}

impl<'a> WriteTransaction<'a> {
    pub(crate) fn new(tree: &'a Tree, heads: &'a HeadCache, now: UnixTimestamp) -> Self {
        Self {
            tree,
            now,
            heads,
            changes: RowOverlay::new(),
            former: RowOverlay::new(),
            expiring: ExpiringKeys::default(),
            undo: Vec::new(),
            bytes: 0,
        }
    }

    /// Returns the time at which the commit was begun.
    pub(crate) const fn now(&self) -> UnixTimestamp {
        self.now
    }

    /// Returns the stored rows with the changes so far.
    pub(crate) const fn rows(&self) -> RowView<'_> {
        RowView::new(self.tree, &self.changes)
    }

    /// Returns the bytes of the changes so far.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of rows changed so far.
    pub(crate) fn rows_changed(&self) -> usize {
        self.changes.rows.len()
    }

    /// Runs a command; if it fails, its changes are rolled back.
    ///
    /// The undo log is replayed backwards, because one command may have changed the same row twice.
    /// Shadowed values need no undo: they are the values in the tree, and shadowing an unchanged
    /// row with its own value is harmless.
    pub(crate) fn attempt<T>(
        &mut self,
        command: impl FnOnce(&mut Self) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.undo.clear();
        let expiring = self.expiring.len();
        let outcome = command(self);
        if outcome.is_err() {
            self.expiring.truncate(expiring);
            while let Some(before) = self.undo.pop() {
                self.roll_back(before);
            }
        }
        outcome
    }

    fn roll_back(&mut self, before: UndoEntry) {
        match before {
            UndoEntry::Row(key, value) => {
                self.changes.rows.insert(key, value);
            }
            UndoEntry::Untouched(key) => {
                self.changes.rows.remove(&key);
            }
            UndoEntry::Head(user, Some(head)) => {
                self.changes.heads.insert(user, head);
            }
            UndoEntry::Head(user, None) => {
                self.changes.heads.remove(&user);
            }
        }
    }

    /// Returns the head of an inbox, with the changes so far.
    pub(crate) fn head(&self, user: UserId) -> Result<Head, EngineError> {
        match self.changes.heads.get(&user) {
            Some(head) => Ok(*head),
            None => self.stored_head(user),
        }
    }

    fn stored_head(&self, user: UserId) -> Result<Head, EngineError> {
        heads::head(
            &RowView::new(self.tree, &RowOverlay::new()),
            self.heads,
            user,
        )
    }

    /// Sets the head of an inbox. The caller changes the entries and the floor to match.
    pub(crate) fn set_head(&mut self, user: UserId, head: Head) -> Result<(), EngineError> {
        let before = self.changes.heads.insert(user, head);
        if before.is_none() {
            let former = self.stored_head(user)?;
            self.former.heads.insert(user, former);
        }
        self.undo.push(UndoEntry::Head(user, before));
        Ok(())
    }

    /// Records the expiry of a send's key.
    pub(crate) fn expires(&mut self, expires_ms: i64, id: &[u8]) {
        self.bytes += id.len();
        self.expiring.note(expires_ms, id);
    }

    /// Returns the record of this key, with the changes so far.
    pub(crate) fn get<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, EngineError> {
        self.rows().get(key)
    }

    /// Returns true if this row exists, with the changes so far.
    pub(crate) fn has(&self, key: &[u8]) -> Result<bool, EngineError> {
        self.rows().has(key)
    }

    /// Sets a record.
    pub(crate) fn put(&mut self, key: &[u8], record: &impl Message) -> Result<(), EngineError> {
        self.put_value(key, whole(record))
    }

    /// Sets a row without a value: only its presence counts.
    pub(crate) fn mark(&mut self, key: &[u8]) -> Result<(), EngineError> {
        self.set(key, Some(IVec::from(&[SINGLE_ROW][..])))
    }

    /// Sets a value whose first byte is [`SINGLE_ROW`]. A value that is too long for one row is
    /// split.
    pub(crate) fn put_value(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), EngineError> {
        // A shorter value would leave further rows of the old one behind.
        if key::may_shrink(key) {
            self.remove_pieces(key)?;
        }
        if value.len() <= MAX_ROW_BYTES {
            return self.set(key, Some(value.into()));
        }
        let value = value.get(1..).unwrap_or_default();
        let (first, rest) = value.split_at(value.len().min(MAX_ROW_BYTES - 5));
        let count = u32::try_from(rest.len().div_ceil(MAX_ROW_BYTES))
            .map_err(|_| EngineError::Misuse("the value needs more than 4,294,967,295 rows"))?;
        let mut row = Vec::with_capacity(MAX_ROW_BYTES);
        row.push(CHUNKED_ROW);
        row.extend_from_slice(&count.to_be_bytes());
        row.extend_from_slice(first);
        self.set(key, Some(row.into()))?;
        for (number, chunk) in (0..count).zip(rest.chunks(MAX_ROW_BYTES)) {
            self.set(&key::value_chunk(key, number), Some(chunk.into()))?;
        }
        Ok(())
    }

    /// Sets a row in its stored form; the caller ensures that it fits.
    pub(crate) fn put_row(&mut self, key: &[u8], row: IVec) -> Result<(), EngineError> {
        self.set(key, Some(row))
    }

    /// Removes a row, and the further rows of a long value.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<(), EngineError> {
        self.remove_pieces(key)?;
        self.set(key, None)
    }

    fn remove_pieces(&mut self, key: &[u8]) -> Result<(), EngineError> {
        let Some(raw) = self.rows().raw(key)? else {
            return Ok(());
        };
        if let Some((&CHUNKED_ROW, rest)) = raw.split_first()
            && let Some(count) = rest.first_chunk::<4>()
        {
            for number in 0..u32::from_be_bytes(*count) {
                self.set(&key::value_chunk(key, number), None)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: Option<IVec>) -> Result<(), EngineError> {
        let name = IVec::from(key);
        // The tree holds the durable value until this commit is applied, so the first change of a
        // row saves the right one, and later changes need no second look-up.
        if key::visible_to_readers(key, value.is_none()) && !self.former.rows.contains_key(key) {
            let former = self.tree.get(key)?;
            self.former.rows.insert(name.clone(), former);
        }
        self.bytes += key.len() + value.as_ref().map_or(0, |it| it.len());
        self.undo
            .push(match self.changes.rows.insert(name.clone(), value) {
                Some(before) => UndoEntry::Row(name, before),
                None => UndoEntry::Untouched(name),
            });
        Ok(())
    }

    /// Returns the changes, with the row of the commit; `None` if there are none. Also returns a
    /// copy of the rows if `with_rows` is set, for a backup in progress.
    pub(crate) fn finish(
        mut self,
        commit: Option<Vec<u8>>,
        with_rows: bool,
    ) -> Result<Option<CommitChanges>, EngineError> {
        let expiring = std::mem::take(&mut self.expiring);
        let lists = expiring.lists(&self.rows())?;
        for (key, list) in lists {
            self.put(&key, &list)?;
        }
        if self.changes.rows.is_empty() {
            return Ok(None);
        }
        let last_event = match self.changes.rows.get(key::LAST_EVENT.as_slice()) {
            Some(Some(_)) => self.get::<Number>(&key::LAST_EVENT)?,
            _ => None,
        };
        let mut batch = Batch::default();
        if let Some(row) = commit {
            batch.insert(key::COMMIT, row);
        }
        let mut rows = Vec::new();
        for (key, value) in self.changes.rows {
            if with_rows {
                rows.push((key.clone(), value.clone()));
            }
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        Ok(Some(CommitChanges {
            batch,
            heads: self.changes.heads,
            former: self.former,
            rows,
            last_event: last_event.map(|it| it.value),
        }))
    }
}

#[cfg(test)]
mod tests {
    use gimlet_core::seq::Seq;
    use gimlet_proto::store::Friend;

    use super::*;

    fn tree(test: impl FnOnce(&Tree)) {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(dir.path()).flush_every_ms(None);
        test(&db.open().unwrap());
    }

    fn commit(tree: &Tree, change: impl FnOnce(&mut WriteTransaction<'_>)) -> RowOverlay {
        let heads = HeadCache::default();
        let mut txn = WriteTransaction::new(tree, &heads, UnixTimestamp(0));
        change(&mut txn);
        let changes = txn.finish(None, false).unwrap().unwrap();
        tree.apply_batch(changes.batch).unwrap();
        changes.former
    }

    fn friend(length: usize) -> Friend {
        Friend {
            remarks: "x".repeat(length),
            ..Friend::default()
        }
    }

    #[test]
    fn a_command_that_fails_leaves_only_the_others() {
        tree(|tree| {
            let heads = HeadCache::default();
            let mut txn = WriteTransaction::new(tree, &heads, UnixTimestamp(0));
            let number = |value| Number { value };
            txn.attempt(|txn| txn.put(b"C1", &number(1))).unwrap();
            let failed = txn.attempt(|txn| {
                txn.put(b"C1", &number(2))?;
                txn.put(b"C2", &number(3))?;
                txn.remove(b"C1")?;
                Err::<(), _>(EngineError::Misuse("on purpose"))
            });
            assert!(failed.is_err());
            assert_eq!(txn.get::<Number>(b"C1").unwrap(), Some(number(1)));
            assert!(!txn.has(b"C2").unwrap());
        });
    }

    #[test]
    fn a_command_that_fails_leaves_heads_and_expiries_as_they_were() {
        tree(|tree| {
            let (heads, user) = (HeadCache::default(), UserId::new(1).unwrap());
            let at = |n| Head {
                head: Seq::new(n),
                floor: Seq::ZERO,
            };
            let mut txn = WriteTransaction::new(tree, &heads, UnixTimestamp(0));
            txn.attempt(|txn| txn.set_head(user, at(1))).unwrap();
            let failed = txn.attempt(|txn| {
                txn.set_head(user, at(2))?;
                txn.expires(5, b"key");
                Err::<(), _>(EngineError::Misuse("on purpose"))
            });
            assert!(failed.is_err());
            assert_eq!(txn.head(user).unwrap(), at(1));
            txn.put(b"C1", &Number { value: 1 }).unwrap();
            let changes = txn.finish(None, false).unwrap().unwrap();
            assert_eq!(changes.former.heads.get(&user), Some(&Head::default()));
            assert_eq!(changes.heads.get(&user), Some(&at(1)));
            tree.apply_batch(changes.batch).unwrap();
            assert_eq!(tree.iter().count(), 1);
        });
    }

    #[test]
    fn an_inbox_ends_with_its_last_entry_or_its_floor() {
        tree(|tree| {
            let user = |n| UserId::new(n).unwrap();
            let at = |n| {
                let none = RowOverlay::new();
                let head = heads::head(&RowView::new(tree, &none), &HeadCache::default(), user(n))
                    .unwrap();
                (head.head.get(), head.floor.get())
            };
            commit(tree, |txn| {
                for seq in 1..=300 {
                    txn.mark(&key::entry(user(2), Seq::new(seq))).unwrap();
                }
            });
            assert_eq!([at(1), at(2), at(3)], [(0, 0), (300, 0), (0, 0)]);
            commit(tree, |txn| {
                for seq in 1..=300 {
                    txn.remove(&key::entry(user(2), Seq::new(seq))).unwrap();
                }
                txn.put(&key::floor(user(2)), &Number { value: 300 })
                    .unwrap();
            });
            assert_eq!([at(1), at(2), at(3)], [(0, 0), (300, 300), (0, 0)]);
        });
    }

    #[test]
    fn long_values_come_back_and_leave_nothing_behind() {
        tree(|tree| {
            for length in [
                0,
                4_000,
                MAX_ROW_BYTES - 1,
                MAX_ROW_BYTES,
                MAX_ROW_BYTES + 1,
                9_000,
                60_000,
                5_000,
                1,
            ] {
                commit(tree, |txn| txn.put(b"F1", &friend(length)).unwrap());
                let none = RowOverlay::new();
                let found = RowView::new(tree, &none).get::<Friend>(b"F1").unwrap();
                assert_eq!(found, Some(friend(length)));
                let rows = tree.iter().map(Result::unwrap);
                assert!(
                    rows.into_iter()
                        .all(|(_, value)| value.len() <= MAX_ROW_BYTES)
                );
            }
            commit(tree, |txn| txn.put(b"F1", &friend(30_000)).unwrap());
            commit(tree, |txn| txn.remove(b"F1").unwrap());
            assert!(tree.is_empty());
        });
    }

    #[test]
    fn shadowed_values_are_the_state_before() {
        tree(|tree| {
            commit(tree, |txn| {
                txn.put(b"F1", &friend(10_000)).unwrap();
                txn.put(b"F3", &friend(3)).unwrap();
            });
            let former = commit(tree, |txn| {
                txn.put(b"F1", &friend(1)).unwrap();
                txn.put(b"F2", &friend(2)).unwrap();
                txn.remove(b"F3").unwrap();
            });
            let lengths = |layer: &RowOverlay| {
                let rows = RowView::new(tree, layer);
                let found = rows.scan(b"F", None).map(|row| {
                    let (key, value) = row.unwrap();
                    rows.decode::<Friend>(&key, &value).unwrap().remarks.len()
                });
                found.collect::<Vec<_>>()
            };
            assert_eq!(lengths(&former), [10_000, 3]);
            assert_eq!(lengths(&RowOverlay::new()), [1, 2]);
        });
    }
}
