//! `gimlet backup` and `gimlet restore`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use gimlet_storage_sled::{self as sled, BackupFrame, BackupReader, BackupWriter, ExportProgress};

use super::{BackupSummary, ProgressCallback, ToolError, ToolProgress};
use crate::config::{Config, StorageKind};
use crate::uploaded_files::add_files;
use crate::{control, private_dir, storage};

/// Argument that stands for standard output and input.
const STANDARD_STREAM: &str = "-";
/// Bytes read and written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes a backup of the embedded storage to a file, or to standard output for `-`. The file
/// appears complete or not at all, and no file is overwritten.
pub fn backup(
    config: &Config,
    to: &Path,
    step: ProgressCallback<'_>,
) -> Result<BackupSummary, ToolError> {
    only_sled(
        config,
        "gimlet backup copies",
        "back MySQL up with its own means (mysqldump --single-transaction, or a snapshot)",
    )?;
    if to == Path::new(STANDARD_STREAM) {
        return write(config, &mut io::stdout().lock(), step);
    }
    let named = to.display();
    if to.exists() {
        let error = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(ToolError::io(format!("will not overwrite {named}"))(error));
    }
    let parent = to.parent().filter(|it| !it.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let failed = || ToolError::io(format!("cannot write {named}"));
    let mut draft = tempfile::Builder::new()
        .prefix(".gimlet-backup-")
        .tempfile_in(parent)
        .map_err(failed())?;
    let summary = write(config, draft.as_file_mut(), step)?;
    // Synced before it gets its name: a crash must not leave an incomplete backup under it.
    draft.as_file().sync_all().map_err(failed())?;
    draft
        .persist_noclobber(to)
        .map_err(|error| failed()(error.error))?;
    // The file's name is durable only when its folder is synced.
    File::open(parent)
        .and_then(|it| it.sync_all())
        .map_err(failed())?;
    Ok(summary)
}

fn write(
    config: &Config,
    out: &mut dyn Write,
    step: ProgressCallback<'_>,
) -> Result<BackupSummary, ToolError> {
    let dir = &config.data_dir;
    let asking = || {
        ToolError::io(format!(
            "cannot reach the gimlet that has {} open",
            dir.display()
        ))
    };
    match control::connect(dir).map_err(asking())? {
        Some(mut stream) => {
            let answer = control::ask(&mut stream, "backup").map_err(asking())?;
            answer.map_err(ToolError::Refused)?;
            copy(stream, out, step)
        }
        None => write_closed(config, out, step),
    }
}

/// Copies a backup from the running process and checks it on the way: only a complete one is kept.
fn copy(
    input: impl Read,
    out: &mut dyn Write,
    step: ProgressCallback<'_>,
) -> Result<BackupSummary, ToolError> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let mut summary = BackupSummary {
        live: true,
        ..BackupSummary::default()
    };
    {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        let mut reader = BackupReader::new(TeeReader {
            input,
            out: &mut out,
        })?;
        while let Some(frame) = reader.next_frame()? {
            match frame {
                BackupFrame::Rows(rows) => summary.rows += rows.len() as u64,
                BackupFrame::File(_) => summary.files += 1,
                BackupFrame::Data(_) => {}
            }
            summary.bytes = reader.bytes();
            step(ToolProgress::Bytes(summary.bytes)).map_err(ToolError::io("cancelled"))?;
        }
        summary.bytes = reader.bytes();
    }
    out.flush()
        .map_err(ToolError::io("cannot write the backup"))?;
    Ok(summary)
}

/// A reader that also writes everything it reads.
struct TeeReader<R, W> {
    input: R,
    out: W,
}

impl<R: Read, W: Write> Read for TeeReader<R, W> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(into)?;
        self.out.write_all(into.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

fn write_closed(
    config: &Config,
    out: &mut dyn Write,
    step: ProgressCallback<'_>,
) -> Result<BackupSummary, ToolError> {
    // Opening a directory creates it; a backup of a mistyped one must fail instead.
    if !config.data_dir.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotFound);
        let what = format!("there is no data directory {}", config.data_dir.display());
        return Err(ToolError::io(what)(error));
    }
    let out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let writing = || ToolError::io("cannot write the backup");
    let mut writer = BackupWriter::new(out).map_err(writing())?;
    let each = |it: ExportProgress| step(ToolProgress::Bytes(it.bytes));
    let exported = sled::export_closed(&storage::sled_config(config), &mut writer, each)?;
    add_files(&mut writer, &config.data_dir).map_err(writing())?;
    let (bytes, files) = (writer.bytes(), writer.files());
    writer.finish().map_err(writing())?;
    Ok(BackupSummary {
        bytes,
        rows: exported.rows,
        files,
        ..BackupSummary::default()
    })
}

/// Restores a backup into an empty data directory, under a new epoch.
pub fn restore(
    config: &Config,
    from: &Path,
    step: ProgressCallback<'_>,
) -> Result<BackupSummary, ToolError> {
    only_sled(
        config,
        "gimlet restore puts back",
        "restore MySQL with its own means, and run gimlet new-epoch before the nodes start",
    )?;
    restore_to(config, from, step)
}

/// Restores a backup into the data directory of this configuration, whatever its storage is.
pub(super) fn restore_to(
    config: &Config,
    from: &Path,
    step: ProgressCallback<'_>,
) -> Result<BackupSummary, ToolError> {
    let making = format!("cannot make {}", config.data_dir.display());
    private_dir::keep(&config.data_dir).map_err(ToolError::io(making))?;
    let input: Box<dyn Read> = if from == Path::new(STANDARD_STREAM) {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(from);
        Box::new(opened.map_err(ToolError::io(format!("cannot read {}", from.display())))?)
    };
    let mut bytes = 0;
    let each = |read| {
        bytes = read;
        step(ToolProgress::Bytes(read))
    };
    let input = BufReader::with_capacity(BUFFER_BYTES, input);
    let restored = sled::restore(&storage::sled_config(config), input, each)?;
    Ok(BackupSummary {
        bytes,
        rows: restored.rows,
        files: restored.files,
        epoch: Some(restored.epoch.0),
        live: false,
    })
}

fn only_sled(config: &Config, tool: &str, instead: &str) -> Result<(), ToolError> {
    match config.storage.kind {
        StorageKind::Sled => Ok(()),
        StorageKind::Mysql => Err(ToolError::Kind(format!(
            "{tool} the embedded storage (storage.kind = \"sled\"), and this configuration has mysql: \
             {instead}"
        ))),
        StorageKind::Memory => Err(ToolError::Kind(format!(
            "{tool} the embedded storage (storage.kind = \"sled\"), and this configuration has memory, \
             which keeps nothing"
        ))),
    }
}
