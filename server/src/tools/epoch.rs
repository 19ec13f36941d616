//! `gimlet new-epoch`.

use gimlet_core::id::Epoch;

use super::{ToolError, kind};
use crate::config::{Config, StorageKind};

/// Ends the history of the configured storage; returns the old epoch and the new one. Running nodes
/// notice it by themselves.
pub fn new_epoch(config: &Config) -> Result<(Epoch, Epoch), ToolError> {
    match config.storage.kind {
        #[cfg(all(unix, feature = "sled"))]
        StorageKind::Sled => sled(config),
        #[cfg(feature = "mysql")]
        StorageKind::Mysql => {
            let runtime = tokio::runtime::Runtime::new().map_err(ToolError::io("cannot start"))?;
            runtime.block_on(mysql(config))
        }
        other => Err(ToolError::Kind(format!(
            "storage.kind = \"{}\" begins a new history at each start of the process: restart it",
            kind(other)
        ))),
    }
}

#[cfg(all(unix, feature = "sled"))]
fn sled(config: &Config) -> Result<(Epoch, Epoch), ToolError> {
    use std::sync::Arc;

    use gimlet_core::time::SystemClock;
    use gimlet_storage_sled::BackupError;

    use crate::control;

    let dir = &config.data_dir;
    let asking = || {
        ToolError::io(format!(
            "cannot reach the gimlet that has {} open",
            dir.display()
        ))
    };
    if let Some(mut stream) = control::connect(dir).map_err(asking())? {
        let answer = control::ask(&mut stream, "new-epoch").map_err(asking())?;
        let answer = answer.map_err(ToolError::Refused)?;
        let mut epochs = answer.split(' ').map(|it| it.parse().map(Epoch));
        return match (epochs.next(), epochs.next()) {
            (Some(Ok(old)), Some(Ok(new))) => Ok((old, new)),
            _ => Err(ToolError::Refused(format!("it answered {answer:?}"))),
        };
    }
    if !dir.is_dir() {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        let what = format!("there is no data directory {}", dir.display());
        return Err(ToolError::io(what)(error));
    }
    let settings = crate::storage::sled_config(config);
    // This also opens a directory that lacks changes, which a server refuses to open.
    let drawn = gimlet_storage_sled::new_epoch(&settings, Arc::new(SystemClock));
    Ok(drawn.map_err(BackupError::from)?)
}

#[cfg(feature = "mysql")]
async fn mysql(config: &Config) -> Result<(Epoch, Epoch), ToolError> {
    use std::sync::Arc;

    use gimlet_core::time::SystemClock;

    let settings = crate::storage::mysql_config(config);
    let lasting = gimlet_storage_mysql::open_lasting(&settings, Arc::new(SystemClock)).await?;
    let seq = lasting.seq();
    let old = seq.epoch().await?;
    let new = seq.new_epoch(old).await?;
    lasting.close().await;
    Ok((old, new))
}
