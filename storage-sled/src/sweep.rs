//! Sweeps: removes the keys of sends whose window has passed.

use gimlet_proto::store;

use crate::error::EngineError;
use crate::txn::WriteTransaction;
use crate::{key, record};

/// Result of one slice of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SweptSlice {
    /// Keys that were removed.
    pub(crate) removed: usize,
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
    let mut removed = 0;
    for (name, mut keys, count) in lists {
        for id in keys.drain(..count) {
            removed += usize::from(forget_one(txn, &id, now)?);
        }
        if keys.is_empty() {
            txn.remove(&name)?;
        } else {
            txn.put(&name, &store::Expiring { keys })?;
        }
    }
    Ok(SweptSlice {
        removed,
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
