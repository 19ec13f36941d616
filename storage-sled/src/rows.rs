//! Reads rows: the tree with an overlay of other values.
//!
//! The writer reads through its pending changes, a reader through the shadowed values of changes
//! that are not durable yet. Both use this view. Values longer than one row are joined here.

use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use gimlet_core::id::UserId;
use gimlet_core::store::Head;
use prost::Message;
use sled::{IVec, Tree};

use crate::error::EngineError;
use crate::key;

/// Bytes of the longest value in one row. sled moves nodes with larger values to files that it
/// never syncs.
pub(crate) const MAX_ROW_BYTES: usize = 4_096;

/// First byte of a value that fits one row.
pub(crate) const SINGLE_ROW: u8 = 0;
/// First byte of a value that continues in further rows; four bytes with their number follow.
pub(crate) const CHUNKED_ROW: u8 = 1;

/// Encodes a record that fits one row.
pub(crate) fn whole(record: &impl Message) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + record.encoded_len());
    value.push(SINGLE_ROW);
    record
        .encode(&mut value)
        .expect("a Vec takes what encoded_len promised and more");
    value
}

/// An overlay over the tree.
#[derive(Debug, Default)]
pub(crate) struct RowOverlay {
    /// Rows by key; `None` hides the row of the tree.
    pub(crate) rows: BTreeMap<IVec, Option<IVec>>,
    /// Heads of the inboxes whose entries or floors differ from the tree's.
    pub(crate) heads: HashMap<UserId, Head>,
}

impl RowOverlay {
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

/// A view of the tree through an overlay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowView<'a> {
    tree: &'a Tree,
    over: &'a RowOverlay,
}

impl<'a> RowView<'a> {
    pub(crate) const fn new(tree: &'a Tree, over: &'a RowOverlay) -> Self {
        Self { tree, over }
    }

