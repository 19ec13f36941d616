//! Fan-out jobs: sends to more recipients than one batch holds, in order per group.
//!
//! A job's row stays locked during each of its steps. So the entries of a part and the progress are
//! one commit, and a claim waits for the running step.

use std::collections::BTreeMap;
use std::sync::Arc;

use gimlet_core::id::{GroupId, UserId};
use gimlet_core::limits::FANOUT_CHUNK;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendRequest, JobLease, JobStepOutcome};

use super::decide::SendDecision;
use super::entries::{BodyLocation, put_entries, take_seqs};
use super::seq;
use super::session::{MysqlSession, bytes, group, message_id, number};
use crate::error::EngineError;
use crate::record;

/// Bytes of recipients in one statement.
const RECIPIENT_BYTES: usize = 1 << 20;

/// Takes numbers for the batch's jobs and returns the first. Runs under the locks of the groups, so
/// that the numbers follow the order in which a group's sends are stored.
pub(super) async fn number_jobs(
    session: &mut MysqlSession,
    decisions: &[SendDecision],
) -> Result<u64, EngineError> {
    let jobs = decisions
        .iter()
        .filter(|it| **it == SendDecision::Job)
        .count();
    if jobs == 0 {
        return Ok(0);
    }
    seq::take(session, seq::JOB_COUNTER_SCOPE, jobs as u64).await
}

/// Stores the batch's jobs with their recipients. The caller stores the first recipient's entry.
pub(super) async fn open(
    session: &mut MysqlSession,
    batch: &[AppendRequest],
    decisions: &[SendDecision],
    first: u64,
) -> Result<(), EngineError> {
    let sends = batch.iter().zip(decisions);
    let jobs = sends.filter(|(_, decision)| **decision == SendDecision::Job);
    for (job, (send, _)) in (first..).zip(jobs) {
        let group = send
            .group()
            .ok_or(EngineError::Misuse("a job without a group"))?;
        let sql = "INSERT INTO fanout_job (job, group_id, generation, message_id, done, total) \
                   VALUES (?, ?, 0, ?, 1, ?)";
        let insert = sqlx::query(sql)
            .bind(job)
            .bind(group.get())
            .bind(send.message.id.as_bytes().as_slice())
            .bind(send.recipients.len() as u64);
        session.run(insert).await?;
        let rest = send.recipients.get(1..).unwrap_or_default();
        let parts: Vec<(u64, Vec<u8>)> = (0..)
            .map(|part| 1 + part * FANOUT_CHUNK as u64)
            .zip(rest.chunks(FANOUT_CHUNK).map(pack))
            .collect();
        let weight = |at: usize| parts.get(at).map_or(0, |(_, users)| users.len());
        for chunk in super::chunks::unpadded_chunks(parts.len(), RECIPIENT_BYTES, weight) {
            let mut insert = sqlx::query(super::chunks::text(
                "INSERT INTO fanout_part (job, start, users) VALUES ",
                "(?, ?, ?)",
                chunk.size(),
                "",
            ));
            for (at, _) in chunk.rows() {
                let (start, users) = parts.get(at).expect("an index of these rows");
                insert = insert.bind(job).bind(*start).bind(users.as_slice());
            }
            session.run(insert).await?;
        }
    }
    Ok(())
}

/// Claims the oldest open job of this group, or of any group.
pub(super) async fn claim(
    session: &mut MysqlSession,
    of: Option<GroupId>,
) -> Result<Option<JobLease>, EngineError> {
    let select = match of {
        Some(of) => sqlx::query(
            "SELECT job, group_id, generation FROM fanout_job FORCE INDEX (fanout_job_group) \
             WHERE group_id = ? ORDER BY job LIMIT 1 FOR UPDATE",
        )
        .bind(of.get()),
        None => sqlx::query(
            "SELECT job, group_id, generation FROM fanout_job FORCE INDEX (PRIMARY) \
             ORDER BY job LIMIT 1 FOR UPDATE",
        ),
    };
    let Some(row) = session.row(select).await? else {
        return Ok(None);
    };
    let lease = JobLease {
        group: group(&row, 1)?,
        job: number(&row, 0)?,
        generation: number(&row, 2)? + 1,
    };
    let sql = "UPDATE fanout_job SET generation = ? WHERE job = ?";
    let update = sqlx::query(sql).bind(lease.generation).bind(lease.job);
    session.run(update).await?;
    Ok(Some(lease))
}

/// Stores the next part of a job's entries and notes the progress.
pub(super) async fn advance(
    session: &mut MysqlSession,
    lease: &JobLease,
) -> Result<JobStepOutcome, EngineError> {
    let sql = "SELECT generation, message_id, done, total FROM fanout_job WHERE job = ? FOR UPDATE";
    let Some(row) = session.row(sqlx::query(sql).bind(lease.job)).await? else {
        return Ok(JobStepOutcome::Lost);
    };
    // Checked under the lock: a claim by another node raises the generation and ends this lease.
    if number(&row, 0)? != lease.generation {
        return Ok(JobStepOutcome::Lost);
    }
    let (message, from, total) = (message_id(&row, 1)?, number(&row, 2)?, number(&row, 3)?);
    let sql = "SELECT body FROM message WHERE message_id = ?";
    let select = sqlx::query(sql).bind(message.as_bytes().as_slice());
    let body = session.row(select).await?;
    let body = body.ok_or(EngineError::Corrupt("a job's message is missing"))?;
    let sql = "SELECT users FROM fanout_part WHERE job = ? AND start = ?";
    let select = sqlx::query(sql).bind(lease.job).bind(from);
    let users = session.row(select).await?;
    let users = users.ok_or(EngineError::Corrupt("a job's recipients are missing"))?;
    let users = unpack(&bytes(&users, 0)?)?;

    let mut counts: BTreeMap<UserId, u64> = BTreeMap::new();
    for user in &users {
        *counts.entry(*user).or_default() += 1;
    }
    let mut next = take_seqs(session, &counts).await?;
    let mut seqs: Vec<(UserId, Seq)> = Vec::with_capacity(users.len());
    for user in users {
        seqs.push((user, next.take(user)?));
    }
    let entries = seqs.iter();
    let entries = entries.map(|(user, seq)| (*user, *seq, BodyLocation::Shared(message)));
    put_entries(session, entries.collect()).await?;

    let progress = from + seqs.len() as u64;
    let done = progress >= total;
    let update = if done {
        sqlx::query("DELETE FROM fanout_job WHERE job = ?").bind(lease.job)
    } else {
        let sql = "UPDATE fanout_job SET done = ? WHERE job = ?";
        sqlx::query(sql).bind(progress).bind(lease.job)
    };
    session.run(update).await?;
    let sql = "DELETE FROM fanout_part WHERE job = ? AND start = ?";
    session
        .run(sqlx::query(sql).bind(lease.job).bind(from))
        .await?;
    Ok(JobStepOutcome::Entries {
        message: Arc::new(record::decode(bytes(&body, 0)?)?),
        seqs,
        done,
    })
}

fn pack(users: &[UserId]) -> Vec<u8> {
    users.iter().flat_map(|it| it.get().to_be_bytes()).collect()
}

fn unpack(bytes: &[u8]) -> Result<Vec<UserId>, EngineError> {
    let (ids, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(EngineError::Corrupt("a job's recipients are truncated"));
    }
    ids.iter()
        .map(|id| UserId::new(u64::from_be_bytes(*id)))
        .collect::<Option<_>>()
        .ok_or(EngineError::Corrupt("a job has a recipient out of range"))
}
