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