    /// Returns the row in its stored form.
    pub(crate) fn raw(&self, key: &[u8]) -> Result<Option<IVec>, EngineError> {
        match self.over.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.tree.get(key)?),
        }
    }

    /// Returns the record of this key.
    pub(crate) fn get<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, EngineError> {
        match self.raw(key)? {
            Some(raw) => self.decode(key, &raw).map(Some),
            None => Ok(None),
        }
    }

    /// Returns true if this row exists.
    pub(crate) fn has(&self, key: &[u8]) -> Result<bool, EngineError> {
        Ok(self.raw(key)?.is_some())
    }

    /// Decodes the record in a row of this key.
    pub(crate) fn decode<M: Message + Default>(
        &self,
        key: &[u8],
        raw: &[u8],
    ) -> Result<M, EngineError> {
        match raw.split_first() {
            Some((&SINGLE_ROW, value)) => Ok(M::decode(value)?),
            Some((&CHUNKED_ROW, rest)) => Ok(M::decode(self.join(key, rest)?)?),
            _ => Err(EngineError::Corrupt("a row begins with an unknown byte")),
        }
    }

    /// Decodes the record in a row of this key; the record shares its bytes with `raw`.
    pub(crate) fn decode_shared<M: Message + Default>(
        &self,
        key: &[u8],
        raw: Bytes,
    ) -> Result<M, EngineError> {
        Ok(M::decode(self.value_shared(key, raw)?)?)
    }

    /// The value in a row of this key: shared with `raw` if it fits one row.
    pub(crate) fn value_shared(&self, key: &[u8], mut raw: Bytes) -> Result<Bytes, EngineError> {
        match raw.split_first() {
            Some((&SINGLE_ROW, _)) => {
                raw.advance(1);
                Ok(raw)
            }
            Some((&CHUNKED_ROW, rest)) => self.join(key, rest),
            _ => Err(EngineError::Corrupt("a row begins with an unknown byte")),
        }
    }

    /// The message that is stored once under this key.
    pub(crate) fn message(
        &self,
        key: &[u8],
    ) -> Result<Option<Arc<gimlet_core::message::Message>>, EngineError> {
        let Some(raw) = self.raw(key)? else {
            return Ok(None);
        };
        let value = self.value_shared(key, Bytes::copy_from_slice(&raw))?;
        Ok(Some(Arc::new(gimlet_record::decode_shared(&value)?)))
    }

    /// Joins the rows of a long value.
    fn join(&self, key: &[u8], rest: &[u8]) -> Result<Bytes, EngineError> {
        let cut = EngineError::Corrupt("a long value is cut off");
        let Some((count, first)) = rest.split_first_chunk::<4>() else {
            return Err(cut);
        };
        let mut value = first.to_vec();
        for number in 0..u32::from_be_bytes(*count) {
            match self.raw(&key::value_chunk(key, number))? {
                Some(more) => value.extend_from_slice(&more),
                None => return Err(cut),
            }
        }
        Ok(value.into())
    }

    /// Returns the head of an inbox, if the overlay holds it.
    pub(crate) fn head(&self, user: UserId) -> Option<Head> {
        self.over.heads.get(&user).copied()
    }

    /// Returns the number at the end of the last key of the tree that consists of `prefix` and a
    /// number. Ignores the overlay.
    pub(crate) fn last_in_tree(
        &self,
        prefix: &key::OneNumberKey,
    ) -> Result<Option<u64>, EngineError> {
        let (low, high) = (prefix.as_slice(), key::last_of(prefix));
        match self.tree.range(low..=high.as_slice()).next_back() {
            Some(row) => Ok(key::last_number(&row?.0)),
            None => Ok(None),
        }
    }

    /// Returns the number at the end of the last key of the tree with this first byte. Ignores the
    /// overlay.
    pub(crate) fn last_with(&self, prefix: u8) -> Result<Option<u64>, EngineError> {
        match self.tree.range([prefix]..[prefix + 1]).next_back() {
            Some(row) => Ok(key::last_number(&row?.0)),
            None => Ok(None),
        }
    }

    /// Returns the rows whose key begins with `prefix`, ascending, after the key `after` if it is
    /// given.
    pub(crate) fn scan(&self, prefix: &[u8], after: Option<&[u8]>) -> RowScan<'a> {
        let start = after.map_or_else(
            || Bound::Included(IVec::from(prefix)),
            |after| Bound::Excluded(IVec::from(after)),
        );
        let range = (start, Bound::<IVec>::Unbounded);
        RowScan {
            prefix: prefix.to_vec(),
            tree: self.tree.range(range.clone()).peekable(),
            over: self.over.rows.range(range).peekable(),
        }
    }
}

/// Iterator over rows in the order of their keys.
pub(crate) struct RowScan<'a> {
    prefix: Vec<u8>,
    tree: Peekable<sled::Iter>,
    over: Peekable<std::collections::btree_map::Range<'a, IVec, Option<IVec>>>,
}

impl RowScan<'_> {
    /// Merges the two ascending iterators. On equal keys the overlay's row replaces the tree's row,
    /// and an overlay row without a value hides it.
    fn step(&mut self) -> Result<Option<(IVec, IVec)>, EngineError> {
        loop {
            let below = match self.tree.peek() {
                Some(Ok((key, _))) => Some(key),
                Some(Err(_)) => match self.tree.next() {
                    Some(Err(error)) => return Err(error.into()),
                    _ => return Ok(None),
                },
                None => None,
            };
            let above = self.over.peek().map(|(key, _)| key.as_ref());
            let (take_above, skip_below) = match (above, below) {
                (Some(above), Some(below)) => (above <= below.as_ref(), above == below.as_ref()),
                (above, _) => (above.is_some(), false),
            };
            if skip_below {
                self.tree.next();
            }
            if take_above {
                match self.over.next() {
                    Some((key, Some(value))) => {
                        return Ok(Some((key.clone(), value.clone())));
                    }
                    _ => continue,
                }
            }
            return Ok(self.tree.next().transpose()?);
        }
    }
}

impl Iterator for RowScan<'_> {
    type Item = Result<(IVec, IVec), EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Ok(Some((key, value))) if key.starts_with(&self.prefix) => Some(Ok((key, value))),
            Ok(_) => None,
            Err(fault) => Some(Err(fault)),
        }
    }
}
