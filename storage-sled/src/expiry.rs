//! Expiry of send keys: a few lists per commit instead of a row per key.
//!
//! The record of a key holds the key's own expiry. The lists only find expired keys without a scan
//! over all keys. A key that was renewed after it was listed is still in its old list; the sweep
//! skips it there.

use gimlet_proto::store;

use crate::error::EngineError;
use crate::key::{self, TwoNumberKey};
use crate::rows::{MAX_ROW_BYTES, RowView};

/// Overhead in bytes: that of a list's row besides its keys, and that of each key besides its id.
const OVERHEAD_BYTES: usize = 4;

/// Keys that a commit has recorded, with their expiry times.
#[derive(Debug, Default)]
pub(crate) struct ExpiringKeys(Vec<(i64, Vec<u8>)>);

impl ExpiringKeys {
    pub(crate) fn note(&mut self, expires_ms: i64, id: &[u8]) {
        self.0.push((expires_ms, id.to_vec()));
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Returns the lists of a commit with their keys in the tree, numbered after the stored lists of the
    /// same millisecond.
    pub(crate) fn lists(
        self,
        rows: &RowView<'_>,
    ) -> Result<Vec<(TwoNumberKey, store::Expiring)>, EngineError> {
        let mut noted = self.0;
        noted.sort_by_key(|(at, _)| *at);
        let mut noted = noted.into_iter().peekable();
        let mut lists = Vec::new();
        while let Some((at, first)) = noted.next() {
            let last = rows.last_in_tree(&key::expiries(at))?;
            let mut number = last.map_or(0, |last| last + 1);
            let mut bytes = OVERHEAD_BYTES + first.len();
            let mut keys = vec![first.into()];
            while let Some((_, id)) = noted.next_if(|(same, _)| *same == at) {
                if OVERHEAD_BYTES + bytes + OVERHEAD_BYTES + id.len() > MAX_ROW_BYTES {
                    let full = std::mem::take(&mut keys);
                    lists.push((key::expiry(at, number), store::Expiring { keys: full }));
                    number += 1;
                    bytes = 0;
                }
                bytes += OVERHEAD_BYTES + id.len();
                keys.push(id.into());
            }
            lists.push((key::expiry(at, number), store::Expiring { keys }));
        }
        Ok(lists)
    }
}
