//! Reasons that a record cannot be read.

/// Reasons that bytes are not a record of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field is longer than the bytes that are left.
    #[error("the message record ends inside a field")]
    Truncated,
    /// The key of a field, or a number, is not protobuf's encoding.
    #[error("the message record has a field that is not encoded as protobuf")]
    Malformed,
    /// A known field has the encoding of another type.
    #[error("field {0} of the message record has the encoding of another type")]
    WrongType(&'static str),
    /// A required field is missing.
    #[error("field {0} of the message record is missing")]
    Missing(&'static str),
    /// A value that this field cannot have.
    #[error("field {0} of the message record is out of range")]
    OutOfRange(&'static str),
    /// A text that is not one.
    #[error("field {0} of the message record is not UTF-8")]
    NotUtf8(&'static str),
}

impl DecodeError {
    /// Returns the field that could not be read, or "message record" where that is not known.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Truncated | Self::Malformed => "message record",
            Self::WrongType(field)
            | Self::Missing(field)
            | Self::OutOfRange(field)
            | Self::NotUtf8(field) => field,
        }
    }
}
