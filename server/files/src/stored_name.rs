//! Names of stored files, which the server makes.

use std::fmt;

use rand::RngExt as _;

use crate::file_kind::{self, FileKind};

/// Letters and digits of a stored file's name.
const STEM_LEN: usize = 32;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// End of a thumbnail's stem.
const THUMBNAIL_SUFFIX: &str = "-thumbnail";

/// The name of a stored file: 160 random bits and the extension of its kind. Anyone who knows the name
/// may read the file, so it must not be guessable.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredName {
    text: String,
    kind: FileKind,
}

impl fmt::Debug for StoredName {
    /// Shows the beginning only: a name that is logged would let others read the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.text.chars().take(4).collect();
        write!(f, "{shown}….{}", self.kind.extension)
    }
}

impl fmt::Display for StoredName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StoredName {
    /// Makes a name for a file of this kind.
    #[must_use]
    pub fn random(kind: FileKind) -> Self {
        let text = format!("{}.{}", random_stem(), kind.extension);
        Self { text, kind }
    }

    /// Reads a name; `None` if the server did not make it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, extension) = text.split_once('.')?;
        let stem = stem.strip_suffix(THUMBNAIL_SUFFIX).unwrap_or(stem);
        let kind = file_kind::of_extension(extension).filter(|_| is_stem(stem))?;
        let text = text.to_owned();
        Some(Self { text, kind })
    }

    /// Returns the name of the file's thumbnail.
    #[must_use]
    pub fn thumbnail(&self, kind: FileKind) -> Self {
        let stem = self.text.split('.').next().unwrap_or_default();
        let text = format!("{stem}{THUMBNAIL_SUFFIX}.{}", kind.extension);
        Self { text, kind }
    }

    /// Returns the text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the kind of the file.
    #[must_use]
    pub const fn kind(&self) -> FileKind {
        self.kind
    }
}

/// Returns 160 random bits as letters and digits.
pub(crate) fn random_stem() -> String {
    let mut rng = rand::rng();
    (0..STEM_LEN)
        .filter_map(|_| ALPHABET.get(rng.random_range(0..ALPHABET.len())))
        .map(|&letter| char::from(letter))
        .collect()
}

/// Returns `true` for a text that [`random_stem`] may have made.
pub(crate) fn is_stem(stem: &str) -> bool {
    stem.len() == STEM_LEN && stem.bytes().all(|b| ALPHABET.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_this_server_made_are_read() {
        let png = file_kind::of_extension("png").unwrap();
        let jpg = file_kind::of_extension("jpg").unwrap();
        let name = StoredName::random(png);
        assert_eq!(StoredName::parse(name.as_str()), Some(name.clone()));
        let thumbnail = name.thumbnail(jpg);
        assert_eq!(thumbnail.kind().mime, "image/jpeg");
        assert_eq!(StoredName::parse(thumbnail.as_str()), Some(thumbnail));
        let stem = random_stem();
        for wrong in [
            "../secret.png".to_owned(),
            "secret.png".to_owned(),
            format!("{stem}.html"),
            stem.clone(),
            format!("{stem}-thumb.png"),
            format!("-thumbnail{stem}.png"),
            format!("{stem}-thumbnail-thumbnail.png"),
            format!("{stem}/.png"),
            format!(".{stem}"),
            String::new(),
        ] {
            assert_eq!(StoredName::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_is_not_logged() {
        let name = StoredName::random(file_kind::of_extension("png").unwrap());
        assert!(format!("{name:?}").len() < 16);
    }
}
