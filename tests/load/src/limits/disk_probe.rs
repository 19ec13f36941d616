//! Probe of the disk in the seconds of a scenario: a small durable write beside those of the
//! server, on the same drive. A shared drive stalls at times, and the probe shows when.

use std::io::Write as _;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::ProbeOutcome;
use crate::clock;
use crate::latency::{LatencyRecorder, LatencySummary};
use crate::pace::SendSchedule;

/// Writes per second: enough to see each stall of 5 ms, at about 1 % of a core. The number is odd,
/// so that the writes do not keep in step with the sends of a run.
const RATE: f64 = 199.0;

/// Bytes of a write.
const RECORD: usize = 120;

/// Probe that is running.
#[derive(Debug)]
pub struct DiskProbe {
    thread: JoinHandle<ProbeOutcome<LatencySummary>>,
}

impl DiskProbe {
    /// Appends a record to a file in this folder and syncs it, repeatedly, from one time to another
    /// (nanoseconds of [`clock::now`]). Each write is timed from when it was due.
    ///
    /// # Errors
    /// The thread or the file cannot be created.
    pub fn start(dir: &Path, from: u64, until: u64) -> ProbeOutcome<Self> {
        let mut file = tempfile::tempfile_in(dir)?;
        let write = move || {
            let (mut schedule, mut latency) =
                (SendSchedule::new(from, RATE), LatencyRecorder::new(from));
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

    /// Waits for the end of the probe; returns the times of the writes.
    ///
    /// # Errors
    /// A write failed.
    pub fn finish(self) -> ProbeOutcome<LatencySummary> {
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
        // All writes are due before the probe begins.
        let until = clock::now();
        let from = until - clock::SECOND / 20;
        let beside = DiskProbe::start(dir.path(), from, until).unwrap();
        let summary = beside.finish().unwrap();
        assert!((10..=11).contains(&summary.count), "{summary:?}");
        assert!(summary.max_ms >= 49.0, "{summary:?}");
    }
}
