//! `gimlet verify`.

use std::path::Path;

use gimlet_core::verify::VerifyReport;

use super::{ProgressCallback, ToolError, ToolProgress, kind};
use crate::config::{Config, StorageKind};

/// Reads the configured storage, or a backup of the embedded one, and checks every law that can be
/// checked at rest.
pub fn verify(
    config: &Config,
    backup: Option<&Path>,
    step: ProgressCallback<'_>,
) -> Result<VerifyReport, ToolError> {
    #[cfg(all(unix, feature = "sled"))]
    if let Some(file) = backup {
        return sled_backup(config, file, step);
    }
    #[cfg(not(all(unix, feature = "sled")))]
    let _ = backup;
    match config.storage.kind {
        #[cfg(all(unix, feature = "sled"))]
        StorageKind::Sled => sled(config, step),
        #[cfg(feature = "mysql")]
        StorageKind::Mysql => {
            let runtime = tokio::runtime::Runtime::new().map_err(ToolError::io("cannot start"))?;
            let settings = crate::storage::mysql_config(config);
            let each = |at, of| {
                // These queries are short, so a cancellation is ignored.
                let _ = step(ToolProgress::Question(at, of));
            };
            Ok(runtime.block_on(gimlet_storage_mysql::verify(&settings, each))?)
        }
        other => Err(ToolError::Kind(format!(
            "storage.kind = \"{}\" keeps nothing that could be checked",
            kind(other)
        ))),
    }
}

#[cfg(all(unix, feature = "sled"))]
fn sled(config: &Config, step: ProgressCallback<'_>) -> Result<VerifyReport, ToolError> {
    let dir = &config.data_dir;
    if !dir.is_dir() {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        let what = format!("there is no data directory {}", dir.display());
        return Err(ToolError::io(what)(error));
    }
    let asking = ToolError::io(format!("cannot check whether {} is in use", dir.display()));
    if crate::control::connect(dir).map_err(asking)?.is_some() {
        return Err(ToolError::Kind(format!(
            "{} is in use: check a backup of it (gimlet backup FILE, then gimlet verify FILE), or stop \
             gimlet first",
            dir.display()
        )));
    }
    let settings = crate::storage::sled_config(config);
    let each = |rows| step(ToolProgress::Rows(rows));
    Ok(gimlet_storage_sled::verify(&settings, each)?)
}

/// Checks a backup: it is restored beside its file, and removed again.
#[cfg(all(unix, feature = "sled"))]
fn sled_backup(
    config: &Config,
    file: &Path,
    step: ProgressCallback<'_>,
) -> Result<VerifyReport, ToolError> {
    let beside = file.parent().filter(|it| !it.as_os_str().is_empty());
    let place = tempfile::Builder::new()
        .prefix(".gimlet-verify-")
        .tempdir_in(beside.unwrap_or_else(|| Path::new(".")))
        .map_err(ToolError::io("cannot make a directory beside the backup"))?;
    let config = Config {
        data_dir: place.path().join("data"),
        ..config.clone()
    };
    super::backup::restore_to(&config, file, step)?;
    sled(&config, step)
}
