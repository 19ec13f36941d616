//! Reasons an upload or download is refused, in words for the client.

use std::io;

use crate::quota::UploadLimitExceeded;

/// Reasons an upload or download is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileRefusal {
    /// Only signed-in users may upload.
    #[error("uploads need a sign-in")]
    SignInRequired,
    /// The file is larger than this many bytes.
    #[error("the file is larger than {0} bytes; send a smaller one")]
    TooLarge(u64),
    /// The file has no content.
    #[error("the file is empty; send one with content")]
    Empty,
    /// The client sent another number of bytes to the storage than it had announced.
    #[error(
        "the file has {sent} bytes, and {announced} were announced; get another URL with the size of \
         the file"
    )]
    OtherLength {
        /// The length of the file.
        sent: u64,
        /// The announced length.
        announced: u64,
    },
    /// The kind of the file is unknown, or one that a browser would run.
    #[error("this kind of file is not accepted; send an image, audio, video or a common document")]
    Unsupported,
    /// The user's quota or the disk has no room.
    #[error(transparent)]
    Exceeded(#[from] UploadLimitExceeded),
    /// Too many uploads are in progress.
    #[error("too many uploads in progress; try again in a few seconds")]
    Busy,
    /// The upload was not complete in time.
    #[error("the upload took too long; send it again")]
    TooSlow,
    /// The operator's scanner refused the file, with this reason.
    #[error("{0}")]
    Rejected(String),
    /// The scanner gave no verdict.
    #[error("the file could not be checked; try again in a few seconds")]
    Unscanned,
    /// The storage takes no files from clients.
    #[error("this server takes files itself; send the file to POST /v1/files")]
    NoDirectUploads,
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The disk has failed.
    #[error("the file could not be stored")]
    Failed,
}

impl FileRefusal {
    /// Returns whether the same file is always refused.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::TooLarge(_)
                | Self::Empty
                | Self::OtherLength { .. }
                | Self::Unsupported
                | Self::Rejected(_)
        )
    }

    /// Logs an error of the disk, which is not for the client to read.
    pub(crate) fn of_disk(error: &io::Error) -> Self {
        gimlet_core::error_rated!(%error, "file storage failed");
        if error.kind() == io::ErrorKind::StorageFull {
            Self::DiskFull
        } else {
            Self::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let refusal = |kind| FileRefusal::of_disk(&io::Error::from(kind)).to_string();
        assert_eq!(refusal(io::ErrorKind::StorageFull), "the disk is full");
        assert_eq!(
            refusal(io::ErrorKind::PermissionDenied),
            "the file could not be stored"
        );
    }
}
