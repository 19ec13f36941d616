//! State that the writer and the readers of one open directory share, and the one rule between
//! them: **readers see all durable changes, and no others.**
//!
//! sled shows a batch as soon as it is applied, before it is on disk. So the writer, under the
//! write lock, lays the shadowed values of the batch's rows over the tree in the same step in which
//! it applies the batch, and removes them when the batch is durable. A reader looks through this
//! overlay under the read lock, so it sees exactly one durable state. Heads of inboxes are shadowed
//! in the same way: an added entry shadows no value, but it moves the head. Inbox pages, the hot
//! reads, need the lock for the head only, because entries up to a durable head do not change.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use gimlet_core::time::{Clock, Timestamp};
use sled::{Db, Tree};

use crate::backup::Captures;
use crate::config::Durability;
use crate::error::Fault;
use crate::files::{self, Files};
use crate::gate::FlushGate;
use crate::heads::Heads;
use crate::health::Health;
use crate::reserve::Reserve;
use crate::rows::{Layer, Rows};
use crate::stamp::Stamp;
use crate::system::{Class, class};
use crate::txn::{Changes, Txn};
use crate::writer::Weight;

/// State of an open directory. The order of the fields is the order of their drops: sled closes
/// before the lock is released, and the lock's drop reports the directory as closed.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) db: Db,
    /// Shadowed values of changes that are applied but not durable. A std lock: the writer holds it
    /// while a batch is applied (sled blocks readers then anyway), readers hold it for one read. It
    /// is never held over an await.
    pub(crate) former: RwLock<Layer>,
    /// Cache of the heads as they stand in the tree.
    pub(crate) heads: Heads,
    pub(crate) health: Health,
    pub(crate) gate: FlushGate,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) durability: Durability,
    pub(crate) files: Files,
    /// Number of the last commit. Only the writer's thread changes it.
    pub(crate) commits: AtomicU64,
    /// Records that number beside the database.
    pub(crate) stamp: Stamp,
    pub(crate) dir: PathBuf,
    pub(crate) min_free: u64,
    /// Collects commits for a backup in progress.
    pub(crate) captures: Captures,
    pub(crate) reserve: Reserve,
    #[expect(dead_code, reason = "it is held, and let go last")]
    pub(crate) lock: Lock,
}

/// The directory's lock. Its drop releases the lock first and then reports the directory as closed,
/// so that a caller that waits for the close can open it again at once.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Option<File>,
    health: Health,
}

impl Lock {
    pub(crate) const fn new(file: File, health: Health) -> Self {
        Self {
            file: Some(file),
            health,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.file = None;
        self.health.close();
    }
}

/// Outcomes of a failed commit.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    /// The commit failed before any change was applied.
    Before(String),
    /// The commit failed half-way: whether its changes are on disk is known only after the next
    /// opening.
    HalfWay(String),
}

impl Failed {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Before(reason) => Fault::Failed(reason.clone()),
            Self::HalfWay(reason) => Fault::Unknown(reason.clone()),
        }
    }
}

impl Shared {
    pub(crate) fn tree(&self) -> &Tree {
        &self.db
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn fail(&self, reason: &str) {
        self.health.fail(reason);
    }

    /// Fails the storage if sled failed. Other errors concern their caller alone, and so does a
    /// read for which the system was short of a resource.
    pub(crate) fn notice(&self, fault: &Fault) {
        let transient = matches!(fault, Fault::Sled(sled::Error::Io(error))
            if class(error) == Class::Transient);
        if matches!(fault, Fault::Sled(_)) && !transient {
            self.fail(&chain(fault));
        }
    }

    fn working(&self) -> Result<(), Fault> {
        self.health
            .failure()
            .map_or(Ok(()), |reason| Err(Fault::Failed(reason)))
    }

    /// Reads one durable state.
    pub(crate) fn durable<T>(
        &self,
        read: impl FnOnce(&Rows<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // The overlay is only ever replaced whole, so the value behind a poisoned lock is valid.
        let former = self.former.read().unwrap_or_else(PoisonError::into_inner);
        self.working()?;
        read(&Rows::new(self.tree(), &former)).inspect_err(|fault| self.notice(fault))
    }

    /// Reads the tree without the overlay. Only for rows that cannot change any more: those up to a
    /// head that was read with [`Self::durable`].
    pub(crate) fn settled<T>(
        &self,
        read: impl FnOnce(&Rows<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.working()?;
        read(&Rows::new(self.tree(), &Layer::new())).inspect_err(|fault| self.notice(fault))
    }

    /// Refuses a change if the disk has too little free space for it.
    pub(crate) fn room_for(&self, weight: Weight) -> Result<(), Fault> {
        self.working()?;
        let needed = match weight {
            Weight::Adds => self.min_free,
            Weight::Sets => self.min_free / 4,
            // A removal writes as well, and a commit that finds no space on the disk fails the
            // storage.
            Weight::Removes => self.min_free / 16,
        };
        // An unreadable free space does not refuse: a disk that is full would still fail the
        // commit.
        match files::free_space(&self.dir) {
            Ok(free) if free < needed => Err(Fault::Full { free, needed }),
            _ => Ok(()),
        }
    }

    /// Applies the changes, makes them durable, and then shows them to readers.
    ///
    /// The order of the steps must not change: shadow and apply under one lock, flush, stamp, hand
    /// the rows to a backup, and only then unshadow. The caller answers after that. So neither a
    /// reader nor a caller learns of a change that a crash could still lose.
    pub(crate) fn commit(&self, txn: Txn<'_>) -> Result<(), Failed> {
        if let Some(reason) = self.health.failure() {
            return Err(Failed::Before(reason));
        }
        // Read before the changes are gathered. Only the writer begins a capture, in a command, so
        // none can begin before this commit ends, and none misses a part of it.
        let capture = self.captures.running();
        let number = self.commits.load(Ordering::Relaxed) + 1;
        let Changes {
            batch,
            heads,
            former,
            rows,
        } = match txn.finish(Some(self.stamp.row(number)), capture.is_some()) {
            Ok(Some(changes)) => changes,
            Ok(None) => return Ok(()),
            Err(fault) => {
                self.notice(&fault);
                return Err(Failed::Before(chain(&fault)));
            }
        };
        let applied = {
            let mut shown = self.former.write().unwrap_or_else(PoisonError::into_inner);
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
            .map_err(Fault::from)
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
                let mut shown = self.former.write().unwrap_or_else(PoisonError::into_inner);
                *shown = Layer::new();
                Ok(())
            }
            Err(fault) => {
                let reason = chain(&fault);
                self.fail(&reason);
                Err(Failed::HalfWay(reason))
            }
        }
    }

    fn make_durable(&self) -> Result<(), Fault> {
        self.gate.pass();
        self.db.flush()?;
        match self.durability {
            Durability::Power => Ok(self.files.sync().map_err(sled::Error::from)?),
            Durability::Process => Ok(()),
        }
    }
}

/// Formats an error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}
