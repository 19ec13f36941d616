//! Sets of keys in JSON (JWKS, RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::key::VerificationKey;
use crate::json_fields::JsonFields;

/// Largest number of keys of a set.
const MAX_KEYS: usize = 64;

/// Reads the keys of a set that can check signatures. Keys of other kinds and uses are left out, as
/// RFC 7517 asks. Secrets are read only with `secrets`: a set that is public has none.
///
/// # Errors
/// The text is not a set, or none of its keys can be used.
pub fn read_key_set(text: &[u8], secrets: bool) -> Result<Vec<VerificationKey>, String> {
    let set: Value = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or("not a key set: an object with a list `keys` is needed")?;
    if keys.len() > MAX_KEYS {
        return Err(format!("a set of more than {MAX_KEYS} keys"));
    }
    let objects = keys.iter().filter_map(Value::as_object);
    let found: Vec<_> = objects.filter_map(|key| read_key(key, secrets)).collect();
    if found.is_empty() {
        return Err(
            "no key for RS256 (2048 bits or more), ES256 or EdDSA in it; a secret for HS256 counts \
             only in a file"
                .into(),
        );
    }
    Ok(found)
}

fn read_key(key: &JsonFields, secrets: bool) -> Option<VerificationKey> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    if text("use").is_some_and(|it| it != "sig") || !allows_verify(key) {
        return None;
    }
    let id = text("kid").map(str::to_owned);
    let is_for = |algorithm: &str| text("alg").is_none_or(|it| it == algorithm);
    let read = match text("kty")? {
        "RSA" if is_for("RS256") => VerificationKey::rsa(id, &bytes("n")?, &bytes("e")?),
        "EC" if is_for("ES256") && text("crv") == Some("P-256") => {
            VerificationKey::p256(id, &bytes("x")?, &bytes("y")?)
        }
        "OKP" if is_for("EdDSA") && text("crv") == Some("Ed25519") => {
            VerificationKey::ed25519(id, &bytes("x")?)
        }
        "oct" if secrets && is_for("HS256") => VerificationKey::secret(id, &bytes("k")?),
        _ => return None,
    };
    read.ok()
}

fn allows_verify(key: &JsonFields) -> bool {
    let uses = key.get("key_ops").and_then(Value::as_array);
    uses.is_none_or(|uses| uses.iter().any(|it| it == "verify"))
}
