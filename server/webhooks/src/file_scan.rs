//! The question to the operator's scanner: the file itself, as the signed body of a request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gimlet_core::before_send::HookFailureMode;
use gimlet_core::id::MessageId;
use gimlet_core::time::TimeSource;
use gimlet_files::{FileScanner, ScanError, ScanPolicy, ScanQuestion, ScanRules, ScanVerdict};
use gimlet_json::{RequestFields, choice, message_id, object, parse};
use gimlet_outbound::signature::{SigningSecret, WebhookSigner};
use gimlet_outbound::{OutboundClient, OutboundPolicy, OutboundUrl};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::answer::describe;
use crate::body::SignedBody;
use crate::client::SignedClient;

/// Files that are sent at a time; each is in memory meanwhile.
const CONCURRENT_SCANS: usize = 4;
/// Header with the name that the client gave the file, percent-encoded.
const NAME_HEADER: HeaderName = HeaderName::from_static("gimlet-file-name");
/// Header with the id of the user that uploads the file.
const USER_HEADER: HeaderName = HeaderName::from_static("gimlet-user");

choice! {
    /// Decision about a file.
    ScanAction {
        /// It is stored.
        Allow = "allow",
        /// It is refused.
        Refuse = "refuse",
    }
    expected "\"allow\" or \"refuse\""
}

object! {
    /// The answer of a scanner.
    ScanAnswer {
        /// The decision.
        action: ScanAction,
        /// The reason of a refusal, which the client gets.
        reason: Option<String>,
    }
}

/// The scanner could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("files.scan_url and files.scan_secret cannot be used: {0}")]
pub struct ScanStartError(String);

/// The connection to the scanner.
#[derive(Clone)]
pub struct ScanSettings {
    /// The address.
    pub url: String,
    /// The secret that signs the requests.
    pub secret: String,
    /// Time within which a verdict counts.
    pub timeout: Duration,
    /// The decision without a verdict.
    pub failure: HookFailureMode,
}

impl std::fmt::Debug for ScanSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScanSettings")
            .field("timeout", &self.timeout)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl ScanSettings {
    /// Opens its client, which reaches the addresses that `base` allows.
    ///
    /// # Errors
    /// The settings are invalid, or the file of CAs cannot be read.
    pub fn open(
        &self,
        base: &OutboundPolicy,
        clock: Arc<dyn TimeSource>,
    ) -> Result<ScanPolicy, ScanStartError> {
        let url = self.url.parse::<OutboundUrl>();
        let url = url.map_err(|right| ScanStartError(right.to_string()))?;
        let secret: Result<SigningSecret, _> = self.secret.parse();
        let secret = secret.map_err(|right| ScanStartError(right.to_string()))?;
        let policy = OutboundPolicy {
            connect_timeout: base.connect_timeout.min(self.timeout),
            exchange_timeout: self.timeout,
            exchanges_per_host: CONCURRENT_SCANS,
            exchanges: CONCURRENT_SCANS,
            ..base.clone()
        };
        let client = OutboundClient::new(&policy);
        let client = client.map_err(|error| ScanStartError(error.to_string()))?;
        let client = SignedClient {
            client,
            url,
            signer: WebhookSigner::new([secret]),
            clock,
        };
        let rules = ScanRules {
            deadline: self.timeout,
            concurrency: CONCURRENT_SCANS,
            failure: self.failure,
        };
        Ok(ScanPolicy::new(Arc::new(HttpFileScanner { client }), rules))
    }
}

/// Sends files to a scanner.
#[derive(Clone, Debug)]
struct HttpFileScanner {
    client: SignedClient,
}

#[async_trait]
impl FileScanner for HttpFileScanner {
    async fn scan(&self, question: ScanQuestion<'_>) -> Result<ScanVerdict, ScanError> {
        let content = tokio::fs::read(question.path).await;
        let content = content.map_err(|error| ScanError(error.to_string()))?;
        let body = SignedBody {
            id: message_id(MessageId::generate()),
            text: Bytes::from(content),
        };
        let answer = self.client.post_as(body, headers(&question)).await;
        let answer = answer.map_err(|error| ScanError(error.to_string()))?;
        if !answer.status.is_success() {
            return Err(ScanError(describe(&answer)));
        }
        verdict(&answer.body)
    }
}

fn headers(question: &ScanQuestion<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static(question.kind.mime);
    headers.insert(header::CONTENT_TYPE, kind);
    if let Ok(name) = HeaderValue::try_from(percent_encoded(question.name)) {
        headers.insert(NAME_HEADER, name);
    }
    if let Some(user) = question.user {
        headers.insert(USER_HEADER, HeaderValue::from(user.get()));
    }
    headers
}

/// Encodes a name for a header: letters, digits and `-._~` stay.
fn percent_encoded(name: &str) -> String {
    use std::fmt::Write as _;

    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Reads an answer; an empty one allows the file.
fn verdict(body: &[u8]) -> Result<ScanVerdict, ScanError> {
    if body.is_empty() {
        return Ok(ScanVerdict::Clean);
    }
    let wrong = |text: String| ScanError(format!("the answer is not a verdict: {text}"));
    let value = parse(body).map_err(|error| wrong(error.to_string()))?;
    let fields = RequestFields::of_body(value);
    let read = fields.and_then(RequestFields::read::<ScanAnswer>);
    let answer = read.map_err(|error| wrong(error.describe("the body").1))?;
    Ok(match answer.action {
        ScanAction::Allow => ScanVerdict::Clean,
        ScanAction::Refuse => ScanVerdict::Reject(answer.reason.unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_verdict_or_says_why_not() {
        let read = |body: &str| verdict(body.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(read(""), Ok(ScanVerdict::Clean));
        assert_eq!(read(r#"{"action":"allow"}"#), Ok(ScanVerdict::Clean));
        let refused = read(r#"{"action":"refuse","reason":"EICAR"}"#);
        assert_eq!(refused, Ok(ScanVerdict::Reject("EICAR".into())));
        for body in [
            "ok",
            "{}",
            r#"{"action":"replace"}"#,
            r#"{"acton":"allow"}"#,
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains("not a verdict"), "{error}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_header() {
        assert_eq!(
            percent_encoded("a b\r\nX: y.png"),
            "a%20b%0D%0AX%3A%20y.png"
        );
    }
}
