//! The forms in which connections get the same messages.

/// The form of the frames of a connection. It never decides what is delivered, only how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameForm {
    /// gim's protobuf, for clients of gim.
    Legacy,
    /// gim's protobuf with our additive fields.
    Extension,
    /// JSON text.
    Json,
}

impl FrameForm {
    /// Number of forms.
    pub(crate) const COUNT: usize = 3;

    /// Returns whether the client knows what gimlet adds to gim's protocol.
    #[must_use]
    pub const fn is_extended(self) -> bool {
        !matches!(self, Self::Legacy)
    }
}
