//! Appends sends: turns them into entries, keys and jobs, in one transaction.

use gimlet_core::events::NewEvent;
use gimlet_core::id::UserId;
use gimlet_core::limits::FANOUT_CHUNK;
use gimlet_core::message::Message;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendOutcome, AppendRequest, IdempotencyKey};
use gimlet_proto::store::{self, entry};
use sled::IVec;

use crate::entries::{entries, refer, value};
use crate::error::EngineError;
use crate::rows::{MAX_ROW_BYTES, SINGLE_ROW};
use crate::seq::IdCounter;
use crate::txn::WriteTransaction;
use crate::{events, job, key, record};

/// Bytes of a key's id, at most.
const MAX_KEY_BYTES: usize = 96;
/// Recipients up to which a small message is stored in the entries themselves.
const MAX_INLINE_RECIPIENTS: usize = 2;

/// Pushes and events that are stored with a change.
#[derive(Debug)]
pub(crate) struct ChangeNotices {
    pushes: Vec<AppendRequest>,
    events: Vec<NewEvent>,
}

impl ChangeNotices {
    pub(crate) fn new(pushes: &[AppendRequest], events: &[NewEvent]) -> Self {
        Self {
            pushes: pushes.to_vec(),
            events: events.to_vec(),
        }
    }

    /// Stores the events, and appends the pushes.
    pub(crate) fn store(
        &self,
        txn: &mut WriteTransaction<'_>,
    ) -> Result<Vec<AppendOutcome>, EngineError> {
        events::put(txn, &self.events)?;
        append(txn, &self.pushes)
    }
}

/// Appends the sends in order.
pub(crate) fn append(
    txn: &mut WriteTransaction<'_>,
    batch: &[AppendRequest],
) -> Result<Vec<AppendOutcome>, EngineError> {
    batch.iter().map(|send| append_one(txn, send)).collect()
}

fn append_one(
    txn: &mut WriteTransaction<'_>,
    send: &AppendRequest,
) -> Result<AppendOutcome, EngineError> {
    // The key is checked before the roster: a repeat of a stored send is answered like the first,
    // even if members have joined or left since. Keys of earlier sends of this batch are found here
    // too.
    if let Some(key) = &send.key
        && let Some(answer) = find(txn, key)?
    {
        return Ok(answer);
    }
    // In the same transaction as the entries, so that no change of the roster comes in between.
    if let Some((group, version)) = send.roster {
        let row: Option<store::Group> = txn.get(&key::group(group))?;
        if row.map(|it| it.version) != Some(version.0) {
            return Ok(AppendOutcome::Stale);
        }
    }
    let (seqs, job) = store(txn, send)?;
    if let (Some(key), Some((_, answer))) = (&send.key, seqs.first()) {
        note(txn, key, &send.message, *answer)?;
    }
    for target in send.hooks.targets() {
        let event = send.event(target, txn.now());
        events::push(txn, &target.name, &event)?;
    }
    Ok(AppendOutcome::Stored { seqs, job })
}

/// Makes the entries, or the first entry and a job for the rest.
fn store(
    txn: &mut WriteTransaction<'_>,
    send: &AppendRequest,
) -> Result<(Vec<(UserId, Seq)>, bool), EngineError> {
    let all = send.recipients.len();
    if let Some(group) = send.group()
        && all > 1
        && (all > FANOUT_CHUNK || job::is_open(txn, group)?)
    {
        let body = store_body(txn, &send.message, all)?;
        job::open(txn, group, body, &send.recipients)?;
        let first = send.recipients.iter().take(1);
        return Ok((entries(txn, &refer(body), first)?, true));
    }
    let row = if all <= MAX_INLINE_RECIPIENTS {
        inline(&send.message)
    } else {
        None
    };
    let row = match row {
        Some(row) => row,
        None => refer(store_body(txn, &send.message, all)?),
    };
    Ok((entries(txn, &row, send.recipients.iter())?, false))
}

/// Builds an entry that holds its message, if it fits one row.
fn inline(message: &Message) -> Option<IVec> {
    let row = value(entry::Body::Message(gimlet_record::encode(message).into()));
    (row.len() <= MAX_ROW_BYTES).then_some(row)
}

/// Stores a message once for `refs` entries.
fn store_body(
    txn: &mut WriteTransaction<'_>,
    message: &Message,
    refs: usize,
) -> Result<u64, EngineError> {
    let body = IdCounter::Bodies.take(txn, 1)?;
    let mut value = Vec::with_capacity(1 + gimlet_record::encoded_len(message));
    value.push(SINGLE_ROW);
    gimlet_record::encode_to(message, &mut value);
    txn.put_value(&key::body(body), value)?;
    let refs = refs as u64;
    txn.put(&key::body_refs(body), &store::BodyRefs { refs })?;
    Ok(body)
}

/// Returns the answer to a repeat, or `None` if the key is new or its window has passed.
fn find(
    txn: &WriteTransaction<'_>,
    key: &IdempotencyKey,
) -> Result<Option<AppendOutcome>, EngineError> {
    if key.id.len() > MAX_KEY_BYTES {
        return Err(EngineError::Misuse("a key has at most 96 bytes"));
    }
    let Some(row) = txn.get::<store::Key>(&key::send_key(&key.id))? else {
        return Ok(None);
    };
    if row.expires_ms <= record::ms(txn.now()) {
        return Ok(None);
    }
    if row.digest != key.digest.as_slice() {
        return Ok(Some(AppendOutcome::Conflict));
    }
    Ok(Some(AppendOutcome::Repeated {
        message: record::message_id(&row.message)?,
        seq: Seq::new(row.seq),
    }))
}

/// Records the first send of a key.
fn note(
    txn: &mut WriteTransaction<'_>,
    key: &IdempotencyKey,
    message: &Message,
    seq: Seq,
) -> Result<(), EngineError> {
    let expires_ms = record::ms(txn.now().after(key.window));
    let row = store::Key {
        digest: key.digest.to_vec().into(),
        message: message.id.as_bytes().to_vec().into(),
        seq: seq.get(),
        expires_ms,
    };
    // An older list may still name this key. The sweep then compares the expiry in the key's
    // record, so it does not remove the key early.
    txn.put(&key::send_key(&key.id), &row)?;
    txn.expires(expires_ms, &key.id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gimlet_core::message::MessageContent;
    use gimlet_core::time::UnixTimestamp;
    use proptest::prelude::prop_assert_eq;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::heads::HeadCache;
    use crate::inbox;

    #[test]
    fn a_message_comes_back_with_every_field_from_its_entry_and_from_its_own_rows() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(dir.path()).flush_every_ms(None);
        let (db, heads) = (db.open().unwrap(), HeadCache::default());
        let messages = (gimlet_record::testkit::message(), 0..3 * MAX_ROW_BYTES);
        let mut runner = TestRunner::default();
        let outcome = runner.run(&messages, |(mut message, length)| {
            message.content = MessageContent(vec![7; length].into());
            let mut txn = WriteTransaction::new(&db, &heads, UnixTimestamp(0));
            let body = store_body(&mut txn, &message, 3).unwrap();
            let rows = txn.rows();
            for row in [Some(refer(body)), inline(&message)].into_iter().flatten() {
                let row = Bytes::copy_from_slice(&row);
                let read = inbox::message(&rows, b"E", row).unwrap();
                prop_assert_eq!(read.as_deref(), Some(&message));
            }
            Ok(())
        });
        outcome.unwrap();
    }
}
