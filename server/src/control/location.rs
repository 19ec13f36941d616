//! Location of the control socket: a private folder outside the data directory.
//!
//! A socket that a killed server leaves behind must not be in the data directory, because tools
//! that copy a directory fail on it. The folder's name identifies the data directory by device and
//! inode, so a tool that works on a copy never reaches the server of the original. The file
//! `CONTROL` in the data directory names the folder, for tools whose environment differs from the
//! server's.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Name of the socket in its folder, and of the socket that earlier versions made in the data
/// directory.
pub(super) const SOCKET_NAME: &str = "control.sock";
/// File in the data directory that names the socket's folder.
const POINTER: &str = "CONTROL";
/// Mode of the socket's folder, and the bits of other users.
const PRIVATE: u32 = 0o700;
const OTHERS: u32 = 0o077;

/// Returns the directories that may hold the socket's folder, best first: systemd's runtime
/// directory of the service, the user's runtime directory, the directory for temporary files.
pub(super) fn runtime_dirs() -> Vec<PathBuf> {
    // The variable is a list, because a unit may have several runtime directories.
    let service = std::env::var_os("RUNTIME_DIRECTORY");
    let service = service.and_then(|list| std::env::split_paths(&list).next());
    let user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let dirs = [service, user, Some(std::env::temp_dir())];
    let dirs = dirs.into_iter().flatten();
    dirs.filter(|dir| dir.is_absolute()).collect()
}

/// Creates the private folder for the socket of this data directory, in the first of the runtime
/// directories that permits it, and names it in the data directory. Sockets of earlier runs are
/// removed: the caller holds the directory's lock, so their servers are gone.
pub(super) fn create(data: &Path, runtime_dirs: &[PathBuf]) -> io::Result<PathBuf> {
    let name = folder_name(&fs::metadata(data)?);
    remove_former(data, &name);
    let mut failures = Vec::new();
    for dir in runtime_dirs {
        let folder = dir.join(&name);
        match make_private(&folder) {
            Ok(()) => {
                name_folder(data, &folder);
                return Ok(folder);
            }
            Err(error) => failures.push(format!("{}: {error}", folder.display())),
        }
    }
    Err(io::Error::other(format!(
        "cannot create a private folder for the control socket ({}); set XDG_RUNTIME_DIR to a directory \
         that gimlet may write to",
        failures.join("; ")
    )))
}

