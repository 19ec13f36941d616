//! Reads a whole directory and checks every law that can be checked at rest.
//!
//! Each kind of row is read in one walk in the order of the keys, with look-ups of related rows.
//! Memory does not grow with the stored data, except for four bytes per body of a window.

mod accounts;
mod events;
mod messages;
mod push_tokens;

use std::sync::Arc;

use gimlet_core::time::SystemClock;
use gimlet_core::verify::{VerifyReport, VerifyRule};
use gimlet_proto::store::{Meta, Number};
use sled::IVec;

use crate::backup::BackupError;
use crate::config::Config;
use crate::error::EngineError;
use crate::heads::HeadCache;
use crate::key;
use crate::rows::{CHUNKED_ROW, RowOverlay, RowView};

/// Bodies whose references are counted in one walk over the entries: 64 MiB.
const WINDOW_BODIES: usize = 16 << 20;
/// Rows between two calls of `step`.
const STEP_ROWS: u64 = 10_000;

/// Opens a directory that no process has open, and checks it. It blocks.
///
/// `step` is called with the rows read so far; an error from it ends the check.
pub fn verify(
    config: &Config,
    step: impl FnMut(u64) -> std::io::Result<()>,
) -> Result<VerifyReport, BackupError> {
    let opened = crate::open(config, Arc::new(SystemClock))?;
    let health = opened.health.clone();
    let outcome = opened.exporter().with_tree(|tree| {
        let none = RowOverlay::new();
        let mut check = StorageCheck {
            rows: RowView::new(tree, &none),
            heads: HeadCache::default(),
            report: VerifyReport::default(),
            read: 0,
            step,
        };
        check.all().map(|()| check.report)
    });
    drop(opened);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(health.closed());
    outcome
}

/// Reasons a check ended early.
enum CheckError {
    Storage(EngineError),
    GivenUp(std::io::Error),
}

impl From<EngineError> for CheckError {
    fn from(fault: EngineError) -> Self {
        Self::Storage(fault)
    }
}

type CheckResult = Result<(), CheckError>;

struct StorageCheck<'a, F> {
    rows: RowView<'a>,
    heads: HeadCache,
    report: VerifyReport,
    read: u64,
    step: F,
}

impl<F: FnMut(u64) -> std::io::Result<()>> StorageCheck<'_, F> {
    fn all(&mut self) -> Result<(), BackupError> {
        let done = (|| {
            self.meta()?;
            self.inboxes()?;
            self.bodies()?;
            self.jobs()?;
            self.keys()?;
            self.devices()?;
            self.groups()?;
            self.friends()?;
            self.accounts()?;
            self.events()?;
            self.push_tokens()?;
            self.api_keys()?;
            self.jwt_users()?;
            self.rest()
        })();
        match done {
            Ok(()) => Ok(()),
            Err(CheckError::Storage(fault)) => {
                Err(BackupError::Storage(crate::error::chain(&fault)))
            }
            Err(CheckError::GivenUp(error)) => Err(error.into()),
        }
    }

    /// Calls `look` for every row with this prefix.
    fn each(
        &mut self,
        prefix: &[u8],
        kind: &'static str,
        mut look: impl FnMut(&mut Self, &IVec, &IVec) -> CheckResult,
    ) -> CheckResult {
        let rows = self.rows;
        for row in rows.scan(prefix, None) {
            let (key, value) = row?;
            self.report.count(kind, 1);
            self.read += 1;
            if self.read.is_multiple_of(STEP_ROWS) {
                (self.step)(self.read).map_err(CheckError::GivenUp)?;
            }
            look(self, &key, &value)?;
        }
        Ok(())
    }

    /// Decodes the record of a row. Reports a finding if that fails.
    fn decode<M: prost::Message + Default>(
        &mut self,
        key: &[u8],
        value: &[u8],
        place: impl FnOnce() -> String,
    ) -> Option<M> {
        match self.rows.decode(key, value) {
            Ok(record) => Some(record),
            Err(fault) => {
                let what = crate::error::chain(&fault);
                self.report.find(VerifyRule::Readable, place(), what);
                None
            }
        }
    }

    fn number(&self, key: &[u8]) -> Result<u64, EngineError> {
        let found = self.rows.get::<Number>(key)?;
        Ok(found.unwrap_or_default().value)
    }

    fn meta(&mut self) -> CheckResult {
        match self.rows.get::<Meta>(key::META)? {
            Some(meta) if meta.epoch != 0 => {}
            _ => self
                .report
                .find(VerifyRule::Epoch, "store", "it has no epoch"),
        }
        Ok(())
    }

    /// Checks that a counter is not below the largest number in use, which it would give out again.
    fn counter(&mut self, scope: u8, largest: u64, name: &str) -> CheckResult {
        let value = self.number(&key::counter(scope))?;
        if value < largest {
            let what = format!("it stands at {value}, and {largest} is taken");
            self.report
                .find(VerifyRule::Counters, format!("counter of {name}"), what);
        }
        Ok(())
    }

    /// Checks the further rows of long values, and finds rows with an unknown prefix.
    fn rest(&mut self) -> CheckResult {
        self.each(b"Z", "value chunks", |it, name, _| {
            let of = name
                .get(1..name.len().saturating_sub(4))
                .unwrap_or_default();
            let number = name
                .last_chunk::<4>()
                .map_or(0, |it| u32::from_be_bytes(*it));
            let count = match it.rows.raw(of)? {
                Some(raw) => match raw.split_first() {
                    Some((&CHUNKED_ROW, rest)) => rest
                        .first_chunk::<4>()
                        .map_or(0, |it| u32::from_be_bytes(*it)),
                    _ => 0,
                },
                None => 0,
            };
            if number >= count {
                it.report.find(
                    VerifyRule::Readable,
                    shown(of),
                    format!("chunk {number} of a value that does not exist"),
                );
            }
            Ok(())
        })?;
        let known = key::PREFIXES;
        let rows = self.rows;
        let mut from = 0_u8;
        for prefix in known.iter().copied().chain([u8::MAX]) {
            // Prefixes between two known ones.
            for foreign in from..prefix {
                if rows.scan(&[foreign], None).next().is_some() {
                    let place = format!("prefix {foreign:#04x}");
                    self.report
                        .find(VerifyRule::Readable, place, "rows of an unknown kind");
                }
            }
            from = prefix.saturating_add(1);
        }
        Ok(())
    }
}

fn pair(key: &[u8]) -> Option<(u64, u64)> {
    let (first, rest) = key.get(1..)?.split_first_chunk::<8>()?;
    let second: &[u8; 8] = rest.try_into().ok()?;
    Some((u64::from_be_bytes(*first), u64::from_be_bytes(*second)))
}

fn inbox(user: u64) -> String {
    format!("inbox of user {user}")
}

/// Describes a key by its kind and its length only: some keys contain phone numbers or client ids.
fn shown(key: &[u8]) -> String {
    match key.first() {
        Some(prefix) => format!("row {}… of {} bytes", char::from(*prefix), key.len()),
        None => "an empty key".into(),
    }
}
