//! Uploaded files in a backup.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::Path;

use gimlet_storage_sled::BackupWriter;

/// Folder of the uploaded files in the data directory.
const FILES_FOLDER: &str = "files";
/// Bytes of one frame.
const CHUNK_BYTES: usize = 1 << 20;

/// Adds every uploaded file of this data directory. A file appears there complete or not at all; an
/// unfinished one has a name that begins with a dot.
pub(crate) fn add_files<W: Write>(writer: &mut BackupWriter<W>, dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir.join(FILES_FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') || !entry.file_type()?.is_file() {
            continue;
        }
        let mut file = match File::open(entry.path()) {
            Ok(file) => file,
            // The file was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        writer.file(&name)?;
        loop {
            let read = file.read(&mut chunk)?;
            let Some(bytes) = chunk.get(..read).filter(|it| !it.is_empty()) else {
                break;
            };
            writer.data(bytes)?;
        }
    }
    Ok(())
}
