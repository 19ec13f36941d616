//! A user's token in a header or in a packet, where no other field names its owner: with its user and
//! device in front of it, or as a JWT, which names its user itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gimlet_core::auth::{PresentedToken, is_jwt};
use gimlet_core::id::{DeviceId, UserId};
use serde_json::{Map, Value};

/// Longest JWT, in bytes. The check of the signature has the same limit.
const JWT_MAX_BYTES: usize = 8 * 1024;

/// A token, not checked yet.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken {
    /// The user.
    pub user: UserId,
    /// The device; `None` for a JWT that names none, which any device may use.
    pub device: Option<DeviceId>,
    /// The token, which is never printed.
    pub token: String,
}

impl BearerToken {
    /// Reads `USER.DEVICE.TOKEN`, or a JWT.
    ///
    /// The claims of a JWT are taken as they are: the check of its signature compares them with the
    /// user and the device.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if is_jwt(text) {
            return Self::of_jwt(text);
        }
        let PresentedToken {
            user,
            device,
            token,
        } = PresentedToken::parse(text)?;
        Some(Self {
            user,
            device: Some(device),
            token,
        })
    }

    fn of_jwt(text: &str) -> Option<Self> {
        if text.len() > JWT_MAX_BYTES {
            return None;
        }
        let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
        let claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
        let device = match claims.get("device") {
            None | Some(Value::Null) => None,
            Some(device) => Some(DeviceId::new(id(device)?)?),
        };
        Some(Self {
            user: UserId::new(id(claims.get("sub")?)?)?,
            device,
            token: text.to_owned(),
        })
    }

    /// Returns the token with its device; `None` if it names no device.
    #[must_use]
    pub fn of_device(&self) -> Option<PresentedToken> {
        Some(PresentedToken {
            user: self.user,
            device: self.device?,
            token: self.token.clone(),
        })
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerToken({}, {:?})", self.user, self.device)
    }
}

/// Reads an id as JWTs have it: a text of digits, or a whole number.
fn id(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
            URL_SAFE_NO_PAD.encode(claims)
        )
    }

    fn parsed(text: &str) -> Option<(u64, Option<u64>)> {
        let token = BearerToken::parse(text)?;
        Some((token.user.get(), token.device.map(DeviceId::get)))
    }

    #[test]
    fn a_jwt_names_its_user_and_perhaps_its_device() {
        assert_eq!(parsed("7.8.a.b"), Some((7, Some(8))));
        assert_eq!(parsed(&jwt(r#"{"sub":"7"}"#)), Some((7, None)));
        assert_eq!(
            parsed(&jwt(r#"{"sub":7,"device":"8"}"#)),
            Some((7, Some(8)))
        );
        assert_eq!(parsed(&jwt(r#"{"sub":7,"device":null}"#)), Some((7, None)));
        // A JWT behind two ids is one too: its user and device are compared later.
        let behind = format!("1.2.{}", jwt(r#"{"sub":"7"}"#));
        assert_eq!(parsed(&behind), Some((1, Some(2))));
        let long = jwt(&format!(r#"{{"sub":"7","x":"{}"}}"#, "x".repeat(8_192)));
        for wrong in [
            jwt("{}").as_str(),
            &jwt(r#"{"sub":"ada"}"#),
            &jwt(r#"{"sub":0}"#),
            &jwt(r#"{"sub":-7}"#),
            &jwt(r#"{"sub":"7","device":"x"}"#),
            &jwt(r#"{"sub":"7","device":0}"#),
            &jwt("[7]"),
            &long,
            "eyJh.!.c2ln",
            "eyJh.eyJz.c2ln",
            "",
            "7.8.",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        let shown = format!("{:?}", BearerToken::parse("7.8.secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
