//! Limits of the texts that callers give, with one sentence for each fault.

use crate::error::RequestRefusal;

/// Longest name or remark, in bytes.
pub(crate) const NAME_MAX_BYTES: usize = 255;

/// Longest URL, in bytes.
pub(crate) const URL_MAX_BYTES: usize = 512;

/// Longest free text, or data of a client or a backend, in bytes.
pub(crate) const TEXT_MAX_BYTES: usize = 1_024;

/// Refuses a text that is longer than `most` bytes.
pub(crate) fn text(field: &str, value: &str, most: usize) -> Result<(), RequestRefusal> {
    if value.len() <= most {
        return Ok(());
    }
    let is = value.len();
    Err(RequestRefusal::bad(format!(
        "{field} is {is} bytes; at most {most} are allowed"
    )))
}

/// As [`text`], for an optional text.
pub(crate) fn text_if(field: &str, value: Option<&str>, most: usize) -> Result<(), RequestRefusal> {
    value.map_or(Ok(()), |value| text(field, value, most))
}
