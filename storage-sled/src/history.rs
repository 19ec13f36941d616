//! Checks that a directory holds everything that it answered: compares the valid part of the
//! database with the stamp beside it.

use std::path::Path;

use gimlet_core::id::Epoch;
use gimlet_proto::store::Meta;
use sled::Db;

use crate::error::OpenError;
use crate::files::{self, refuse, unusable};
use crate::rows::{RowOverlay, RowView};
use crate::stamp::StampRecord;
use crate::{key, log, snapshot};

/// Answered commits that the log lacks.
#[derive(Debug)]
pub(crate) struct LostCommits {
    /// The last commit before the end of the valid part.
    found: u64,
    /// The last commit that was answered.
    answered: u64,
    /// The byte where the valid part ends.
    end: u64,
    /// The LSN where the log may be cut; `None` if the part before it may be incomplete.
    safe: Option<u64>,
}

impl LostCommits {
    /// Returns the error that refuses the directory.
    pub(crate) fn refusal(&self, dir: &Path) -> OpenError {
        let Self {
            found,
            answered,
            end,
            safe,
        } = *self;
        match safe {
            Some(_) => OpenError::Lost {
                dir: dir.into(),
                found,
                answered,
            },
            None => OpenError::Damaged {
                dir: dir.into(),
                what: format!(
                    "its database cannot be read from byte {end} on: it ends at commit {found}, and commit \
                     {answered} was answered"
                ),
            },
        }
    }

    /// Cuts off the invalid rest of the log, and returns the loss for the log line. Fails if the
    /// part before it may be incomplete.
    pub(crate) fn accept(self, dir: &Path) -> Result<OpenError, OpenError> {
        let refusal = self.refusal(dir);
        let Some(safe) = self.safe else {
            return Err(refusal);
        };
        log::clear_after(&dir.join(files::DB_FILE), safe)
            .map_err(|source| unusable(dir, source))?;
        Ok(refusal)
    }
}

/// Compares the valid part of the log with the stamp.
pub(crate) fn gap(dir: &Path, mark: StampRecord) -> Result<Option<LostCommits>, OpenError> {
    let io = |source| unusable(dir, source);
    let from = snapshot::lsn(dir).map_err(io)?;
    let extent = log::extent(&dir.join(files::DB_FILE), from, mark.tag).map_err(io)?;
    let found = extent.commit.unwrap_or(0).max(mark.opened);
    if found >= mark.answered {
        return Ok(None);
    }
    // Below the LSN that sled has relied on, it may have reused the space of pages whose newer
    // copies stood behind the end. Then the part before the end is incomplete.
    let safe = (extent.safe >= extent.stable.max(from)).then_some(extent.safe);
    Ok(Some(LostCommits {
        found,
        answered: mark.answered,
        end: extent.end.unwrap_or(0),
        safe,
    }))
}

/// Compares the tree that sled has opened with the stamp.
pub(crate) fn lost_in_tree(dir: &Path, mark: Option<StampRecord>, found: u64) -> Option<OpenError> {
    let answered = mark.map_or(0, |mark| mark.answered);
    (found < answered).then(|| OpenError::Lost {
        dir: dir.into(),
        found,
        answered,
    })
}

/// Returns the number of the last commit in the tree; 0 if no commit has a number, as in a
/// directory of an earlier version, or of another stamp.
pub(crate) fn commits(db: &Db, dir: &Path, mark: Option<StampRecord>) -> Result<u64, OpenError> {
    let none = RowOverlay::new();
    let row = RowView::new(db, &none).raw(key::COMMIT);
    let row = row.map_err(|fault| refuse(dir, fault))?;
    Ok(mark
        .zip(row)
        .and_then(|(mark, row)| mark.tag.commit(&row))
        .unwrap_or(0))
}

/// Sets a new epoch. The flush that follows an opening makes it durable.
pub(crate) fn renew(db: &Db, dir: &Path, meta: &mut Meta) -> Result<(), OpenError> {
    meta.epoch = Epoch::draw().0;
    let row = crate::rows::whole(meta);
    db.insert(key::META, row)
        .map_err(|error| refuse(dir, error.into()))?;
    Ok(())
}
