//! The file service of this process, made of the configuration.

use std::sync::Arc;
use std::time::Duration;

use gimlet_core::auth::TokenChecker;
use gimlet_core::time::TimeSource;
use gimlet_listen::origins::AllowedOrigins;
use gimlet_web::api::ApiFiles;
use gimlet_web::files::{
    FileParts, FileRules, FileService, FileStorage, FileStore, S3Storage, UploadBounds,
    UploadFolder,
};
use gimlet_web::metrics::ServerMetrics;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ListenerName, NodeRole, StorageKind};
use crate::listeners::ListenAddrs;
use crate::start_error::StartError;

/// The files of this process.
#[derive(Clone, Debug)]
pub(crate) struct NodeFiles {
    store: FileStore,
    base: String,
    retention: Option<Duration>,
}

impl NodeFiles {
    /// Makes the files, if this process stores some: with a bucket every node does, and otherwise those with
    /// the role business, which have the folder.
    pub(crate) fn new(
        config: &Config,
        addrs: &ListenAddrs,
        clock: &Arc<dyn TimeSource>,
    ) -> Result<Option<Self>, StartError> {
        let bucket = config.bucket();
        if bucket.is_none() && !config.roles.has(NodeRole::Business) {
            return Ok(None);
        }
        let spool = match config.storage.kind {
            StorageKind::Memory => UploadFolder::temporary(),
            StorageKind::Sled | StorageKind::Mysql => UploadFolder::under(&config.data_dir),
        };
        let bucket = bucket.as_ref().map(S3Storage::new).transpose();
        let bucket = bucket.map_err(|error| StartError::Role(error.to_string()))?;
        let scanner = config.scanner();
        let scan = scanner.map(|it| it.open(&config.outbound_policy(), Arc::clone(clock)));
        let scan = scan.transpose();
        let parts = FileParts {
            spool,
            storage: bucket.map(|bucket| Arc::new(bucket) as Arc<dyn FileStorage>),
            scan: scan.map_err(|error| StartError::Role(error.to_string()))?,
        };
        let rules = FileRules {
            max: config.http.upload_max,
            anonymous: config.http.anonymous_upload || config.is_development(),
            bounds: upload_bounds(config),
            thumbnail_side: config.files.thumbnail_side,
        };
        Ok(Some(Self {
            store: FileStore::with_parts(parts, rules),
            base: base_url(config, addrs),
            retention: Some(config.files.retention).filter(|it| !it.is_zero()),
        }))
    }

    /// Returns gim's file service over these files, on a node that checks its uploads by `tokens`.
    pub(crate) fn service(
        files: Option<&Self>,
        config: &Config,
        tokens: Option<TokenChecker>,
    ) -> Option<FileService> {
        let (files, tokens) = files.zip(tokens)?;
        Some(FileService {
            store: files.store.clone(),
            tokens,
            forwarding: config.forwarding(),
            base: files.base.clone(),
            origins: AllowedOrigins::new(&config.http.origins, config.is_development()),
        })
    }

    /// Returns the files of the HTTP API.
    pub(crate) fn api(&self) -> ApiFiles {
        ApiFiles {
            store: self.store.clone(),
            base: self.base.clone(),
        }
    }

    /// Removes old files in each hour, until `stop`.
    pub(crate) async fn remove_regularly(
        self,
        clock: Arc<dyn TimeSource>,
        stop: CancellationToken,
    ) {
        let Self {
            store, retention, ..
        } = self;
        store.remove_regularly(retention, clock, stop).await;
    }

    /// Sets the metrics of files.
    pub(crate) fn scrape(&self, metrics: &ServerMetrics) {
        let counts = self.store.counts();
        metrics.counter("gimlet_files_stored_total", counts.stored);
        metrics.counter("gimlet_file_bytes_stored_total", counts.stored_bytes);
        metrics.counter("gimlet_files_refused_total", counts.refused);
        metrics.counter("gimlet_files_removed_total", counts.removed);
        for (verdict, count) in [
            ("clean", counts.clean),
            ("rejected", counts.rejected),
            ("none", counts.unscanned),
        ] {
            let label = ("verdict", verdict.to_owned());
            metrics.counter_of("gimlet_file_scans_total", label, count);
        }
    }
}

/// Computes the bounds of uploads: they always stop before sends do, whatever is configured.
fn upload_bounds(config: &Config) -> UploadBounds {
    let sends = match config.storage.kind {
        StorageKind::Sled => config.storage.min_free.saturating_mul(2),
        StorageKind::Memory | StorageKind::Mysql => 0,
    };
    UploadBounds {
        min_free: config.http.upload_min_free.max(sends),
        each: config.http.upload_quota,
    }
}

/// Returns the prefix of uploaded files' addresses.
fn base_url(config: &Config, addrs: &ListenAddrs) -> String {
    let scheme = if config.has_tls(ListenerName::Http) {
        "https"
    } else {
        "http"
    };
    let own = || {
        addrs
            .http
            .map(|addr| format!("{scheme}://{addr}"))
            .unwrap_or_default()
    };
    let base = config.http.public_url.clone().unwrap_or_else(own);
    base.trim_end_matches('/').to_owned()
}
