//! The disk without a server, in the very seconds of a scenario: a small durable write beside those of the
//! server, on the same drive. A drive that others share stalls at times, and this shows when.

use std::io::Write as _;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Outcome;
use crate::clock;
use crate::latency::{Latency, Summary};
use crate::pace::Schedule;

/// Writes a second: enough to see each stall of 5 ms, at some 1 % of a core; an odd number, so that they
/// do not keep in step with the sends of a run.
const RATE: f64 = 199.0;

/// Bytes of a write.
const RECORD: usize = 120;

/// The writes that go on.
#[derive(Debug)]
pub struct Beside {
    thread: JoinHandle<Outcome<Summary>>,
}

impl Beside {
    /// Appends a record to a file of this folder and syncs it, over and over, from one time to the
    /// other (nanoseconds of [`clock::now`]). Each is charged from the time it was due.
    ///
    /// # Errors
    /// There is no thread or no file to be had.
    pub fn start(dir: &Path, from: u64, until: u64) -> Outcome<Self> {
        let mut file = tempfile::tempfile_in(dir)?;
        let write = move || {
            let (mut schedule, mut latency) = (Schedule::new(from, RATE), Latency::new(from));
            while schedule.next() < until {
                let now = clock::now();
                let Some(due) = schedule.due(now) else {
                    thread::sleep(Duration::from_nanos(schedule.next().saturating_sub(now)));
                    continue;
                };
                file.write_all(&[7; RECORD])?;
                file.sync_all()?;
                latency.record(due, clock::now());
            }
            Ok(latency.summary())
        };
        let thread = thread::Builder::new().name("disk".into()).spawn(write)?;
        Ok(Self { thread })
    }

    /// Waits for its end, and tells how long the writes took.
    ///
    /// # Errors
    /// A write failed.
    pub fn finish(self) -> Outcome<Summary> {
        self.thread
            .join()
            .map_err(|_| "the disk's probe panicked")?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_that_was_due_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        // All of them were due before it began.
        let until = clock::now();
        let from = until - clock::SECOND / 20;
        let beside = Beside::start(dir.path(), from, until).unwrap();
        let summary = beside.finish().unwrap();
        assert!((10..=11).contains(&summary.count), "{summary:?}");
        assert!(summary.max_ms >= 49.0, "{summary:?}");
    }
}
