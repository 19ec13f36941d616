//! Credentials of a request: a user's token or a backend's API key, both as `Authorization: Bearer`.
//!
//! A token belongs to a user on a device, so the bearer names all three: `USER.DEVICE.TOKEN`. A
//! sign-in over this API returns that form; a token from gRPC or from a business server is put behind
//! the two ids. A JWT may be sent without them, because it names its user itself.

use std::fmt;

use gimlet_core::auth::ApiKeyService;
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_json::BearerToken;
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// Header in which a backend names the user that it acts for.
pub(crate) const USER_HEADER: &str = "gimlet-user";

/// Shortest API key, in characters.
pub const MIN_API_KEY_LEN: usize = 32;

/// Returns the bearer for a token: `USER.DEVICE.TOKEN`.
pub(crate) fn bearer_of(user: UserId, device: DeviceId, token: &str) -> String {
    format!("{}.{}.{token}", user.get(), device.get())
}

/// The API keys of the configuration, as hashes.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<[u8; 32]>);

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}

impl ApiKeys {
    /// Accepts these keys.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(hash).collect())
    }

    /// Checks a key of the configuration.
    ///
    /// # Errors
    /// A text that says what a key must be.
    pub fn check(key: &str) -> Result<(), &'static str> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if key.len() >= MIN_API_KEY_LEN && key.bytes().all(is_token) {
            return Ok(());
        }
        Err(
            "at least 32 characters out of letters, digits and -._~+/=: for example 64 random \
             hexadecimal digits",
        )
    }

    /// Returns whether one of the keys was given. The time does not depend on the position of the
    /// first wrong character, nor on which key it is.
    fn accept(&self, given: &str) -> bool {
        let given = hash(given);
        let same = self.0.iter().map(|key| key.ct_eq(&given));
        same.fold(Choice::from(0), |any, one| any | one).into()
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// An API key that a request carries.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PresentedKey {
    /// A key of the configuration. It was compared, and is valid.
    Configured,
    /// A text of the form of a key that was created at run time; it is not checked yet.
    Created(String),
}

impl fmt::Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "Configured",
            Self::Created(_) => "Created(…)",
        })
    }
}

/// Credentials that a request carries; a token and a created key are not checked yet.
#[derive(Clone, Debug)]
pub(crate) enum RequestCredentials {
    /// None.
    Absent,
    /// A user's token.
    User(BearerToken),
    /// An API key, with the user that the backend acts for.
    Backend(PresentedKey, Option<UserId>),
}

/// Reads the credentials of a request. A key of the configuration is compared here; other keys and
/// tokens are checked by the caller.
pub(crate) fn credentials(
    headers: &HeaderMap,
    query_token: Option<&str>,
    keys: &ApiKeys,
) -> Result<RequestCredentials, RequestRefusal> {
    let bearer = match headers.get(header::AUTHORIZATION) {
        Some(value) => bearer(value.as_bytes())?,
        None => match query_token {
            Some(token) => token,
            None => return Ok(RequestCredentials::Absent),
        },
    };
    let key = if keys.accept(bearer) {
        Some(PresentedKey::Configured)
    } else {
        ApiKeyService::is_key(bearer).then(|| PresentedKey::Created(bearer.to_owned()))
    };
    if let Some(key) = key {
        return Ok(RequestCredentials::Backend(key, acting_for(headers)?));
    }
    let token = BearerToken::parse(bearer).ok_or(RequestRefusal::Unauthorized(
        "the bearer is neither a user's token, USER.DEVICE.TOKEN, nor a JWT whose sub is a user's id, \
         nor an API key",
    ))?;
    Ok(RequestCredentials::User(token))
}

fn bearer(value: &[u8]) -> Result<&str, RequestRefusal> {
    let text = std::str::from_utf8(value).ok();
    let split = text.and_then(|it| it.split_once(' '));
    let bearer = split.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer
        .map(|(_, token)| token.trim())
        .ok_or(RequestRefusal::Unauthorized(
            "the header Authorization has another form; send Authorization: Bearer and a token",
        ))
}

fn acting_for(headers: &HeaderMap) -> Result<Option<UserId>, RequestRefusal> {
    let Some(value) = headers.get(USER_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let user = text.parse().ok().and_then(UserId::from_wire);
    user.map(Some).ok_or_else(|| {
        let expected = "the id of the user that the backend acts for, or left out";
        RequestRefusal::bad(format!(
            "the header Gimlet-User is not a user's id; it must be {expected}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn read(
        authorization: Option<&str>,
        user: Option<&str>,
    ) -> Result<RequestCredentials, RequestRefusal> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        if let Some(value) = user {
            headers.insert(USER_HEADER, value.parse().unwrap());
        }
        credentials(&headers, None, &ApiKeys::new([KEY]))
    }

    #[test]
    fn a_bearer_names_the_user_the_device_and_the_token() {
        let token = BearerToken::parse("7.8.a.b=c").and_then(|it| it.of_device());
        let token = token.unwrap();
        assert_eq!((token.user.get(), token.device.get()), (7, 8));
        assert_eq!(token.token, "a.b=c");
        assert_eq!(bearer_of(token.user, token.device, "a.b=c"), "7.8.a.b=c");
        for wrong in [
            "",
            "7",
            "7.8",
            "7.8.",
            "0.8.t",
            "7.-8.t",
            "x.8.t",
            "eyJh.eyJz.c2ln",
        ] {
            assert!(BearerToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_a_backend_and_anything_else_is_refused() {
        let key = format!("Bearer {KEY}");
        let acting = |user| match read(Some(&key), user) {
            Ok(RequestCredentials::Backend(PresentedKey::Configured, user)) => user,
            other => panic!("{other:?}"),
        };
        assert_eq!(acting(None), None);
        assert_eq!(acting(Some("5")), UserId::new(5));
        let wrong_user = read(Some(&key), Some("x")).unwrap_err();
        assert_eq!(wrong_user.code(), 10_001);
        let created = read(Some("Bearer gk_1"), Some("5")).unwrap();
        assert!(matches!(
            &created,
            RequestCredentials::Backend(PresentedKey::Created(key), Some(_)) if key == "gk_1"
        ));
        assert!(
            !format!("{created:?}").contains("gk_1"),
            "keys are not printed"
        );
        // A user cannot act for another one.
        let user = read(Some("bearer 1.2.t"), Some("3")).unwrap();
        assert!(matches!(user, RequestCredentials::User(token) if token.user.get() == 1));
        assert!(matches!(read(None, None), Ok(RequestCredentials::Absent)));
        let nearly = format!("Bearer {}e", &KEY[..31]);
        for wrong in [
            nearly.as_str(),
            "Bearer",
            "Bearer ",
            "Basic dTpw",
            KEY,
            "Bearer \u{e9}",
        ] {
            let refusal = read(Some(wrong), None).unwrap_err();
            assert_eq!(refusal.code(), 10_000, "{wrong}");
        }
    }

    #[test]
    fn a_short_key_is_refused_by_the_configuration() {
        assert_eq!(ApiKeys::check(KEY), Ok(()));
        assert!(ApiKeys::check(&KEY[..31]).is_err());
        assert!(ApiKeys::check(&KEY.replace('0', " ")).is_err());
    }
}
