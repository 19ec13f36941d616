//! Opens a data directory: all checks come before sled sees it, all syncs before it is used.
//!
//! The order of the steps in [`open`] matters: each one relies on those before it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::thread::sleep;
use std::time::Duration;

use gimlet_core::id::Epoch;
use gimlet_core::memory::{MemoryRoom, MemoryRoute};
use gimlet_core::store::StoreSet;
use gimlet_core::time::{TimeSource, UnixTimestamp};
use gimlet_proto::store::{Meta, Number};
use sled::Db;

use crate::backup::BackupExporter;
use crate::capture::CaptureSlot;
use crate::config::{Config, DurabilityLevel, HistoryMode};
use crate::error::{EngineError, OpenError};
use crate::files::{self, FORMAT_VERSION, SyncedFiles, refuse, unusable};
use crate::gate::FlushGate;
use crate::heads::HeadCache;
use crate::health::StorageHealth;
use crate::history::{self, commits, lost_in_tree, renew};
use crate::key;
use crate::readers::ReaderPool;
use crate::reserve::DiskReserve;
use crate::rows::{RowOverlay, RowView};
use crate::shared::{DirectoryLock, SharedState};
use crate::stamp::{CommitStamp, CommitTag, StampRecord};
use crate::store::SledStore;
use crate::txn::WriteTransaction;
use crate::writer::TreeWriter;
use crate::{snapshot, stamp};

/// Attempts to take sled's own lock, and the pause between two attempts.
const LOCK_ATTEMPTS: u32 = 500;
const LOCK_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// An open data directory.
#[derive(Debug)]
pub struct OpenStorage {
    /// The stores. Dropping the last clone of any of them closes the directory.
    pub stores: StoreSet,
    /// Reports a failure of the storage, and its closing.
    pub health: StorageHealth,
    /// Epoch of the directory's history.
    pub epoch: Epoch,
    /// The epoch before this opening.
    previous_epoch: Epoch,
    gate: FlushGate,
    exporter: BackupExporter,
}

impl OpenStorage {
    /// Returns an exporter, which makes backups while the storage is in use.
    #[must_use]
    pub fn exporter(&self) -> BackupExporter {
        self.exporter.clone()
    }

    /// Returns the gate that holds commits before they become durable, for tests of what readers
    /// see.
    #[doc(hidden)]
    #[must_use]
    pub fn flush_gate(&self) -> FlushGate {
        self.gate.clone()
    }
}

/// Opens a data directory, and creates it if it is missing. It blocks: recovery reads the log.
pub fn open(config: &Config, clock: Arc<dyn TimeSource>) -> Result<OpenStorage, OpenError> {
    let dir = config.dir.as_path();
    // First of all the lock: every later step may change files.
    let lock = files::lock(dir)?;
    let new = files::check_format(dir)?;
    // Before sled opens: on a full disk the released reserve leaves room for what sled writes then.
    let reserve = DiskReserve::new(dir, config.min_free);
    let released = reserve.release_if_needed();
    released.map_err(|source| unusable(dir, source))?;
    // Before sled opens: it refuses to open beside a damaged snapshot.
    snapshot::clear(dir).map_err(|source| unusable(dir, source))?;
    let mark = stamp::read(dir).map_err(|source| unusable(dir, source))?;
    // A loss of power may take changes that `process` had answered, so such a loss is expected
    // there.
    let renews =
        config.history == HistoryMode::New || config.durability == DurabilityLevel::Process;
    // Before sled opens: it overwrites everything behind what it takes for the end of the log.
    let gap = match mark {
        Some(mark) => history::gap(dir, mark)?,
        None => None,
    };
    let lost = match gap {
        Some(gap) if renews => Some(gap.accept(dir)?),
        Some(gap) => return Err(gap.refusal(dir)),
        None => None,
    };
    let db = open_sled(config)?;
    let mut meta = meta(&db, dir, new, clock.now())?;
    let former_epoch = Epoch(meta.epoch);
    let commits = commits(&db, dir, mark)?;
    // A second check: sled may have recovered less than our own reading of the log found.
    let lost = lost.or_else(|| lost_in_tree(dir, mark, commits));
    match lost {
        Some(lost) if !renews => return Err(lost),
        Some(lost) => {
            tracing::warn!(reason = %lost, "began a new epoch with what is there");
            renew(&db, dir, &mut meta)?;
        }
        None if config.history == HistoryMode::New => renew(&db, dir, &mut meta)?,
        None => {}
    }
    // From here on `db` and the directory entries are on disk, including what recovery has written.
    flush(&db, dir)?;
    let mark = StampRecord {
        tag: mark.map_or_else(CommitTag::draw, |mark| mark.tag),
        opened: commits,
        answered: commits,
    };
    // After the flush, so that the stamp is never ahead of the database. `SyncedFiles::open` syncs
    // its name.
    let stamp = CommitStamp::begin(dir, mark).map_err(|source| unusable(dir, source))?;
    let files = SyncedFiles::open(dir).map_err(|source| unusable(dir, source))?;
    // Only now the directory counts as complete: everything above is synced.
    if new {
        files::finish_format(dir).map_err(|source| unusable(dir, source))?;
    }

    let last_event = last_event(&db).map_err(|fault| refuse(dir, fault))?;
    reserve.restore();
    let health = StorageHealth::new();
    let gate = FlushGate::default();
    let shared = Arc::new(SharedState {
        db,
        shadowed: RwLock::new(RowOverlay::new()),
        heads: HeadCache::default(),
        health: health.clone(),
        gate: gate.clone(),
        clock: Arc::clone(&clock),
        durability: config.durability,
        files,
        commits: AtomicU64::new(commits),
        last_event: AtomicU64::new(last_event),
        stamp,
        dir: dir.into(),
        min_free: config.min_free,
        captures: CaptureSlot::default(),
        reserve,
        lock: DirectoryLock::new(lock, health.clone()),
    });
    let writer = TreeWriter::start(Arc::clone(&shared), config.queue);
    let writer = writer.map_err(|source| unusable(dir, source))?;
    let readers = ReaderPool::start(&shared).map_err(|source| unusable(dir, source))?;
    let store = Arc::new(SledStore {
        writer,
        readers,
        shared,
    });
    Ok(OpenStorage {
        exporter: BackupExporter::new(&store),
        stores: StoreSet {
            seq: Arc::clone(&store) as _,
            inbox: Arc::clone(&store) as _,
            group: Arc::clone(&store) as _,
            device: Arc::clone(&store) as _,
            account: Arc::clone(&store) as _,
            outbox: Arc::clone(&store) as _,
            api_key: Arc::clone(&store) as _,
            jwt_user: Arc::clone(&store) as _,
            friend: Arc::clone(&store) as _,
            push_token: store,
            room: Arc::new(MemoryRoom::new(clock, config.room)),
            route: Arc::new(MemoryRoute::new(MemoryRoute::LEASE)),
        },
        health,
        epoch: Epoch(meta.epoch),
        previous_epoch: former_epoch,
        gate,
    })
}

