//! Dimensions and thumbnails of uploaded pictures.

use std::path::Path;
use std::sync::Arc;

use gimlet_images::{InspectedPicture, PictureFormat};
use tokio::sync::Semaphore;

use crate::file_kind::FileKind;

/// Largest number of pictures that are decoded at a time: each takes up to 200 MB, and one
/// processor.
const MAX_CONCURRENT_PICTURES: usize = 2;

/// Inspects pictures, a bounded number at a time.
#[derive(Clone, Debug)]
pub(crate) struct PictureInspector {
    /// Longest side of a thumbnail in pixels; 0 inspects nothing.
    side: u32,
    permits: Arc<Semaphore>,
}

impl PictureInspector {
    pub(crate) fn new(side: u32) -> Self {
        Self {
            side,
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_PICTURES)),
        }
    }

    /// Inspects a file; `None` if it is not a picture that can be shown. The file may be stored
    /// nevertheless.
    pub(crate) async fn inspect(&self, path: &Path, kind: FileKind) -> Option<InspectedPicture> {
        let side = self.side;
        let format = PictureFormat::of_media_type(kind.mime).filter(|_| side > 0)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let path = path.to_owned();
        let inspected = tokio::task::spawn_blocking(move || {
            // The thread goes on if the upload is given up, and so does its permit.
            let _permit = permit;
            gimlet_images::inspect(&path, format, side)
        });
        match inspected.await {
            Ok(Ok(picture)) => Some(picture),
            Ok(Err(error)) => {
                tracing::debug!(%error, kind = kind.extension, "picture not shown");
                None
            }
            // A defect of a decoder costs the thumbnail, not the upload.
            Err(error) => {
                gimlet_core::warn_rated!(%error, kind = kind.extension, "decoding a picture panicked");
                None
            }
        }
    }
}
