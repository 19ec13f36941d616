//! Fields of a stored message that a newer release wrote and this one does not know.

use std::fmt;

/// Encoded fields that this release does not know. They are carried from the record that a message
/// was read from to every record that it is written to. Opaque to the server, never printed.
///
/// During a rolling upgrade, a node of the older release passes on messages of the newer one;
/// without these bytes it would strip the newer release's fields. The type has the size of two
/// machine words and allocates nothing while it is empty.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct UnknownFields(Option<Box<[u8]>>);

impl UnknownFields {
    /// No unknown fields.
    pub const NONE: Self = Self(None);

    /// Copies the encoded fields.
    #[must_use]
    pub fn copied_from(encoded: &[u8]) -> Self {
        Self((!encoded.is_empty()).then(|| encoded.into()))
    }

    /// Returns the encoded fields.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for UnknownFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnknownFields({} B)", self.as_bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_unknown_fields_cost_two_words_and_their_bytes_are_never_printed() {
        assert_eq!(size_of::<UnknownFields>(), 2 * size_of::<usize>());
        assert_eq!(UnknownFields::copied_from(&[]), UnknownFields::NONE);
        let fields = UnknownFields::copied_from(b"secret");
        assert_eq!(fields.as_bytes(), b"secret");
        assert_eq!(format!("{fields:?}"), "UnknownFields(6 B)");
    }
}