/// Opens sled. The directory's lock is held, so if sled's own lock is taken, its holders are
/// threads of an earlier opening in this process that are about to end.
fn open_sled(config: &Config) -> Result<Db, OpenError> {
    let dir = config.dir.as_path();
    for _ in 0..LOCK_ATTEMPTS {
        // sled panics on some kinds of damage instead of reporting them.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            sled::Config::new()
                .path(dir)
                .cache_capacity(config.cache_bytes)
                .flush_every_ms(None)
                .open()
        }));
        match opened {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(sled::Error::Io(error)))
                if error.to_string().contains("could not acquire lock") =>
            {
                sleep(LOCK_RETRY_PAUSE);
            }
            Ok(Err(error)) => return Err(refuse(dir, error.into())),
            Err(_) => {
                return Err(OpenError::Damaged {
                    dir: dir.into(),
                    what: "sled panicked while reading it".into(),
                });
            }
        }
    }
    Err(OpenError::Locked {
        dir: dir.into(),
        holder: String::new(),
    })
}

/// Reads the directory's `Meta` record, or writes it in a new directory.
fn meta(db: &Db, dir: &Path, new: bool, now: UnixTimestamp) -> Result<Meta, OpenError> {
    let none = RowOverlay::new();
    let found = RowView::new(db, &none).get::<Meta>(key::META);
    match found.map_err(|fault| refuse(dir, fault))? {
        Some(meta) if meta.format == FORMAT_VERSION => Ok(meta),
        Some(meta) => Err(OpenError::Format {
            dir: dir.into(),
            found: meta.format.to_string(),
            ours: FORMAT_VERSION,
        }),
        None if !new => Err(OpenError::Damaged {
            dir: dir.into(),
            what: "its database is empty or lacks its first record".into(),
        }),
        None => {
            let meta = Meta {
                format: FORMAT_VERSION,
                epoch: Epoch::draw().0,
                created_ms: u64::try_from(now.0).unwrap_or(0),
            };
            let heads = HeadCache::default();
            let mut txn = WriteTransaction::new(db, &heads, now);
            txn.put(key::META, &meta)
                .map_err(|fault| refuse(dir, fault))?;
            let changes = txn
                .finish(None, false)
                .map_err(|fault| refuse(dir, fault))?;
            if let Some(changes) = changes {
                db.apply_batch(changes.batch)
                    .map_err(|error| refuse(dir, error.into()))?;
            }
            Ok(meta)
        }
    }
}

/// Draws a new epoch for a data directory that no process has open, and accepts that it lacks
/// changes. Returns the old epoch and the new one. It blocks as [`open`] does.
///
/// # Errors
/// Those of [`open`].
pub fn new_epoch(config: &Config, clock: Arc<dyn TimeSource>) -> Result<(Epoch, Epoch), OpenError> {
    let config = Config {
        history: HistoryMode::New,
        ..config.clone()
    };
    let opened = open(&config, clock)?;
    // Dropping it closes the directory: the drop waits for the writer and the readers.
    Ok((opened.previous_epoch, opened.epoch))
}

/// Reads the position of the last event.
fn last_event(db: &Db) -> Result<u64, EngineError> {
    let none = RowOverlay::new();
    let last = RowView::new(db, &none).get::<Number>(&key::LAST_EVENT)?;
    Ok(last.unwrap_or_default().value)
}

fn flush(db: &Db, dir: &Path) -> Result<(), OpenError> {
    db.flush().map_err(|error| refuse(dir, error.into()))?;
    Ok(())
}