/// Returns the folders in which a server of this data directory may listen.
pub(super) fn candidates(data: &Path, runtime_dirs: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let found = match fs::metadata(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let name = folder_name(&found);
    // The server's own word first: its environment may differ from the tool's.
    let mut folders: Vec<PathBuf> = named_folder(data, &name).into_iter().collect();
    folders.extend(runtime_dirs.iter().map(|dir| dir.join(&name)));
    // Another user may have made a folder of this name in a directory that all may write to, with a
    // socket that answers whatever it likes.
    folders.retain(|folder| {
        let own = rustix::process::geteuid().as_raw();
        let made_by = |it: Metadata| it.is_dir() && (it.uid() == own || it.uid() == found.uid());
        fs::symlink_metadata(folder).is_ok_and(made_by)
    });
    Ok(folders)
}

/// Removes the socket and its folder.
pub(super) fn remove(folder: &Path) {
    // A socket that stays behind is harmless: no process listens on it, and the next run replaces
    // it.
    let _ = fs::remove_file(folder.join(SOCKET_NAME));
    let _ = fs::remove_dir(folder);
}

/// Returns the name of the folder, which no other data directory of this machine has.
fn folder_name(data: &Metadata) -> String {
    format!("gimlet-{:x}-{:x}", data.dev(), data.ino())
}

/// Returns the folder that the data directory names; `None` if it names none, or if the directory
/// is a copy and names the folder of the original.
fn named_folder(data: &Path, name: &str) -> Option<PathBuf> {
    let text = fs::read(data.join(POINTER)).ok()?;
    let folder = PathBuf::from(OsStr::from_bytes(text.strip_suffix(b"\n")?));
    let is_own = folder.file_name() == Some(OsStr::new(name));
    is_own.then_some(folder)
}

/// Names the folder in the data directory, unless it is named already.
fn name_folder(data: &Path, folder: &Path) {
    let text = [folder.as_os_str().as_bytes(), b"\n"].concat();
    let file = data.join(POINTER);
    if fs::read(&file).is_ok_and(|found| found == text) {
        return;
    }
    if let Err(error) = fs::write(&file, text) {
        // On a full disk, for example. Tools with the same environment find the folder all the
        // same.
        tracing::debug!(%error, "control folder not named in the data directory");
    }
}

/// Removes what earlier runs left: the socket that earlier versions made in the data directory, and
/// the folder that the data directory names.
fn remove_former(data: &Path, name: &str) {
    let former = data.join(SOCKET_NAME);
    if fs::symlink_metadata(&former).is_ok_and(|it| it.file_type().is_socket()) {
        let _ = fs::remove_file(former);
    }
    if let Some(folder) = named_folder(data, name) {
        remove(&folder);
    }
}

/// Makes a folder that only this user may enter, or checks that it is one, and removes the socket
/// in it.
fn make_private(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(PRIVATE).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    // A link could lead anywhere, and a folder of another user is not private.
    let found = fs::symlink_metadata(folder)?;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_dir() || !is_own || found.mode() & OTHERS != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "exists and is not a directory that only this user may enter; remove it",
        ));
    }
    match fs::remove_file(folder.join(SOCKET_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A data directory and two runtime directories.
    struct TestDirs {
        _place: tempfile::TempDir,
        data: PathBuf,
        runtime: Vec<PathBuf>,
    }

    fn dirs() -> TestDirs {
        let place = tempfile::tempdir().unwrap();
        let made = ["data", "first", "second"].map(|name| place.path().join(name));
        for dir in &made {
            fs::create_dir(dir).unwrap();
        }
        let [data, runtime @ ..] = made;
        TestDirs {
            _place: place,
            data,
            runtime: runtime.to_vec(),
        }
    }

    #[test]
    fn a_tool_finds_the_folder_whatever_its_environment_is() {
        let it = dirs();
        let folder = create(&it.data, &it.runtime).unwrap();
        assert!(folder.starts_with(&it.runtime[0]));
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, PRIVATE);
        let found = std::slice::from_ref(&folder);
        assert_eq!(candidates(&it.data, &[]).unwrap(), found);
        // The name in the data directory may be missing, because the disk was full.
        fs::remove_file(it.data.join(POINTER)).unwrap();
        assert_eq!(candidates(&it.data, &it.runtime).unwrap(), found);
        remove(&folder);
        assert!(candidates(&it.data, &it.runtime).unwrap().is_empty());
        assert!(
            candidates(&it.data.join("none"), &it.runtime)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_copy_of_the_data_directory_leads_to_no_server() {
        let it = dirs();
        create(&it.data, &it.runtime).unwrap();
        let copy = it.data.with_file_name("copy");
        fs::create_dir(&copy).unwrap();
        fs::copy(it.data.join(POINTER), copy.join(POINTER)).unwrap();
        assert!(candidates(&copy, &it.runtime).unwrap().is_empty());
        // The start of a server on the copy leaves the original's socket alone.
        let own = create(&it.data, &it.runtime).unwrap();
        let _listening = UnixListener::bind(own.join(SOCKET_NAME)).unwrap();
        assert_ne!(create(&copy, &it.runtime).unwrap(), own);
        assert!(own.join(SOCKET_NAME).exists());
    }

    #[test]
    fn sockets_of_killed_servers_are_removed() {
        let it = dirs();
        let former = create(&it.data, &it.runtime[1..]).unwrap();
        // The sockets stay when their listeners are gone.
        drop(UnixListener::bind(former.join(SOCKET_NAME)).unwrap());
        drop(UnixListener::bind(it.data.join(SOCKET_NAME)).unwrap());
        let folder = create(&it.data, &it.runtime).unwrap();
        assert!(folder.starts_with(&it.runtime[0]));
        assert!(!former.exists() && !it.data.join(SOCKET_NAME).exists());
        drop(UnixListener::bind(folder.join(SOCKET_NAME)).unwrap());
        assert_eq!(create(&it.data, &it.runtime).unwrap(), folder);
        assert!(!folder.join(SOCKET_NAME).exists());
    }

    #[test]
    fn a_folder_that_others_may_enter_is_not_used() {
        let it = dirs();
        let name = folder_name(&fs::metadata(&it.data).unwrap());
        let open = it.runtime[0].join(&name);
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = create(&it.data, &it.runtime).unwrap();
        assert!(folder.starts_with(&it.runtime[1]), "the next one is used");
        remove(&folder);
        symlink(&open, &folder).unwrap();
        let refused = create(&it.data, &it.runtime).unwrap_err().to_string();
        assert!(refused.contains("only this user may enter"), "{refused}");
        assert!(refused.contains("set XDG_RUNTIME_DIR"), "{refused}");
    }
}
