//! Signatures of webhooks: [Standard Webhooks](https://www.standardwebhooks.com).
//!
//! A request has the headers `webhook-id`, `webhook-timestamp` (seconds since 1970) and
//! `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`, once for each
//! secret and separated by spaces, so that a secret can be replaced while receivers know the old
//! one.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Header with the id of the message: the same for every attempt to deliver it.
pub const ID_HEADER: HeaderName = HeaderName::from_static("webhook-id");
/// Header with the time of the attempt, in seconds since 1970.
pub const TIMESTAMP_HEADER: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Header with the signatures.
pub const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("webhook-signature");

/// Prefix of a secret.
const SECRET_PREFIX: &str = "whsec_";
/// Fewest bytes of a secret, by the standard.
const SECRET_MIN_BYTES: usize = 24;
/// Largest size in bytes of a secret, by the standard.
const SECRET_MAX_BYTES: usize = 64;
/// Largest number of secrets at a time.
const MAX_SECRETS: usize = 5;

/// A text that is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret is whsec_ and the base64 of 24 to 64 random bytes; make one with \
     `echo whsec_$(openssl rand -base64 32)`"
)]
pub struct SecretError;

/// A secret that signs requests. It is never printed.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

impl SigningSecret {
    /// Makes a new random secret and returns its text.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<String, aws_lc_rs::error::Unspecified> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes)?;
        Ok(format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes)))
    }
}

impl FromStr for SigningSecret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError)?;
        if !(SECRET_MIN_BYTES..=SECRET_MAX_BYTES).contains(&bytes.len()) {
            return Err(SecretError);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// Signs requests with each of its secrets.
#[derive(Clone, Debug)]
pub struct WebhookSigner(Vec<SigningSecret>);

/// Reasons that a request is not accepted as signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing or malformed.
    #[error("the header {0} is missing or malformed")]
    Header(&'static str),
    /// The timestamp is too far from now.
    #[error("the timestamp is more than {0} s from now")]
    Timestamp(u64),
    /// No signature is valid.
    #[error("no signature was made with a known secret")]
    Mismatch,
}

impl WebhookSigner {
    /// Signs with these secrets, the first five of them; the newest should be first.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = SigningSecret>) -> Self {
        Self(secrets.into_iter().take(MAX_SECRETS).collect())
    }

    /// Returns the three headers of a request with this id, time and body.
    ///
    /// # Errors
    /// The id has characters that a header cannot have.
    pub fn sign(
        &self,
        id: &str,
        timestamp_secs: u64,
        body: &[u8],
    ) -> Result<HeaderMap, InvalidHeaderValue> {
        let signatures = self.0.iter().map(|secret| {
            let tag = authenticated(secret, id, timestamp_secs, body).sign();
            format!("v1,{}", STANDARD.encode(tag))
        });
        let signatures: Vec<_> = signatures.collect();
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(ID_HEADER, HeaderValue::from_str(id)?);
        headers.insert(TIMESTAMP_HEADER, HeaderValue::from(timestamp_secs));
        let signatures = HeaderValue::from_str(&signatures.join(" "))?;
        headers.insert(SIGNATURE_HEADER, signatures);
        Ok(headers)
    }

    /// Checks the headers of a signed request, as a receiver does.
    ///
    /// # Errors
    /// A header is missing, the time is more than `tolerance_secs` from `now_secs`, or no signature
    /// is valid.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_secs: u64,
        tolerance_secs: u64,
    ) -> Result<(), SignatureError> {
        let read = |name: &HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
        let id = read(&ID_HEADER).ok_or(SignatureError::Header("webhook-id"))?;
        let at = read(&TIMESTAMP_HEADER).and_then(|at| at.parse().ok());
        let at: u64 = at.ok_or(SignatureError::Header("webhook-timestamp"))?;
        if at.abs_diff(now_secs) > tolerance_secs {
            return Err(SignatureError::Timestamp(tolerance_secs));
        }
        let signatures =
            read(&SIGNATURE_HEADER).ok_or(SignatureError::Header("webhook-signature"))?;
        let given = signatures
            .split(' ')
            .filter_map(|it| it.strip_prefix("v1,"));
        for signature in given.filter_map(|it| STANDARD.decode(it).ok()) {
            let is_right = self.0.iter().any(|secret| {
                let signed = signed_bytes(id, at, body);
                // Compares in constant time.
                hmac::verify(&secret.0, &signed, &signature).is_ok()
            });
            if is_right {
                return Ok(());
            }
        }
        Err(SignatureError::Mismatch)
    }
}

/// Returns the state of the HMAC after all parts of the request.
fn authenticated(secret: &SigningSecret, id: &str, at: u64, body: &[u8]) -> hmac::Context {
    let mut context = hmac::Context::with_key(&secret.0);
    context.update(format!("{id}.{at}.").as_bytes());
    context.update(body);
    context
}

fn signed_bytes(id: &str, at: u64, body: &[u8]) -> Vec<u8> {
    [format!("{id}.{at}.").as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SigningSecret {
        text.parse().unwrap()
    }

    fn signer(secrets: &[&str]) -> WebhookSigner {
        WebhookSigner::new(secrets.iter().map(|it| secret(it)))
    }

    const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    /// The example of the standard's reference libraries.
    #[test]
    fn the_signature_is_that_of_the_standard() {
        let headers = signer(&[OLD])
            .sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#,
            )
            .unwrap();
        let signature = headers[&SIGNATURE_HEADER].to_str().unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers[&TIMESTAMP_HEADER], "1614265330");
        assert_eq!(headers[&ID_HEADER], "msg_p5jXN8AQM9LWM0D4loKWxJek");
    }

    #[test]
    fn a_receiver_with_the_old_or_the_new_secret_accepts_a_request_signed_with_both() {
        let headers = signer(&[NEW, OLD]).sign("1", 1_000, b"body").unwrap();
        for known in [OLD, NEW] {
            let receiver = signer(&[known]);
            assert_eq!(receiver.verify(&headers, b"body", 1_299, 300), Ok(()));
            let forged = receiver.verify(&headers, b"Body", 1_000, 300);
            assert_eq!(forged, Err(SignatureError::Mismatch));
            let late = receiver.verify(&headers, b"body", 1_301, 300);
            assert_eq!(late, Err(SignatureError::Timestamp(300)));
        }
        let other = SigningSecret::generate().unwrap();
        let stranger = signer(&[&other]).verify(&headers, b"body", 1_000, 300);
        assert_eq!(stranger, Err(SignatureError::Mismatch));
        let mut renamed = headers;
        renamed.insert(ID_HEADER, HeaderValue::from_static("2"));
        let renamed = signer(&[OLD]).verify(&renamed, b"body", 1_000, 300);
        assert_eq!(renamed, Err(SignatureError::Mismatch));
        let bare = signer(&[OLD]).verify(&HeaderMap::new(), b"", 0, 300);
        assert_eq!(bare, Err(SignatureError::Header("webhook-id")));
    }

    #[test]
    fn a_weak_or_malformed_secret_is_refused_and_none_is_printed() {
        for text in [
            "",
            "whsec_",
            "whsec_AAAA",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_not base64 at all, but rather long",
        ] {
            assert_eq!(
                text.parse::<SigningSecret>().unwrap_err(),
                SecretError,
                "{text}"
            );
        }
        let shown = format!("{:?}", signer(&[OLD]));
        assert!(!shown.contains("MfKQ"), "{shown}");
        assert!(SecretError.to_string().contains("openssl rand -base64 32"));
    }
}
