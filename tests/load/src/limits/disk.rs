//! Disk probes: appends made durable one by one, together, and for many senders.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::{MeasuredLimit, ProbeOutcome, ProbePass, ProbeShape, group};

/// Bytes of a record.
const RECORD: usize = 120;

/// Records of one write in the batched probe.
const BATCH: u64 = 512;

/// Bytes allocated for the overwriting probe.
const AHEAD: u64 = 64 << 20;

/// Runs every disk probe.
pub fn all(dir: &Path, shape: ProbeShape) -> ProbeOutcome<Vec<MeasuredLimit>> {
    let one = shape.passes(|span| append(dir, span, 1))?;
    let ahead = shape.passes(|span| overwrite(dir, span))?;
    let batched = shape.passes(|span| append(dir, span, BATCH))?;
    Ok(vec![
        MeasuredLimit::of(
            "disk append",
            "records/s",
            &one,
            "120 B + fdatasync, one thread",
        ),
        MeasuredLimit::of(
            "disk overwrite",
            "records/s",
            &ahead,
            "120 B in a preallocated file, fdatasync",
        ),
        MeasuredLimit::of(
            "disk append x512",
            "records/s",
            &batched,
            "512 x 120 B in one write + fdatasync",
        ),
        commits(dir, shape, 64)?,
        commits(dir, shape, 512)?,
    ])
}

/// Measures group commit for `senders` senders.
pub fn commits(dir: &Path, shape: ProbeShape, senders: u64) -> ProbeOutcome<MeasuredLimit> {
    let passes = shape.passes(|span| {
        let mut file = tempfile::tempfile_in(dir)?;
        let mut bytes = Vec::new();
        group::commit(
            senders,
            span,
            |_| (),
            move |batch: &[()]| {
                bytes.resize(batch.len() * RECORD, 7);
                file.write_all(&bytes)?;
                Ok(file.sync_data()?)
            },
        )
    })?;
    let name = format!("disk group commit {senders}");
    Ok(MeasuredLimit::of(
        name,
        "acks/s",
        &passes,
        "all waiting records in one write + fdatasync, tokio senders",
    ))
}

fn append(dir: &Path, span: Duration, records: u64) -> ProbeOutcome<ProbePass> {
    let file = tempfile::tempfile_in(dir)?;
    sync_loop(file, span, records, |_| Ok(()))
}

fn overwrite(dir: &Path, span: Duration) -> ProbeOutcome<ProbePass> {
    let mut file = tempfile::tempfile_in(dir)?;
    let block = vec![0; 1 << 20];
    for _ in 0..AHEAD >> 20 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    file.rewind()?;
    sync_loop(file, span, 1, |file| {
        if file.stream_position()? + RECORD as u64 > AHEAD {
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(())
    })
}

fn sync_loop(
    mut file: File,
    span: Duration,
    records: u64,
    mut before: impl FnMut(&mut File) -> ProbeOutcome<()>,
) -> ProbeOutcome<ProbePass> {
    let bytes = vec![7; RECORD * usize::try_from(records)?];
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < span {
        before(&mut file)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        count += records;
    }
    Ok(ProbePass {
        count,
        span: start.elapsed(),
        cpu: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_counts_something() {
        let dir = tempfile::tempdir().unwrap();
        let shape = ProbeShape {
            span: Duration::from_millis(5),
            passes: 1,
        };
        for limit in all(dir.path(), shape).unwrap() {
            assert!(limit.value > 0.0, "{limit}");
        }
    }
}
