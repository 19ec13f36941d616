//! JWTs as a backend signs them, and the settings of servers that accept them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Key of the backend, which may revoke JWTs.
pub const API_KEY: &str = "key-0123456789abcdef0123456789abcdef";

/// Secret that JWTs are signed with.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Audience of the JWTs.
const AUDIENCE: &str = "gimlet";

/// Settings of a server that accepts the JWTs of [`sign_jwt`].
pub const JWT_SETTINGS: [(&str, &str); 3] = [
    ("GIMLET_AUTH__JWT_AUDIENCE", AUDIENCE),
    ("GIMLET_AUTH__JWT_SECRETS", SECRET),
    ("GIMLET_HTTP__API_KEYS", API_KEY),
];

/// Signs a JWT with these claims, which is valid for ten minutes.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "tokens have the time of this machine"
)]
pub fn sign_jwt(claims: &Value) -> String {
    let mut claims = claims.clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    if let Value::Object(fields) = &mut claims {
        fields.insert("aud".into(), AUDIENCE.into());
        fields.insert("iat".into(), now.saturating_sub(10).into());
        fields.insert("exp".into(), (now + 600).into());
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let signed = format!("{}.{}", part(&header), part(&claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
