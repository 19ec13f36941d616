//! Expiry of send keys: a few lists per commit instead of a row per key.
//!
//! The record of a key holds the key's own expiry. The lists only find expired keys without a scan
//! over all keys. A key that was renewed after it was listed is still in its old list; the sweep
//! skips it there.

use gimlet_proto::store;

use crate::error::EngineError;
use crate::rows::MAX_ROW_BYTES;
use crate::txn::WriteTransaction;
use crate::{key, record};

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
}

/// Writes the lists of a commit, numbered after the stored lists of the same millisecond.
pub(crate) fn list(
    txn: &mut WriteTransaction<'_>,
    expiring: ExpiringKeys,
) -> Result<(), EngineError> {
    let mut noted = expiring.0;
    noted.sort_by_key(|(at, _)| *at);
    let mut noted = noted.into_iter().peekable();
    while let Some((at, first)) = noted.next() {
        let last = txn.rows().last_in_tree(&key::expiries(at))?;
        let mut number = last.map_or(0, |last| last + 1);
        let mut bytes = OVERHEAD_BYTES + first.len();
        let mut keys = vec![first.into()];
        while let Some((_, id)) = noted.next_if(|(same, _)| *same == at) {
            if OVERHEAD_BYTES + bytes + OVERHEAD_BYTES + id.len() > MAX_ROW_BYTES {
                let full = std::mem::take(&mut keys);
                txn.put(&key::expiry(at, number), &store::Expiring { keys: full })?;
                number += 1;
                bytes = 0;
            }
            bytes += OVERHEAD_BYTES + id.len();
            keys.push(id.into());
        }
        txn.put(&key::expiry(at, number), &store::Expiring { keys })?;
    }
    Ok(())
}

/// Result of one slice of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SweptSlice {
    /// Keys that were removed.
    pub(crate) gone: usize,
    /// True if more expired keys may be left.
    pub(crate) more: bool,
}

/// Removes expired keys, oldest first, and looks at `max` keys at most.
pub(crate) fn forget(
    txn: &mut WriteTransaction<'_>,
    max: usize,
) -> Result<SweptSlice, EngineError> {
    let now = record::ms(txn.now());
    let mut lists = Vec::new();
    let mut left = max;
    for row in txn.rows().scan(key::EXPIRIES, None) {
        let (name, value) = row?;
        if left == 0 || name.as_ref() >= key::expiries(now.saturating_add(1)).as_slice() {
            break;
        }
        let list: store::Expiring = txn.rows().decode(&name, &value)?;
        let keys = list.keys.len().min(left);
        left -= keys;
        lists.push((name, list.keys, keys));
    }
    let mut gone = 0;
    for (name, mut keys, count) in lists {
        for id in keys.drain(..count) {
            gone += usize::from(forget_one(txn, &id, now)?);
        }
        if keys.is_empty() {
            txn.remove(&name)?;
        } else {
            txn.put(&name, &store::Expiring { keys })?;
        }
    }
    Ok(SweptSlice {
        gone,
        more: left == 0,
    })
}

/// Removes a key, unless it was renewed after it was listed. Returns true if it was removed.
fn forget_one(txn: &mut WriteTransaction<'_>, id: &[u8], now: i64) -> Result<bool, EngineError> {
    let name = key::send_key(id);
    let row: Option<store::Key> = txn.get(&name)?;
    let expired = row.is_some_and(|row| row.expires_ms <= now);
    if expired {
        txn.remove(&name)?;
    }
    Ok(expired)
}
