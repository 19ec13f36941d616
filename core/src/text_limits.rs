//! Limits of the texts that callers give, with one sentence for each fault.

use crate::error::RequestRefusal;

/// Longest name or remark, in bytes.
pub(crate) const NAME_MAX_BYTES: usize = 255;

/// Longest URL, in bytes.
pub(crate) const URL_MAX_BYTES: usize = 512;

/// Longest free text, or data of a client or a backend, in bytes.
pub(crate) const TEXT_MAX_BYTES: usize = 1_024;

/// Refuses a text that is longer than `max` bytes.
pub(crate) fn text(field: &str, value: &str, max: usize) -> Result<(), RequestRefusal> {
    if value.len() <= max {
        return Ok(());
    }
    let is = value.len();
    Err(RequestRefusal::bad(format!(
        "{field} is {is} bytes; at most {max} are allowed"
    )))
}

/// Refuses a name that is longer than [`NAME_MAX_BYTES`], or that has characters which show something
/// else than they are: control characters, and those that reverse the direction of the text after them.
pub(crate) fn name(field: &str, value: &str) -> Result<(), RequestRefusal> {
    text(field, value, NAME_MAX_BYTES)?;
    let is_hidden =
        |c: &char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match value.chars().find(is_hidden) {
        Some(found) => Err(RequestRefusal::bad(format!(
            "{field} contains the character U+{:04X}; control characters and changes of direction are \
             not allowed",
            u32::from(found)
        ))),
        None => Ok(()),
    }
}

/// As [`name`], for an optional name.
pub(crate) fn name_if(field: &str, value: Option<&str>) -> Result<(), RequestRefusal> {
    value.map_or(Ok(()), |value| name(field, value))
}

/// As [`text`], for an optional text.
pub(crate) fn text_if(field: &str, value: Option<&str>, max: usize) -> Result<(), RequestRefusal> {
    value.map_or(Ok(()), |value| text(field, value, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_what_it_is() {
        for right in ["", "Ann", "李雷", "مريم", "👩‍🚀", "O'Neil \u{200f}"] {
            assert_eq!(name("nickname", right), Ok(()), "{right:?}");
        }
        for (wrong, shown) in [
            ("a\0b", "U+0000"),
            ("a\nb", "U+000A"),
            ("a\u{202e}b", "U+202E"),
            ("\u{2066}", "U+2066"),
            ("\u{85}", "U+0085"),
        ] {
            let refusal = name("nickname", wrong).unwrap_err().to_string();
            assert!(refusal.starts_with("nickname contains"), "{refusal}");
            assert!(refusal.contains(shown), "{refusal}");
        }
        assert!(name("nickname", &"x".repeat(256)).is_err());
    }
}
