//! State that the writer and the readers of one open directory share, and the one rule between
//! them: **readers see all durable changes, and no others.**
//!
//! sled shows a batch as soon as it is applied, before it is on disk. So the writer, under the
//! write lock, lays the shadowed values of the batch's rows over the tree in the same step in which
//! it applies the batch, and removes them when the batch is durable. A reader looks through this
//! overlay under the read lock, so it sees exactly one durable state. Heads of inboxes are shadowed
//! in the same way: an added entry shadows no value, but it moves the head. Inbox pages, the hot
//! reads, need the lock for the head only, because entries up to a durable head do not change.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use gimlet_core::time::{TimeSource, UnixTimestamp};
use sled::{Db, Tree};

use crate::capture::CaptureSlot;
use crate::config::DurabilityLevel;
use crate::error::{EngineError, chain};
use crate::files::{self, SyncedFiles};
use crate::gate::FlushGate;
use crate::heads::HeadCache;
use crate::health::StorageHealth;
use crate::reserve::DiskReserve;
use crate::rows::{RowOverlay, RowView};
use crate::space::SpaceEffect;
use crate::stamp::CommitStamp;
use crate::system::{ErrorClass, class};
use crate::txn::{CommitChanges, WriteTransaction};

/// State of an open directory. The order of the fields is the order of their drops: sled closes
/// before the lock is released, and the lock's drop reports the directory as closed.
#[derive(Debug)]
pub(crate) struct SharedState {
    pub(crate) db: Db,
    /// Shadowed values of changes that are applied but not durable. A std lock: the writer holds it
    /// while a batch is applied (sled blocks readers then anyway), readers hold it for one read. It
    /// is never held over an await.
    pub(crate) shadowed: RwLock<RowOverlay>,
    /// Cache of the heads as they are in the tree.
    pub(crate) heads: HeadCache,
    pub(crate) health: StorageHealth,
    pub(crate) gate: FlushGate,
    pub(crate) clock: Arc<dyn TimeSource>,
    pub(crate) durability: DurabilityLevel,
    pub(crate) files: SyncedFiles,
    /// Number of the last commit. Only the writer's thread changes it.
    pub(crate) commits: AtomicU64,
    /// Position of the last durable event: readers do not pass it. Only the writer's thread changes
    /// it.
    pub(crate) last_event: AtomicU64,
    /// Records that number beside the database.
    pub(crate) stamp: CommitStamp,
    pub(crate) dir: PathBuf,
    pub(crate) min_free: u64,
    /// Collects commits for a backup in progress.
    pub(crate) captures: CaptureSlot,
    pub(crate) reserve: DiskReserve,
    #[expect(dead_code, reason = "it is held, and let go last")]
    pub(crate) lock: DirectoryLock,
}

/// The directory's lock. Its drop releases the lock first and then reports the directory as closed,
/// so that a caller that waits for the close can open it again at once.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: Option<File>,
    health: StorageHealth,
}

impl DirectoryLock {
    pub(crate) const fn new(file: File, health: StorageHealth) -> Self {
        Self {
            file: Some(file),
            health,
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        self.file = None;
        self.health.close();
    }
}

/// Outcomes of a failed commit.
#[derive(Clone, Debug)]
pub(crate) enum CommitError {
    /// The commit failed before any change was applied.
    Before(String),
    /// The commit failed half-way: whether its changes are on disk is known only after the next
    /// opening.
    HalfWay(String),
}

impl CommitError {
    pub(crate) fn fault(&self) -> EngineError {
        match self {
            Self::Before(reason) => EngineError::Failed(reason.clone()),
            Self::HalfWay(reason) => EngineError::Unknown(reason.clone()),
        }
    }
}

impl SharedState {
    pub(crate) fn tree(&self) -> &Tree {
        &self.db
    }

    pub(crate) fn now(&self) -> UnixTimestamp {
        self.clock.now()
    }

    pub(crate) fn fail(&self, reason: &str) {
        self.health.fail(reason);
    }

    /// Fails the storage if sled failed. Other errors concern their caller alone, and so does a
    /// read for which the system was short of a resource.
    pub(crate) fn notice(&self, fault: &EngineError) {
        let transient = matches!(fault, EngineError::Sled(sled::Error::Io(error))
            if class(error) == ErrorClass::Transient);
        if matches!(fault, EngineError::Sled(_)) && !transient {
            self.fail(&chain(fault));
        }
    }

