//! Range requests (RFC 9110, section 14): a pure function of two headers.
//!
//! Audio and video players request parts of a file; Apple's play nothing without them. A file never
//! changes under its name, so its name is its validator.

/// The part of a file that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangePart {
    /// The whole file: no part is requested, or one that a single part cannot answer.
    Whole,
    /// The bytes from the first to the last, both included.
    Bytes(u64, u64),
    /// A range that the file does not have.
    Nothing,
}

/// Returns the validator of a stored file.
pub(crate) fn etag(name: &str) -> String {
    format!("\"{name}\"")
}

/// Returns whether one of the validators of an `If-None-Match` header is the file's.
pub(crate) fn is_known(if_none_match: &str, etag: &str) -> bool {
    let mut validators = if_none_match.split(',').map(str::trim);
    validators.any(|it| it == "*" || it.strip_prefix("W/").unwrap_or(it) == etag)
}

/// Returns the part that a `Range` header requests, unless an `If-Range` header names another file.
pub(crate) fn part(
    range: Option<&str>,
    if_range: Option<&str>,
    etag: &str,
    length: u64,
) -> RangePart {
    let bytes = range.and_then(|range| range.trim().strip_prefix("bytes="));
    let (Some(bytes), true) = (bytes, if_range.is_none_or(|it| it.trim() == etag)) else {
        return RangePart::Whole;
    };
    // Several ranges may be answered by the whole file, and an invalid range must be.
    match bytes.trim().split_once('-') {
        Some((first, last)) => {
            one_part(first.trim(), last.trim(), length).unwrap_or(RangePart::Whole)
        }
        None => RangePart::Whole,
    }
}

/// Parses `first-last`, `first-` or `-length`; `None` if it is invalid.
fn one_part(first: &str, last: &str, length: u64) -> Option<RangePart> {
    if first.is_empty() {
        let wanted: u64 = number(last)?;
        return Some(if wanted == 0 || length == 0 {
            RangePart::Nothing
        } else {
            RangePart::Bytes(length.saturating_sub(wanted), length - 1)
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if last < first {
        return None;
    }
    Some(if first < length {
        RangePart::Bytes(first, last.min(length - 1))
    } else {
        RangePart::Nothing
    })
}

fn number(text: &str) -> Option<u64> {
    // `parse` accepts a sign, which a range must not have.
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str, length: u64) -> RangePart {
        part(Some(range), None, "\"a\"", length)
    }

    #[test]
    fn one_range_is_answered_by_its_bytes() {
        assert_eq!(of("bytes=0-1", 10), RangePart::Bytes(0, 1));
        assert_eq!(of("bytes=4-", 10), RangePart::Bytes(4, 9));
        assert_eq!(of("bytes=-3", 10), RangePart::Bytes(7, 9));
        assert_eq!(of("bytes=-30", 10), RangePart::Bytes(0, 9));
        assert_eq!(
            of("bytes=9-99999999999999999999999", 10),
            RangePart::Bytes(9, 9)
        );
    }

    #[test]
    fn beyond_the_end_there_is_nothing() {
        for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(of(range, 10), RangePart::Nothing, "{range}");
        }
        assert_eq!(of("bytes=0-", 0), RangePart::Nothing);
    }

    #[test]
    fn the_rest_is_answered_by_the_whole() {
        for range in [
            "bytes=0-1,4-5",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=",
            "lines=1-2",
            "bytes=--1",
        ] {
            assert_eq!(of(range, 10), RangePart::Whole, "{range}");
        }
        assert_eq!(part(None, None, "\"a\"", 10), RangePart::Whole);
        assert_eq!(
            part(Some("bytes=0-1"), Some("\"b\""), "\"a\"", 10),
            RangePart::Whole
        );
        assert_eq!(
            part(Some("bytes=0-1"), Some("\"a\""), "\"a\"", 10),
            RangePart::Bytes(0, 1)
        );
    }

    #[test]
    fn a_validator_is_known_in_any_form() {
        for header in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "*"] {
            assert!(is_known(header, "\"a\""), "{header}");
        }
        assert!(!is_known("\"b\"", "\"a\""));
    }
}
