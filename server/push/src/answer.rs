//! Answers of push services: what all of them have in common.

use std::time::Duration;

use gimlet_outbound::OutboundResponse;
use http::{HeaderMap, header};

use crate::sender::SendOutcome;

/// Largest number of characters of an answer's body in an error.
const MAX_SHOWN_CHARS: usize = 200;

/// Describes an answer that is not a success: its status, and the beginning of its body.
pub(crate) fn describe(answer: &OutboundResponse) -> String {
    let body = String::from_utf8_lossy(&answer.body);
    let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let visible = line.chars().filter(|letter| !letter.is_control());
    let shown: String = visible.take(MAX_SHOWN_CHARS).collect();
    let status = answer.status.as_u16();
    if shown.is_empty() {
        format!("the push service answered {status}")
    } else {
        format!("the push service answered {status}: {shown}")
    }
}

/// Returns the time to wait in seconds that an answer names.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Makes the failure that an answer tells of.
pub(crate) fn failure(answer: &OutboundResponse) -> SendOutcome {
    SendOutcome::Failed {
        error: describe(answer),
        retry_after: retry_after(&answer.headers),
    }
}
