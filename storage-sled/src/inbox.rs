//! Inboxes: pages, retention, and the sweep of keys.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use gimlet_core::id::{GroupId, UserId};
use gimlet_core::message::{InboxEntry, Message};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{
    AppendOutcome, AppendRequest, Head, InboxSlice, InboxStore, JobLease, JobStepOutcome,
    StoreError,
};
use gimlet_proto::store::{self, Number, entry};

use crate::append;
use crate::error::EngineError;
use crate::heads::head;
use crate::rows::RowView;
use crate::shared::SharedState;
use crate::space::SpaceEffect;
use crate::store::SledStore;
use crate::txn::WriteTransaction;
use crate::{job, key, record, sweep};

/// Entries or keys removed in one command. A long removal takes several commands, so that sends run
/// in between.
const SLICE_ROWS: usize = 500;

/// Entries for which a page allocates at once.
const PAGE_CAPACITY_ITEMS: usize = 64;

/// Bytes of the memory blocks that the rows of a page share; a page allocates as many as it needs.
const BLOCK_BYTES: usize = 8 << 10;

#[async_trait]
impl InboxStore for SledStore {
    async fn append(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        AppendRequest::check("inbox.append", batch)?;
        let batch = batch.to_vec();
        let append = move |txn: &mut WriteTransaction<'_>| append::append(txn, &batch);
        self.change("inbox.append", SpaceEffect::Adds, append).await
    }

    async fn after(
        &self,
        user: UserId,
        seq: Seq,
        limit: PageLimit,
    ) -> Result<InboxSlice, StoreError> {
        let read = move |shared: &SharedState| after(shared, user, seq, limit);
        self.with("inbox.after", read).await
    }

    async fn begin(&self, inboxes: &[(UserId, Seq)]) -> Result<(), StoreError> {
        let inboxes = inboxes.to_vec();
        let begin = move |txn: &mut WriteTransaction<'_>| begin(txn, &inboxes);
        self.change("inbox.begin", SpaceEffect::Adds, begin).await
    }

    async fn trim(&self, user: UserId, upto: Seq) -> Result<(), StoreError> {
        loop {
            let slice = move |txn: &mut WriteTransaction<'_>| trim(txn, user, upto);
            if self
                .change("inbox.trim", SpaceEffect::Removes, slice)
                .await?
            {
                return Ok(());
            }
        }
    }

    async fn claim_job(&self, group: Option<GroupId>) -> Result<Option<JobLease>, StoreError> {
        let claim = move |txn: &mut WriteTransaction<'_>| job::claim(txn, group);
        self.change("inbox.claim_job", SpaceEffect::Sets, claim)
            .await
    }

    async fn advance_job(&self, lease: &JobLease) -> Result<JobStepOutcome, StoreError> {
        let lease = lease.clone();
        let advance = move |txn: &mut WriteTransaction<'_>| job::advance(txn, &lease);
        self.change("inbox.advance_job", SpaceEffect::Adds, advance)
            .await
    }

    async fn sweep(&self, max: usize) -> Result<usize, StoreError> {
        let restore = |shared: &SharedState| {
            shared.reserve.restore();
            Ok(())
        };
        self.with("inbox.sweep", restore).await?;
        // Messages stored once are removed with their last entry, so only keys need a sweep.
        let mut swept = 0;
        while swept < max {
            let slice = SLICE_ROWS.min(max - swept);
            let forget = move |txn: &mut WriteTransaction<'_>| sweep::forget(txn, slice);
            let slice = self
                .change("inbox.sweep", SpaceEffect::Removes, forget)
                .await?;
            swept += slice.removed;
            if !slice.more {
                break;
            }
        }
        Ok(swept)
    }
}

/// Reads a page of an inbox, up to its durable head.
///
/// The head is read as a durable state. The entries are then read without the lock, because entries
/// up to a durable head do not change; only a trim removes them. If a trim ran in between, an entry
/// is missing, and both are read again under the lock.
fn after(
    shared: &SharedState,
    user: UserId,
    seq: Seq,
    limit: PageLimit,
) -> Result<InboxSlice, EngineError> {
    let at = shared.durable(|rows| head(rows, &shared.heads, user))?;
    match shared.settled(|rows| page(rows, user, at, seq, limit))? {
        Some(page) => Ok(page),
        // A trim ran in between: read the head and the entries in one durable state.
        None => shared.durable(|rows| {
            let at = head(rows, &shared.heads, user)?;
            page(rows, user, at, seq, limit)?.ok_or(EngineError::Corrupt("an inbox has a hole"))
        }),
    }
}

