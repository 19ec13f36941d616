//! Fan-out jobs: sends to more recipients than one batch holds, in order per group.
//!
//! Jobs are numbered across all groups, so the first open one is the oldest. The entries of a part
//! and the job's progress are written in one transaction.

use gimlet_core::id::{GroupId, UserId};
use gimlet_core::limits::FANOUT_CHUNK;
use gimlet_core::store::{JobLease, JobStepOutcome};
use gimlet_proto::store;

use crate::entries::{entries, refer};
use crate::error::EngineError;
use crate::rows::RowView;
use crate::seq::IdCounter;
use crate::txn::WriteTransaction;
use crate::{key, record};

/// Recipients in a row: 500 of 8 bytes fit one row.
const CHUNK_RECIPIENTS: usize = 500;

/// Returns the group's oldest open job.
fn oldest(rows: &RowView<'_>, group: GroupId) -> Result<Option<u64>, EngineError> {
    match rows.scan(&key::open_jobs(group), None).next() {
        Some(row) => record::key_number(&row?.0).map(Some),
        None => Ok(None),
    }
}

/// Returns true if the group has an open job.
pub(crate) fn is_open(txn: &WriteTransaction<'_>, group: GroupId) -> Result<bool, EngineError> {
    Ok(oldest(&txn.rows(), group)?.is_some())
}

/// Opens a job behind the group's others. The caller makes the first recipient's entry.
pub(crate) fn open(
    txn: &mut WriteTransaction<'_>,
    group: GroupId,
    body: u64,
    recipients: &[UserId],
) -> Result<(), EngineError> {
    let job = IdCounter::Jobs.take(txn, 1)?;
    let row = store::Job {
        group: group.get(),
        body,
        total: recipients.len() as u64,
        done: 1,
        generation: 0,
    };
    txn.put(&key::job(job), &row)?;
    txn.mark(&key::open_job(group, job))?;
    for (number, chunk) in (0..).zip(recipients.chunks(CHUNK_RECIPIENTS)) {
        let users = chunk.iter().map(|user| user.get()).collect();
        txn.put(&key::recipients(job, number), &store::Recipients { users })?;
    }
    Ok(())
}

/// Claims the oldest open job of the group, or of any group.
pub(crate) fn claim(
    txn: &mut WriteTransaction<'_>,
    group: Option<GroupId>,
) -> Result<Option<JobLease>, EngineError> {
    let found = match group {
        Some(group) => oldest(&txn.rows(), group)?,
        None => match txn.rows().scan(key::JOBS, None).next() {
            Some(row) => Some(record::key_number(&row?.0)?),
            None => None,
        },
    };
    let Some(job) = found else {
        return Ok(None);
    };
    let mut row: store::Job = txn
        .get(&key::job(job))?
        .ok_or(EngineError::Corrupt("an open job has no record"))?;
    // Ends the lease of an earlier worker: its next part finds another generation.
    row.generation += 1;
    txn.put(&key::job(job), &row)?;
    Ok(Some(JobLease {
        group: record::group(row.group)?,
        job,
        generation: row.generation,
    }))
}

/// Makes the entries of the next part of a job.
pub(crate) fn advance(
    txn: &mut WriteTransaction<'_>,
    lease: &JobLease,
) -> Result<JobStepOutcome, EngineError> {
    let Some(mut row) = txn.get::<store::Job>(&key::job(lease.job))? else {
        return Ok(JobStepOutcome::Lost);
    };
    if row.generation != lease.generation || row.group != lease.group.get() {
        return Ok(JobStepOutcome::Lost);
    }
    let message = txn
        .rows()
        .message(&key::body(row.body))?
        .ok_or(EngineError::Corrupt("a job has no message"))?;
    let users = next(&txn.rows(), lease.job, &row)?;
    let seqs = entries(txn, &refer(row.body), users.iter())?;
    row.done += users.len() as u64;
    let done = row.done >= row.total;
    if done {
        close(txn, lease, &row)?;
    } else {
        txn.put(&key::job(lease.job), &row)?;
    }
    Ok(JobStepOutcome::Entries {
        message,
        seqs,
        done,
    })
}

/// Returns the recipients of the next part.
fn next(rows: &RowView<'_>, job: u64, row: &store::Job) -> Result<Vec<UserId>, EngineError> {
    let far = |_| EngineError::Corrupt("a job's progress is out of range");
    let from = usize::try_from(row.done).map_err(far)?;
    let to = usize::try_from(row.total)
        .map_err(far)?
        .min(from + FANOUT_CHUNK);
    let mut users = Vec::with_capacity(to.saturating_sub(from));
    for number in from / CHUNK_RECIPIENTS..to.div_ceil(CHUNK_RECIPIENTS) {
        let name = key::recipients(job, u32::try_from(number).map_err(far)?);
        let chunk: store::Recipients = rows
            .get(&name)?
            .ok_or(EngineError::Corrupt("a job's recipients are missing"))?;
        let places = number * CHUNK_RECIPIENTS..;
        for (place, raw) in places.zip(chunk.users) {
            if (from..to).contains(&place) {
                users.push(record::user(raw)?);
            }
        }
    }
    if users.len() != to.saturating_sub(from) {
        return Err(EngineError::Corrupt("a job's recipients are cut off"));
    }
    Ok(users)
}

/// Removes a finished job.
fn close(
    txn: &mut WriteTransaction<'_>,
    lease: &JobLease,
    row: &store::Job,
) -> Result<(), EngineError> {
    txn.remove(&key::job(lease.job))?;
    txn.remove(&key::open_job(lease.group, lease.job))?;
    for number in
        (0..).take_while(|number| u64::from(*number) * (CHUNK_RECIPIENTS as u64) < row.total)
    {
        txn.remove(&key::recipients(lease.job, number))?;
    }
    Ok(())
}
