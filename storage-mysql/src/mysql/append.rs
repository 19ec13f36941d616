//! Appends one batch of sends in one transaction of a few statements.
//!
//! Every append takes its locks in the same order, each kind ascending, so that two batches cannot
//! deadlock: send keys, groups, the job counter, inbox heads. The steps must not be reordered:
//!
//! 1. The keys and groups are locked and read first, so that every decision is made under locks.
//! 2. `decide` chooses the sends to store, before any seq is taken: a seq that is taken and not
//!    stored would be a hole (law 3).
//! 3. The heads are raised after all other locks are held. They stay locked until the COMMIT, so
//!    entries become visible in seq order (law 2).
//! 4. Bodies, entries, jobs and keys are written under those locks.
//! 5. Events of hooks are written last: their order follows from the locks (`events`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gimlet_core::id::{GroupId, MessageId, UserId};
use gimlet_core::message::Message;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendOutcome, AppendRequest, IdempotencyKey, RosterVersion};
use gimlet_core::time::UnixTimestamp;

use super::decide::{self, BatchFacts, FirstSend, SendDecision};
use super::entries::{BodyLocation, NewEntry, put_entries, take_seqs};
use super::events::{EventRow, put_rows};
use super::lock::{self, LockMode};
use super::session::{MysqlSession, bytes, fixed, group, message_id, number, signed};
use super::{chunks, job};
use crate::error::EngineError;
use crate::record;

/// Largest number of recipients for which the body is stored in their inbox rows, so that reading a
/// page is one range scan.
const INLINE_RECIPIENTS: usize = 2;

/// Appends a batch within this session's transaction; waits for locked rows.
pub(super) async fn append(
    session: &mut MysqlSession,
    batch: &[AppendRequest],
    now: UnixTimestamp,
) -> Result<Vec<AppendOutcome>, EngineError> {
    append_with(session, batch, now, LockMode::Wait).await
}

/// Appends a batch within this session's transaction; `locks` says whether to wait for locked rows.
pub(super) async fn append_with(
    session: &mut MysqlSession,
    batch: &[AppendRequest],
    now: UnixTimestamp,
    locks: LockMode,
) -> Result<Vec<AppendOutcome>, EngineError> {
    let mut facts = BatchFacts {
        keys: lock_keys(session, batch, now, locks).await?,
        ..BatchFacts::default()
    };
    lock_groups(session, batch, &mut facts, locks).await?;
    let decisions = decide::decide(batch, &mut facts);
    let counts = decide::counts(batch, &decisions);
    if counts.is_empty() {
        return Ok(outcomes(&decisions, &[], batch));
    }
    // Job numbers are taken under the group locks and before the heads: see the lock order at the
    // top of this file.
    let jobs = job::number_jobs(session, &decisions).await?;
    if locks == LockMode::NoWait {
        // Upserts do not support NOWAIT, so a locking read takes the locks first.
        let users: Vec<u64> = counts.keys().map(|it| it.get()).collect();
        lock::lock(session, lock::HEADS, &users, locks).await?;
    }
    let mut next_seqs = take_seqs(session, &counts).await?;
    let mut seqs: Vec<Vec<(UserId, Seq)>> = Vec::with_capacity(batch.len());
    let mut entries: Vec<NewEntry> = Vec::new();
    let mut shared = Vec::new();
    for (send, decision) in batch.iter().zip(&decisions) {
        let users = decide::immediate_recipients(send, decision);
        let mut send_seqs = Vec::with_capacity(users.len());
        // All entries of a send have the same body. A send that stores nothing has neither a body
        // nor users.
        let body = decision.stores().then(|| body(send, decision, &mut shared));
        for (user, body) in users.iter().zip(body.into_iter().cycle()) {
            let seq = next_seqs.take(*user)?;
            send_seqs.push((*user, seq));
            entries.push((*user, seq, body));
        }
        seqs.push(send_seqs);
    }
    put_bodies(session, &shared).await?;
    put_entries(session, entries).await?;
    job::open(session, batch, &decisions, jobs).await?;
    note_keys(session, batch, &seqs, now).await?;
    let stored = batch.iter().zip(&decisions);
    let stored = stored.filter_map(|(send, decision)| decision.stores().then_some(send));
    put_rows(session, &EventRow::of_sends(stored, now)).await?;
    Ok(outcomes(&decisions, &seqs, batch))
}

