//! SIGHUP: reads the configuration again, applies the keys that can change while the server runs,
//! and logs which keys were applied and which need a restart.

use std::path::PathBuf;

use gimlet_server::Config;

use crate::{cli, logging};

/// The configuration in force, and its source.
#[derive(Debug)]
pub(crate) struct ConfigReloader {
    file: Option<PathBuf>,
    config: std::sync::Mutex<Config>,
    log: logging::LogFilterHandle,
}

impl ConfigReloader {
    /// Creates a reloader for a server that was started with this configuration.
    pub(crate) fn new(
        file: Option<PathBuf>,
        config: Config,
        log: logging::LogFilterHandle,
    ) -> Self {
        Self {
            file,
            config: std::sync::Mutex::new(config),
            log,
        }
    }

    /// Reads the layers again. A configuration with mistakes changes nothing.
    pub(crate) fn reload(&self) {
        let Some(file) = &self.file else {
            tracing::info!(
                "SIGHUP: nothing to read again, because the server was started without --config"
            );
            return;
        };
        let (new, _) = match Config::load(Some(file), cli::environment()) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!(%error, "SIGHUP: the configuration stays as it was");
                return;
            }
        };
        let mut config = self
            .config
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let changed = config.changed(&new);
        let waits: Vec<_> = changed
            .iter()
            .copied()
            .filter(|key| !["log.level", "log.sample"].contains(key))
            .collect();
        let mut now = Vec::new();
        if config.log.level != new.log.level {
            now.push(format!("log.level = {}", new.log.level));
        }
        if config.log.sample != new.log.sample {
            now.push(format!("log.sample = {}", new.log.sample));
        }
        if !now.is_empty() {
            // Logged before and after the change, because one of the two levels may hide the line.
            let line = now.join(", ");
            tracing::info!("SIGHUP: {line}");
            if let Err(error) = self.log.set(&new.log) {
                tracing::error!(%error, "SIGHUP: log.level stays as it was");
                return;
            }
            config.log.level.clone_from(&new.log.level);
            config.log.sample = new.log.sample;
            tracing::info!("SIGHUP: {line} is in force");
        }
        if !waits.is_empty() {
            tracing::warn!(
                keys = waits.join(", "),
                "SIGHUP: changed in {}, and read at the next start only",
                file.display()
            );
        }
        if changed.is_empty() {
            tracing::info!(
                "SIGHUP: {} was read again, nothing has changed",
                file.display()
            );
        }
    }
}
