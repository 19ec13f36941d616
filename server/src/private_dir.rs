//! Keeps the data directory private: it contains messages and phone numbers in clear text.

use std::io;
use std::path::Path;

/// Creates the directory for this user alone if it does not exist. One that others may enter is
/// closed to them, with everything in it, and the log says so. A directory that cannot be changed
/// (a volume of another user) is left as it is, with a warning.
#[cfg(unix)]
pub(crate) fn keep(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};

    let mode = match std::fs::metadata(dir) {
        // A path that is not a directory is refused by the code that uses it, with its own message.
        Ok(found) if !found.is_dir() => return Ok(()),
        Ok(found) => found.mode() & 0o7777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut builder = std::fs::DirBuilder::new();
            return builder.recursive(true).mode(DIRECTORY_MODE).create(dir);
        }
        Err(_) => return Ok(()),
    };
    if mode & OTHERS_MODE_BITS == 0 {
        // Others cannot enter the directory, whatever the modes of the files in it are.
        return Ok(());
    }
    let dir_shown = dir.display();
    match close(dir) {
        Ok(files) => tracing::warn!(
            files,
            "{dir_shown} was open to other users (mode {mode:o}); it and its files are closed to them \
             now (0700, 0600)"
        ),
        Err(error) => tracing::warn!(
            %error,
            "{dir_shown} is open to other users (mode {mode:o}) and cannot be closed to them; give it \
             to the user that gimlet runs as, with mode 0700"
        ),
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn keep(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The modes of private files, and the bits of other users.
#[cfg(unix)]
const DIRECTORY_MODE: u32 = 0o700;
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;
#[cfg(unix)]
const OTHERS_MODE_BITS: u32 = 0o077;

/// Closes a directory first, then everything in it; returns the number of files. In this order,
/// so that others cannot enter while the rest is being closed.
#[cfg(unix)]
fn close(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::PermissionsExt as _;

    let set =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    set(dir, DIRECTORY_MODE)?;
    let mut files = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // A link leads elsewhere, and the target is not gimlet's to change.
        if kind.is_dir() {
            files += close(&entry.path())?;
        } else if kind.is_file() {
            set(&entry.path(), FILE_MODE)?;
            files += 1;
        }
    }
    Ok(files)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_directory_is_made_for_one_user_and_an_open_one_is_closed() {
        let place = tempfile::tempdir().unwrap();
        let new = place.path().join("a/data");
        keep(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        let old = place.path().join("old");
        fs::create_dir_all(old.join("files")).unwrap();
        fs::write(old.join("db"), "x").unwrap();
        fs::write(old.join("files/f"), "x").unwrap();
        for (path, open) in [
            ("", 0o755),
            ("files", 0o755),
            ("db", 0o644),
            ("files/f", 0o664),
        ] {
            fs::set_permissions(old.join(path), fs::Permissions::from_mode(open)).unwrap();
        }
        keep(&old).unwrap();
        for (path, closed) in [
            ("", 0o700),
            ("files", 0o700),
            ("db", 0o600),
            ("files/f", 0o600),
        ] {
            assert_eq!(mode(&old.join(path)), closed, "{path}");
        }
        keep(&old.join("db")).unwrap();
        assert_eq!(mode(&old.join("db")), 0o600, "no directory, no matter");
    }
}