/// Returns the location of a send's body, and adds a body that is not stored in the entries to
/// `shared`.
fn body<'a>(
    send: &'a AppendRequest,
    decision: &SendDecision,
    shared: &mut Vec<(&'a Arc<Message>, usize)>,
) -> BodyLocation {
    if send.recipients.len() <= INLINE_RECIPIENTS && *decision == SendDecision::Whole {
        return BodyLocation::Inline(record::encode(&send.message).into());
    }
    shared.push((&send.message, send.recipients.len()));
    BodyLocation::Shared(send.message.id)
}

fn outcomes(
    decisions: &[SendDecision],
    seqs: &[Vec<(UserId, Seq)>],
    batch: &[AppendRequest],
) -> Vec<AppendOutcome> {
    // A repeat is answered with the seq of the send's first entry, which `note_keys` stores too.
    let answer = |at: usize| seqs.get(at).and_then(|it| it.first()).map(|(_, seq)| *seq);
    let outcome = |(at, decision): (usize, &SendDecision)| match decision {
        SendDecision::Answer(answer) => answer.clone(),
        SendDecision::Like(first) => AppendOutcome::Repeated {
            message: batch
                .get(*first)
                .map(|it| it.message.id)
                .expect("an index of this batch"),
            seq: answer(*first).expect("a stored send has an answer"),
        },
        SendDecision::Whole | SendDecision::Job => AppendOutcome::Stored {
            seqs: seqs.get(at).cloned().unwrap_or_default(),
            job: *decision == SendDecision::Job,
        },
    };
    decisions.iter().enumerate().map(outcome).collect()
}

/// Returns the distinct keys of a batch, ascending, each with its first send.
fn keys(batch: &[AppendRequest]) -> BTreeMap<&[u8], (&IdempotencyKey, MessageId)> {
    let mut keys = BTreeMap::new();
    for send in batch {
        if let Some(key) = &send.key {
            keys.entry(key.id.as_slice())
                .or_insert((key, send.message.id));
        }
    }
    keys
}

/// Locks the rows of all keys, inserting the missing ones, and reads those that are in force.
///
/// The statement is an upsert that changes nothing, not `INSERT IGNORE`, for two reasons. The
/// upsert locks an existing row exclusively at once; `INSERT IGNORE` takes a shared lock, and two
/// repeats that both try to upgrade it deadlock. And `INSERT IGNORE` also ignores other errors.
async fn lock_keys(
    session: &mut MysqlSession,
    batch: &[AppendRequest],
    now: UnixTimestamp,
    locks: LockMode,
) -> Result<HashMap<Vec<u8>, FirstSend>, EngineError> {
    let keys: Vec<_> = keys(batch).into_values().collect();
    if locks == LockMode::NoWait {
        let ids: Vec<&[u8]> = keys.iter().map(|(key, _)| key.id.as_slice()).collect();
        lock::lock(session, lock::KEYS, &ids, locks).await?;
    }
    for chunk in chunks::padded_chunks(keys.len()) {
        let mut insert = sqlx::query(chunks::text(
            "INSERT INTO send_key (id, digest, message_id, seq, expires_at) VALUES ",
            "(?, ?, ?, 0, ?)",
            chunk.size(),
            " ON DUPLICATE KEY UPDATE id = id",
        ));
        for (at, _) in chunk.rows() {
            let (key, message) = keys.get(at).expect("an index of these rows");
            insert = insert
                .bind(key.id.as_slice())
                .bind(key.digest.as_slice())
                .bind(message.as_bytes().as_slice())
                .bind(now.after(key.window).0);
        }
        session.run(insert).await?;
    }
    let mut known = HashMap::new();
    for chunk in chunks::padded_chunks(keys.len()) {
        // Not a locking read: the upsert has locked the rows, and a locking scan could lock rows of
        // other batches as well.
        let mut select = sqlx::query(chunks::text(
            "SELECT id, digest, message_id, seq, expires_at FROM send_key FORCE INDEX (PRIMARY) \
             WHERE id IN (",
            "?",
            chunk.size(),
            ")",
        ));
        for (at, _) in chunk.rows() {
            let (key, _) = keys.get(at).expect("an index of these rows");
            select = select.bind(key.id.as_slice());
        }
        for row in session.rows(select).await? {
            let seq = Seq::new(number(&row, 3)?);
            // Reserved but not committed, or expired: the next send with this key is the first.
            if seq == Seq::ZERO || signed(&row, 4)? <= now.0 {
                continue;
            }
            let first = FirstSend {
                digest: fixed(&row, 1)?,
                message: message_id(&row, 2)?,
                seq,
            };
            known.insert(bytes(&row, 0)?, first);
        }
    }
    Ok(known)
}

