//! What the writer and the readers of one open directory share, and the one rule between them:
//! **readers see what is durable, and all of it.**
//!
//! sled shows a batch as soon as it is applied, before it is on disk. So in the same step the former
//! values of the batch's rows are laid over the tree for readers, and are taken away when the batch
//! is durable. A reader looks through one such layer under a read lock, so it sees exactly one
//! durable state. Where inboxes stood is laid over in the same way: an added entry has no former
//! value, but it moves the end of its inbox. Inbox pages, the hot reads, need the lock for the head
//! only: what lies below a durable head does not change.

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

/// An open directory. The fields go in this order: sled before the lock, the news last.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) db: Db,
    /// The former values of what is applied but not durable. A std lock: writers hold it while a
    /// batch is applied (when sled lets nobody read anyway), readers for a read; none awaits.
    pub(crate) former: RwLock<Layer>,
    /// What is remembered of where inboxes stand in the tree.
    pub(crate) heads: Heads,
    pub(crate) health: Health,
    pub(crate) gate: FlushGate,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) durability: Durability,
    pub(crate) files: Files,
    /// The number of the last commit. Only the writer's thread changes it.
    pub(crate) commits: AtomicU64,
    /// Where that number stands beside the database.
    pub(crate) stamp: Stamp,
    pub(crate) dir: PathBuf,
    pub(crate) min_free: u64,
    /// Where commits are left for a backup that is being made.
    pub(crate) captures: Captures,
    pub(crate) reserve: Reserve,
    #[expect(dead_code, reason = "it is held, and let go last")]
    pub(crate) lock: Lock,
}

/// The directory's lock, and who is told when it is free.
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

/// How a commit failed.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    /// Before anything was applied.
    Before(String),
    /// Half-way: what is on disk will be known when the directory is opened again.
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

    /// Fails the storage if sled gave up; other faults concern their caller alone, and so does a read
    /// for which the system was short of something.
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
        // The layer is only ever replaced whole, so a poisoned lock guards a sound one.
        let former = self.former.read().unwrap_or_else(PoisonError::into_inner);
        self.working()?;
        read(&Rows::new(self.tree(), &former)).inspect_err(|fault| self.notice(fault))
    }

    /// Reads the tree itself: for what cannot change below what was read as durable.
    pub(crate) fn settled<T>(
        &self,
        read: impl FnOnce(&Rows<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.working()?;
        read(&Rows::new(self.tree(), &Layer::new())).inspect_err(|fault| self.notice(fault))
    }

    /// Refuses a change that the disk has no room for.
    pub(crate) fn room_for(&self, weight: Weight) -> Result<(), Fault> {
        self.working()?;
        let needed = match weight {
            Weight::Adds => self.min_free,
            Weight::Sets => self.min_free / 4,
            // Removing writes, too, and a commit that the disk has no room for ends the process.
            Weight::Removes => self.min_free / 16,
        };
        // What cannot be told does not refuse: a full disk would then fail the commit.
        match files::free_space(&self.dir) {
            Ok(free) if free < needed => Err(Fault::Full { free, needed }),
            _ => Ok(()),
        }
    }

    /// Applies the changes, makes them durable, and then lets readers see them.
    pub(crate) fn commit(&self, txn: Txn<'_>) -> Result<(), Failed> {
        if let Some(reason) = self.health.failure() {
            return Err(Failed::Before(reason));
        }
        // Asked before the changes are gathered: a capture begins between two commits.
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
            // If it failed, nobody reads any more.
            self.heads.set(heads);
            applied
        };
        // On failure the former values stay: readers never see what may be gone after a restart.
        let outcome = applied
            .map_err(Fault::from)
            .and_then(|()| self.make_durable());
        match outcome {
            Ok(()) => {
                // After the flush, so that the stamp is never ahead; before the answers, so that what
                // was answered is covered by it.
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

/// An error with its causes, in one line.
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
