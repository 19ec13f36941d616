//! Errors of reading a stored message.

use gimlet_record::DecodeError;

/// Reasons that a stored message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordDecodeError {
    /// The first byte names a format that this version does not know.
    #[error(
        "a stored message has the format {0}, and this version of gimlet reads 1 and 2: run a version that knows it"
    )]
    Format(u8),
    /// The record is shorter or longer than its header says.
    #[error("a stored message has {found} bytes and should have {stated}")]
    Length {
        /// Length by its header.
        stated: usize,
        /// Actual length.
        found: usize,
    },
    /// A record of format 1, damaged.
    #[error("a stored message of format 1 cannot be read: {0}")]
    Legacy(&'static str),
    /// A record of format 2, damaged.
    #[error(transparent)]
    Record(#[from] DecodeError),
}
