//! The changes of one commit, gathered before any of them touches the tree.
//!
//! Commands run one after the other on the same transaction, each seeing what the ones before it
//! did. A command that fails leaves nothing behind; the others of the commit are not touched.

use prost::Message;
use sled::{Batch, IVec, Tree};

use gimlet_core::time::Timestamp;

use crate::error::Fault;
use crate::key;
use crate::rows::{Layer, PIECES, ROW, Rows, WHOLE};

/// What a command found before it changed a row.
#[derive(Debug)]
enum Before {
    /// No earlier command of the commit had changed it.
    Unchanged,
    /// An earlier command had set or removed it.
    Changed(Option<IVec>),
}

/// The writer's view and its changes.
#[derive(Debug)]
pub(crate) struct Txn<'a> {
    tree: &'a Tree,
    now: Timestamp,
    /// The new values.
    changes: Layer,
    /// The values that readers see until the new ones are durable.
    former: Layer,
    /// What undoes the present command.
    undo: Vec<(Vec<u8>, Before)>,
    bytes: usize,
}

impl<'a> Txn<'a> {
    pub(crate) fn new(tree: &'a Tree, now: Timestamp) -> Self {
        Self {
            tree,
            now,
            changes: Layer::new(),
            former: Layer::new(),
            undo: Vec::new(),
            bytes: 0,
        }
    }

