//! The parts of the service that uploads and downloads share.

use std::sync::Arc;

use crate::pictures::PictureInspector;
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
}

impl StoreParts {
    /// Makes the parts over a folder, which holds both kinds of files.
    pub(crate) fn of_folder(folder: UploadFolder, thumbnail_side: u32) -> Self {
        let folder = Arc::new(folder);
        Self {
            spool: Arc::clone(&folder),
            storage: folder,
            pictures: PictureInspector::new(thumbnail_side),
        }
    }
}