/// Reads the entries above `seq`. Returns `None` if one is missing.
fn page(
    rows: &RowView<'_>,
    user: UserId,
    at: Head,
    seq: Seq,
    limit: PageLimit,
) -> Result<Option<InboxSlice>, EngineError> {
    let mut last = seq.max(at.floor);
    let slice = |items, more| InboxSlice {
        items,
        more,
        head: at,
    };
    if last >= at.head {
        return Ok(Some(slice(Vec::new(), false)));
    }
    let mut items = Vec::with_capacity(limit.items.min(PAGE_CAPACITY_ITEMS));
    let (mut bytes, mut block) = (0, BytesMut::with_capacity(BLOCK_BYTES));
    let prefix = key::entries(user);
    for row in rows.scan(&prefix, Some(&key::entry(user, last))) {
        let (name, value) = row?;
        if record::key_number(&name)? != last.next().get() {
            return Ok(None);
        }
        block.extend_from_slice(&value);
        let value = block.split().freeze();
        let Some(message) = message(rows, &name, value)? else {
            return Ok(None);
        };
        last = last.next();
        bytes += message.content.len();
        items.push(InboxEntry { seq: last, message });
        if last >= at.head || items.len() >= limit.items || bytes > limit.bytes {
            return Ok(Some(slice(items, last < at.head)));
        }
    }
    Ok(None)
}

/// Returns the message of an entry, or `None` if it was removed with its last entry.
pub(crate) fn message(
    rows: &RowView<'_>,
    name: &[u8],
    value: Bytes,
) -> Result<Option<Arc<Message>>, EngineError> {
    let row: store::Entry = rows.decode_shared(name, value)?;
    match row.body {
        Some(entry::Body::Message(message)) => {
            Ok(Some(Arc::new(gimlet_record::decode_shared(&message)?)))
        }
        Some(entry::Body::Stored(body)) => match rows.message(&key::body(body)) {
            // A trim removes the further rows of the message while it is read.
            Err(EngineError::Corrupt(_)) => Ok(None),
            found => found,
        },
        None => Err(EngineError::Corrupt("an entry without a message")),
    }
}

/// Begins inboxes without entries. The floor's row carries the head until an entry follows.
fn begin(txn: &mut WriteTransaction<'_>, inboxes: &[(UserId, Seq)]) -> Result<(), EngineError> {
    for (user, at) in inboxes {
        let Head { head, floor } = txn.head(*user)?;
        if head > floor || head > *at {
            return Err(EngineError::Misuse(
                "an inbox that begins has entries, or ends later",
            ));
        }
        let value = at.get();
        txn.put(&key::floor(*user), &Number { value })?;
        let begun = Head {
            head: *at,
            floor: *at,
        };
        txn.set_head(*user, begun)?;
    }
    Ok(())
}

/// Removes a slice of the oldest entries. Returns true if none is left to remove.
fn trim(txn: &mut WriteTransaction<'_>, user: UserId, upto: Seq) -> Result<bool, EngineError> {
    let mut at = txn.head(user)?;
    let upto = upto.min(at.head);
    if upto <= at.floor {
        return Ok(true);
    }
    let to = upto.min(at.floor.plus(SLICE_ROWS as u64));
    for seq in (at.floor.get() + 1)..=to.get() {
        let name = key::entry(user, Seq::new(seq));
        let row: store::Entry = txn
            .get(&name)?
            .ok_or(EngineError::Corrupt("an inbox has a hole"))?;
        if let Some(entry::Body::Stored(body)) = row.body {
            release(txn, body)?;
        }
        txn.remove(&name)?;
    }
    at.floor = to;
    let value = to.get();
    txn.put(&key::floor(user), &Number { value })?;
    txn.set_head(user, at)?;
    Ok(to == upto)
}

/// Decrements the number of entries that refer to a message stored once, and removes the message
/// with the last one.
fn release(txn: &mut WriteTransaction<'_>, body: u64) -> Result<(), EngineError> {
    let name = key::body_refs(body);
    let mut row: store::BodyRefs = txn.get(&name)?.unwrap_or_default();
    row.refs = row.refs.saturating_sub(1);
    if row.refs > 0 {
        return txn.put(&name, &row);
    }
    txn.remove(&name)?;
    txn.remove(&key::body(body))
}