    /// When the commit was begun.
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// What is stored, with the changes so far.
    pub(crate) const fn rows(&self) -> Rows<'_> {
        Rows::new(self.tree, &self.changes)
    }

    /// Bytes of the changes so far.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Runs a command; if it fails, its changes are taken back.
    pub(crate) fn attempt<T>(
        &mut self,
        command: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.undo.clear();
        let outcome = command(self);
        if outcome.is_err() {
            while let Some((key, value)) = self.undo.pop() {
                match value {
                    Before::Changed(value) => self.changes.insert(key, value),
                    Before::Unchanged => self.changes.remove(&key),
                };
            }
        }
        outcome
    }

    /// The record of this key, with the changes so far.
    pub(crate) fn get<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, Fault> {
        self.rows().get(key)
    }

    /// As [`get`](Self::get), for a record of one row that is about to be set: what is read is kept
    /// for readers, and need not be read again.
    pub(crate) fn take<M: Message + Default>(&mut self, key: &[u8]) -> Result<Option<M>, Fault> {
        let raw = if let Some(value) = self.changes.get(key) {
            value.clone()
        } else {
            let raw = self.tree.get(key)?;
            self.former.insert(key.to_vec(), raw.clone());
            raw
        };
        raw.map(|raw| self.rows().decode(key, &raw)).transpose()
    }

    /// Whether there is such a row, with the changes so far.
    pub(crate) fn has(&self, key: &[u8]) -> Result<bool, Fault> {
        self.rows().has(key)
    }

    /// Sets a record.
    pub(crate) fn put(&mut self, key: &[u8], record: &impl Message) -> Result<(), Fault> {
        let mut value = Vec::with_capacity(1 + record.encoded_len());
        value.push(WHOLE);
        record
            .encode(&mut value)
            .expect("a Vec takes what encoded_len promised and more");
        self.put_value(key, value)
    }

    /// Sets a row that says nothing but that it is there.
    pub(crate) fn mark(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.set(key, Some(IVec::from(&[WHOLE][..])))
    }

    /// Sets a value whose first byte is [`WHOLE`]; one that is too long for a row is cut.
    pub(crate) fn put_value(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), Fault> {
        if key::may_shrink(key) {
            self.remove_pieces(key)?;
        }
        if value.len() <= ROW {
            return self.set(key, Some(value.into()));
        }
        let value = value.get(1..).unwrap_or_default();
        let (first, rest) = value.split_at(value.len().min(ROW - 5));
        let pieces = u32::try_from(rest.len().div_ceil(ROW))
            .map_err(|_| Fault::Misuse("a value of terabytes"))?;
        let mut row = Vec::with_capacity(ROW);
        row.push(PIECES);
        row.extend_from_slice(&pieces.to_be_bytes());
        row.extend_from_slice(first);
        self.set(key, Some(row.into()))?;
        for (number, piece) in (0..pieces).zip(rest.chunks(ROW)) {
            self.set(&key::piece(key, number), Some(piece.into()))?;
        }
        Ok(())
    }

    /// Removes a row, and the further rows of a long value.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.remove_pieces(key)?;
        self.set(key, None)
    }

    fn remove_pieces(&mut self, key: &[u8]) -> Result<(), Fault> {
        let Some(raw) = self.rows().raw(key)? else {
            return Ok(());
        };
        if let Some((&PIECES, rest)) = raw.split_first()
            && let Some(count) = rest.first_chunk::<4>()
        {
            for number in 0..u32::from_be_bytes(*count) {
                self.set(&key::piece(key, number), None)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: Option<IVec>) -> Result<(), Fault> {
        if key::shows(key, value.is_none()) && !self.former.contains_key(key) {
            self.former.insert(key.to_vec(), self.tree.get(key)?);
        }
        self.bytes += key.len() + value.as_ref().map_or(0, |it| it.len());
        let before = self.changes.insert(key.to_vec(), value);
        let before = before.map_or(Before::Unchanged, Before::Changed);
        self.undo.push((key.to_vec(), before));
        Ok(())
    }

    /// The changes as one atomic batch, with the former values for readers; `None` if there are no
    /// changes.
    pub(crate) fn finish(self) -> Option<(Batch, Layer)> {
        if self.changes.is_empty() {
            return None;
        }
        let mut batch = Batch::default();
        for (key, value) in self.changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        Some((batch, self.former))
    }
}

#[cfg(test)]
mod tests {
    use gimlet_proto::store::{Friend, Number};

    use super::*;

    fn tree(test: impl FnOnce(&Tree)) {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(dir.path()).flush_every_ms(None);
        test(&db.open().unwrap());
    }

    fn commit(tree: &Tree, change: impl FnOnce(&mut Txn<'_>)) -> Layer {
        let mut txn = Txn::new(tree, Timestamp(0));
        change(&mut txn);
        let (batch, former) = txn.finish().unwrap();
        tree.apply_batch(batch).unwrap();
        former
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
            let mut txn = Txn::new(tree, Timestamp(0));
            let number = |value| Number { value };
            txn.attempt(|txn| txn.put(b"C1", &number(1))).unwrap();
            let failed = txn.attempt(|txn| {
                txn.put(b"C1", &number(2))?;
                txn.put(b"C2", &number(3))?;
                txn.remove(b"C1")?;
                Err::<(), _>(Fault::Misuse("on purpose"))
            });
            assert!(failed.is_err());
            assert_eq!(txn.get::<Number>(b"C1").unwrap(), Some(number(1)));
            assert!(!txn.has(b"C2").unwrap());
        });
    }

    #[test]
    fn long_values_come_back_and_leave_nothing_behind() {
        tree(|tree| {
            for length in [0, 4_000, ROW - 1, ROW, ROW + 1, 9_000, 60_000, 5_000, 1] {
                commit(tree, |txn| txn.put(b"F1", &friend(length)).unwrap());
                let none = Layer::new();
                let found = Rows::new(tree, &none).get::<Friend>(b"F1").unwrap();
                assert_eq!(found, Some(friend(length)));
                let rows = tree.iter().map(Result::unwrap);
                assert!(rows.into_iter().all(|(_, value)| value.len() <= ROW));
            }
            commit(tree, |txn| txn.put(b"F1", &friend(30_000)).unwrap());
            commit(tree, |txn| txn.remove(b"F1").unwrap());
            assert!(tree.is_empty());
        });
    }

    #[test]
    fn the_former_values_are_the_state_before() {
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
            let lengths = |layer: &Layer| {
                let rows = Rows::new(tree, layer);
                let found = rows.scan(b"F", None).map(|row| {
                    let (key, value) = row.unwrap();
                    rows.decode::<Friend>(&key, &value).unwrap().remarks.len()
                });
                found.collect::<Vec<_>>()
            };
            assert_eq!(lengths(&former), [10_000, 3]);
            assert_eq!(lengths(&Layer::new()), [1, 2]);
        });
    }
}
