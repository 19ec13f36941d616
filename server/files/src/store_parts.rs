//! The parts of the service that uploads and downloads share.

use std::sync::Arc;

use crate::counts::FileCounters;
use crate::direct::PendingName;
use crate::pictures::PictureInspector;
use crate::scan::ScanPolicy;
use crate::storage::FileStorage;
use crate::upload_folder::UploadFolder;

/// The parts of the service that an upload needs.
#[derive(Debug)]
pub(crate) struct StoreParts {
    /// Folder of files that are being received.
    pub(crate) spool: Arc<UploadFolder>,
    /// Place of stored files.
    pub(crate) storage: Arc<dyn FileStorage>,
    pub(crate) pictures: PictureInspector,
    pub(crate) scan: Option<ScanPolicy>,
    pub(crate) counters: FileCounters,
}

/// The places and programs that a [`FileStore`](crate::FileStore) uses.
#[derive(Debug)]
pub struct FileParts {
    /// Folder of files that are being received.
    pub spool: UploadFolder,
    /// Place of stored files; `None` is the same folder.
    pub storage: Option<Arc<dyn FileStorage>>,
    /// The question to a scanner.
    pub scan: Option<ScanPolicy>,
}

impl StoreParts {
    pub(crate) fn new(parts: FileParts, thumbnail_side: u32) -> Self {
        let spool = Arc::new(parts.spool);
        let folder = || Arc::clone(&spool) as Arc<dyn FileStorage>;
        Self {
            storage: parts.storage.unwrap_or_else(folder),
            spool,
            pictures: PictureInspector::new(thumbnail_side),
            scan: parts.scan,
            counters: FileCounters::default(),
        }
    }

    /// Removes what a client has sent to the storage itself.
    pub(crate) async fn discard(&self, sent: &PendingName) {
        if let Some(direct) = self.storage.direct_uploads()
            && let Err(error) = direct.discard(sent).await
        {
            tracing::debug!(%error, "a completed upload stays behind for an hour");
        }
    }

    /// Makes the parts over a folder, which holds both kinds of files.
    #[cfg(test)]
    pub(crate) fn of_folder(spool: UploadFolder, thumbnail_side: u32) -> Self {
        let parts = FileParts {
            spool,
            storage: None,
            scan: None,
        };
        Self::new(parts, thumbnail_side)
    }
}