    fn working(&self) -> Result<(), EngineError> {
        self.health
            .failure()
            .map_or(Ok(()), |reason| Err(EngineError::Failed(reason)))
    }

    /// Reads one durable state.
    pub(crate) fn durable<T>(
        &self,
        read: impl FnOnce(&RowView<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        // The overlay is only ever replaced whole, so the value behind a poisoned lock is valid.
        let former = self.shadowed.read().unwrap_or_else(PoisonError::into_inner);
        self.working()?;
        read(&RowView::new(self.tree(), &former)).inspect_err(|fault| self.notice(fault))
    }

    /// Reads the tree without the overlay. Only for rows that cannot change any more: those up to a
    /// head that was read with [`Self::durable`].
    pub(crate) fn settled<T>(
        &self,
        read: impl FnOnce(&RowView<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.working()?;
        read(&RowView::new(self.tree(), &RowOverlay::new())).inspect_err(|fault| self.notice(fault))
    }

    /// Refuses a change if the disk has too little free space for it.
    pub(crate) fn room_for(&self, weight: SpaceEffect) -> Result<(), EngineError> {
        self.working()?;
        let needed = match weight {
            SpaceEffect::Adds => self.min_free,
            SpaceEffect::Sets => self.min_free / 4,
            // A removal writes as well, and a commit that finds no space on the disk fails the
            // storage.
            SpaceEffect::Removes => self.min_free / 16,
        };
        // An unreadable free space does not refuse: a disk that is full would still fail the
        // commit.
        match files::free_space(&self.dir) {
            Ok(free) if free < needed => Err(EngineError::Full { free, needed }),
            _ => Ok(()),
        }
    }

    /// Applies the changes, makes them durable, and then shows them to readers.
    ///
    /// The order of the steps must not change: shadow and apply under one lock, flush, stamp, hand
    /// the rows to a backup, and only then unshadow. The caller answers after that. So neither a
    /// reader nor a caller learns of a change that a crash could still lose.
    pub(crate) fn commit(&self, txn: WriteTransaction<'_>) -> Result<(), CommitError> {
        if let Some(reason) = self.health.failure() {
            return Err(CommitError::Before(reason));
        }
        // Read before the changes are gathered. Only the writer begins a capture, in a command, so
        // none can begin before this commit ends, and none misses a part of it.
        let capture = self.captures.running();
        let number = self.commits.load(Ordering::Relaxed) + 1;
        let CommitChanges {
            batch,
            heads,
            former,
            rows,
            last_event,
        } = match txn.finish(Some(self.stamp.row(number)), capture.is_some()) {
            Ok(Some(changes)) => changes,
            Ok(None) => return Ok(()),
            Err(fault) => {
                self.notice(&fault);
                return Err(CommitError::Before(chain(&fault)));
            }
        };
        let applied = {
            let mut shown = self
                .shadowed
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            *shown = former;
            let applied = self.tree().apply_batch(batch);
            // The cache is updated under the same lock, so that it always agrees with the tree.
            // Readers find the shadowed heads first.
            self.heads.set(heads);
            applied
        };
        // After a failure the shadowed values stay: readers never see a change that may be gone
        // after a restart.
        let outcome = applied
            .map_err(EngineError::from)
            .and_then(|()| self.make_durable());
        match outcome {
            Ok(()) => {
                // After the flush, so that the stamp is never ahead of the database; before the
                // answers, so that the stamp covers every answered commit.
                self.commits.store(number, Ordering::Relaxed);
                self.stamp.note(number);
                if let Some(capture) = capture {
                    capture.leave(rows);
                }
                if let Some(last) = last_event {
                    self.last_event.store(last, Ordering::Release);
                }
                let mut shown = self
                    .shadowed
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                *shown = RowOverlay::new();
                Ok(())
            }
            Err(fault) => {
                let reason = chain(&fault);
                self.fail(&reason);
                Err(CommitError::HalfWay(reason))
            }
        }
    }

    fn make_durable(&self) -> Result<(), EngineError> {
        self.gate.wait_until_open();
        self.db.flush()?;
        match self.durability {
            DurabilityLevel::Power => Ok(self.files.sync().map_err(sled::Error::from)?),
            DurabilityLevel::Process => Ok(()),
        }
    }
}
