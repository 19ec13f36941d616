//! Meanings of answers.

use std::time::Duration;

use gimlet_core::hook_delivery::DeliveryOutcome;
use gimlet_outbound::{OutboundError, OutboundResponse};
use http::{HeaderMap, StatusCode, header};

use crate::client::failure_text;

/// Largest number of characters of an answer's body in an error.
const MAX_SHOWN_CHARS: usize = 200;
/// Pause after 410: the program says that the address is gone for good.
const GONE_PAUSE: Duration = Duration::from_mins(10);

/// Returns the outcome of an attempt to deliver.
pub(crate) fn outcome(answer: Result<OutboundResponse, OutboundError>) -> DeliveryOutcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let text = failure_text(&error);
            return match error {
                OutboundError::RefusedAddress { .. }
                | OutboundError::Unencrypted { .. }
                | OutboundError::Dns { .. }
                | OutboundError::Connect { .. }
                | OutboundError::Tls { .. } => unreachable_program(text, None),
                OutboundError::Timeout { .. }
                | OutboundError::TooLarge { .. }
                | OutboundError::Broken { .. } => DeliveryOutcome::Failed(text),
            };
        }
    };
    if answer.status.is_success() {
        return DeliveryOutcome::Delivered;
    }
    let text = describe(&answer);
    let wanted = retry_after(&answer.headers);
    match answer.status {
        StatusCode::GONE => unreachable_program(text, Some(GONE_PAUSE)),
        // The address or the credentials are wrong, or the program is busy: any event would fail.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::MISDIRECTED_REQUEST
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => unreachable_program(text, wanted),
        status if status.is_client_error() => DeliveryOutcome::Refused(text),
        status if status.is_server_error() => DeliveryOutcome::Failed(text),
        _ => unreachable_program(text, None),
    }
}

fn unreachable_program(error: String, retry_after: Option<Duration>) -> DeliveryOutcome {
    DeliveryOutcome::Unreachable { error, retry_after }
}

/// Describes an answer that is no success: its status, and the beginning of its body.
pub(crate) fn describe(answer: &OutboundResponse) -> String {
    let status = answer.status;
    if status.is_redirection() {
        return format!(
            "the answer is {status}: redirects are not followed; set the url of the webhook to the \
             final address"
        );
    }
    let body = String::from_utf8_lossy(&answer.body);
    let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let visible = line.chars().filter(|letter| !letter.is_control());
    let shown: String = visible.take(MAX_SHOWN_CHARS).collect();
    if shown.is_empty() {
        format!("the answer is {status}")
    } else {
        format!("the answer is {status}: {shown}")
    }
}

/// Returns the time to wait in seconds that an answer names.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;

    fn answer(status: u16, body: &'static str) -> OutboundResponse {
        OutboundResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn each_answer_has_its_meaning() {
        for status in [200, 201, 202, 204] {
            assert_eq!(outcome(Ok(answer(status, ""))), DeliveryOutcome::Delivered);
        }
        for status in [400, 409, 413, 415, 422] {
            let refused = outcome(Ok(answer(status, "no such\n field")));
            let DeliveryOutcome::Refused(text) = refused else {
                panic!("{status}: {refused:?}");
            };
            assert!(text.ends_with(": no such field"), "{text}");
        }
        for status in [500, 501, 505] {
            let failed = outcome(Ok(answer(status, "")));
            assert!(matches!(failed, DeliveryOutcome::Failed(_)), "{status}");
        }
        for status in [301, 302, 308, 401, 403, 404, 410, 429, 502, 503, 504] {
            let unreached = outcome(Ok(answer(status, "")));
            assert!(
                matches!(unreached, DeliveryOutcome::Unreachable { .. }),
                "{status}"
            );
        }
        let DeliveryOutcome::Unreachable { error, .. } = outcome(Ok(answer(302, "<html>"))) else {
            panic!("a redirect is not followed");
        };
        assert!(error.contains("final address") && !error.contains("html"));
    }

    #[test]
    fn the_time_to_wait_is_read() {
        let mut busy = answer(429, "");
        let wait = HeaderValue::from_static("7");
        busy.headers.insert(header::RETRY_AFTER, wait);
        let DeliveryOutcome::Unreachable { retry_after, .. } = outcome(Ok(busy)) else {
            panic!("429 is a busy program");
        };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_long_body_is_cut() {
        let answer = OutboundResponse {
            status: StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: Bytes::from(vec![b'x'; 60_000]),
        };
        assert!(describe(&answer).len() < 250);
    }
}
