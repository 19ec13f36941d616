//! Entries of inboxes: each holds its message, or refers to a message that is stored once.

use gimlet_core::id::UserId;
use gimlet_core::seq::Seq;
use gimlet_proto::store::{self, entry};
use sled::IVec;

use crate::error::EngineError;
use crate::key;
use crate::rows::whole;
use crate::txn::WriteTransaction;

/// Builds an entry that refers to a message stored once.
pub(crate) fn refer(body: u64) -> IVec {
    value(entry::Body::Stored(body))
}

pub(crate) fn value(body: entry::Body) -> IVec {
    whole(&store::Entry { body: Some(body) }).into()
}

/// Appends one entry to each of these inboxes.
pub(crate) fn entries<'a>(
    txn: &mut WriteTransaction<'_>,
    row: &IVec,
    users: impl Iterator<Item = &'a UserId>,
) -> Result<Vec<(UserId, Seq)>, EngineError> {
    users
        .map(|user| {
            let mut at = txn.head(*user)?;
            at.head = at.head.next();
            txn.set_head(*user, at)?;
            txn.put_row(&key::entry(*user, at.head), row.clone())?;
            Ok((*user, at.head))
        })
        .collect()
}
