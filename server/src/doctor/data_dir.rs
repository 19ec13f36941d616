//! The data directory: usable, private, on a disk that has room and is fast enough.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::DoctorReport;
use crate::config::{Config, StorageDurability, StorageKind};

const TOPIC: &str = "data directory";
const DISK: &str = "disk";
/// Writes that are measured.
const SYNCS: usize = 20;
/// Bytes of each, those of a small batch.
const SYNC_BYTES: usize = 4_096;
/// Time of a write to disk above which every send is slow.
const SLOW_SYNC: Duration = Duration::from_millis(20);

pub(super) fn examine(config: &Config, report: &mut DoctorReport) {
    let dir = &config.data_dir;
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Ok(found) if !found.is_dir() => {
            let text = format!("{shown} is not a directory: set data_dir to a directory");
            return report.problem(TOPIC, text);
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(dir, report),
        Err(error) => {
            let text = format!(
                "{shown} cannot be read ({error}): give it to the user that gimlet runs as"
            );
            return report.problem(TOPIC, text);
        }
    }
    private(dir, report);
    room(config, report);
    match sync_time(dir) {
        Ok(time) => speed(config, time, report),
        Err(error) => report.problem(
            TOPIC,
            format!("{shown} cannot be written ({error}): give it to the user that gimlet runs as"),
        ),
    }
}

/// A directory that does not exist yet is made at the first start, if its parent allows it.
fn missing(dir: &Path, report: &mut DoctorReport) {
    let parent = dir.ancestors().skip(1).find(|it| it.is_dir());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    match tempfile::tempfile_in(parent) {
        Ok(_) => report.fine(TOPIC, format!("{} will be made at the first start", dir.display())),
        Err(error) => report.problem(
            TOPIC,
            format!(
                "{} does not exist, and {} cannot be written ({error}): make the directory for the user that \
                 gimlet runs as, or set data_dir",
                dir.display(),
                parent.display()
            ),
        ),
    }
}

/// Mode bits of other users.
#[cfg(unix)]
const OTHERS_MODE_BITS: u32 = 0o077;

#[cfg(unix)]
fn private(dir: &Path, report: &mut DoctorReport) {
    use std::os::unix::fs::MetadataExt as _;

    let mode = std::fs::metadata(dir).map_or(0, |it| it.mode() & 0o777);
    if mode & OTHERS_MODE_BITS == 0 {
        report.fine(TOPIC, format!("{} is closed to other users", dir.display()));
    } else {
        report.warn(
            TOPIC,
            format!(
                "{0} is open to other users (mode {mode:o}), and messages are in it in clear text: chmod 700 {0}",
                dir.display()
            ),
        );
    }
}

#[cfg(not(unix))]
fn private(_: &Path, _: &mut DoctorReport) {}

fn room(config: &Config, report: &mut DoctorReport) {
    let needed = match config.storage.kind {
        StorageKind::Sled => config.storage.min_free.max(config.http.upload_min_free),
        StorageKind::Memory | StorageKind::Mysql => config.http.upload_min_free,
    };
    let Some(free) = gimlet_web::process::free_bytes(&config.data_dir) else {
        return;
    };
    let (free_mib, needed_mib) = (free >> 20, needed >> 20);
    if free < config.storage.min_free {
        report.problem(
            DISK,
            format!(
                "{free_mib} MiB are free, and sends are refused below storage.min_free: free some space, or \
                 move data_dir to a larger disk"
            ),
        );
    } else if free < needed.saturating_mul(2) {
        report.warn(
            DISK,
            format!(
                "{free_mib} MiB are free, and below {needed_mib} MiB sends or uploads are refused: free some \
                 space, or move data_dir to a larger disk"
            ),
        );
    } else {
        report.fine(DISK, format!("{free_mib} MiB are free"));
    }
}

/// Returns the median time in which a small write reaches the disk.
fn sync_time(dir: &Path) -> io::Result<Duration> {
    let mut file: File = tempfile::tempfile_in(dir)?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[0; SYNC_BYTES])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(SYNCS / 2).copied().unwrap_or_default())
}

fn speed(config: &Config, time: Duration, report: &mut DoctorReport) {
    let waits_for_disk = config.storage.kind == StorageKind::Sled
        && config.storage.durability == StorageDurability::Power;
    if waits_for_disk && time > SLOW_SYNC {
        report.warn(
            DISK,
            format!(
                "a write takes {time:.1?} to reach the disk, and every send waits for one: use a local SSD \
                 instead of a network disk"
            ),
        );
    } else {
        report.fine(DISK, format!("a write takes {time:.1?} to reach the disk"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::FindingLevel;
    use super::*;

    #[test]
    fn a_slow_disk_is_a_warning_where_sends_wait_for_it() {
        let mut report = DoctorReport::default();
        let mut config = Config::default();
        speed(&config, Duration::from_millis(30), &mut report);
        config.storage.durability = StorageDurability::Process;
        speed(&config, Duration::from_millis(30), &mut report);
        let levels: Vec<_> = report.findings.iter().map(|it| it.level).collect();
        assert_eq!(levels, [FindingLevel::Warning, FindingLevel::Fine]);
    }
}