/// Locks the batch's groups, and reads their versions and whether they have an open job.
async fn lock_groups(
    session: &mut MysqlSession,
    batch: &[AppendRequest],
    facts: &mut BatchFacts,
    locks: LockMode,
) -> Result<(), EngineError> {
    let groups: BTreeSet<u64> = batch
        .iter()
        .filter_map(|it| it.group().map(GroupId::get))
        .collect();
    let groups: Vec<u64> = groups.into_iter().collect();
    for row in lock::lock(session, lock::GROUPS, &groups, locks).await? {
        let version = RosterVersion(number(&row, 1)?);
        facts.rosters.insert(group(&row, 0)?, version);
    }
    let head = "SELECT DISTINCT group_id FROM fanout_job WHERE group_id IN (";
    for row in session.rows_in(head, &groups, ")").await? {
        facts.busy.insert(group(&row, 0)?);
    }
    Ok(())
}

/// Stores the bodies that are shared by several entries, each with its number of entries.
async fn put_bodies(
    session: &mut MysqlSession,
    bodies: &[(&Arc<Message>, usize)],
) -> Result<(), EngineError> {
    let records: Vec<_> = bodies
        .iter()
        .map(|(message, refs)| (message.id, *refs as u64, record::encode(message)))
        .collect();
    let weight = |at: usize| records.get(at).map_or(0, |(_, _, body)| body.len());
    let bytes: usize = (0..records.len()).map(weight).sum();
    // Padding repeats a statement's last row, but without its body, so it adds no bytes.
    let chunks = if bytes <= session.packet {
        chunks::padded_chunks(records.len())
    } else {
        chunks::unpadded_chunks(records.len(), session.packet, weight)
    };
    for chunk in chunks {
        let mut insert = sqlx::query(chunks::text(
            "INSERT INTO message (message_id, refs, body) VALUES ",
            "(?, ?, ?)",
            chunk.size(),
            // A message that is already stored gets further references; a padding row adds none.
            " ON DUPLICATE KEY UPDATE refs = refs + VALUES(refs)",
        ));
        for (at, is_padding) in chunk.rows() {
            let (id, refs, body) = records.get(at).expect("an index of these rows");
            let (refs, body) = if is_padding {
                (0, &[] as &[u8])
            } else {
                (*refs, body.as_slice())
            };
            insert = insert.bind(id.as_bytes().as_slice()).bind(refs).bind(body);
        }
        session.run(insert).await?;
    }
    Ok(())
}

/// Stores each new send's answer (its message id and the seq of its first entry) under its key, for
/// repeats of it.
async fn note_keys(
    session: &mut MysqlSession,
    batch: &[AppendRequest],
    seqs: &[Vec<(UserId, Seq)>],
    now: UnixTimestamp,
) -> Result<(), EngineError> {
    let mut firsts = BTreeMap::new();
    for (send, seqs) in batch.iter().zip(seqs) {
        if let (Some(key), Some((_, answer))) = (&send.key, seqs.first()) {
            firsts.insert(key.id.as_slice(), (key, send.message.id, *answer));
        }
    }
    let rows: Vec<_> = firsts.into_values().collect();
    for chunk in chunks::padded_chunks(rows.len()) {
        let mut upsert = sqlx::query(chunks::text(
            "INSERT INTO send_key (id, digest, message_id, seq, expires_at) VALUES ",
            "(?, ?, ?, ?, ?)",
            chunk.size(),
            " ON DUPLICATE KEY UPDATE digest = VALUES(digest), message_id = VALUES(message_id), \
             seq = VALUES(seq), expires_at = VALUES(expires_at)",
        ));
        for (at, _) in chunk.rows() {
            let (key, message, answer) = rows.get(at).expect("an index of these rows");
            upsert = upsert
                .bind(key.id.as_slice())
                .bind(key.digest.as_slice())
                .bind(message.as_bytes().as_slice())
                .bind(answer.get())
                .bind(now.after(key.window).0);
        }
        session.run(upsert).await?;
    }
    Ok(())
}
