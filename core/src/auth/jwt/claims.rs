//! Claims of a token, and the policy that judges them.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::time::UnixTimestamp;

/// Claims of a token whose signature is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtClaims {
    /// The user (`sub`).
    pub user: UserId,
    /// The only device that may use the token (`device`); `None` allows every device.
    pub device: Option<DeviceId>,
    /// The services that it is for (`aud`).
    pub audiences: Vec<String>,
    /// Time of expiry (`exp`).
    pub expires_at: UnixTimestamp,
    /// Time before which it is not valid (`nbf`).
    pub not_before: Option<UnixTimestamp>,
    /// Time of issue (`iat`).
    pub issued_at: Option<UnixTimestamp>,
    /// Its id (`jti`), by which it can be revoked alone.
    pub id: Option<String>,
    /// The displayed name of the user (`name`).
    pub nickname: Option<String>,
    /// URL of the user's picture (`avatar`).
    pub avatar_url: Option<String>,
}

/// The user and device that a token names before its signature is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimedUser {
    /// The user.
    pub user: UserId,
    /// The device, if the token names one.
    pub device: Option<DeviceId>,
}

/// Checks signatures and reads claims.
#[async_trait]
pub trait JwtVerifier: Debug + Send + Sync + 'static {
    /// Returns the claims of a token whose signature is valid.
    ///
    /// # Errors
    /// [`RequestRefusal::Unauthorized`] for a wrong or malformed token, and
    /// [`RequestRefusal::Unavailable`] if the keys could not be loaded.
    async fn verify(&self, token: &str) -> Result<JwtClaims, RequestRefusal>;

    /// Reads the user without a check of the signature: wrong tokens are counted by user. `None` if
    /// the token is malformed.
    fn claimed(&self, token: &str) -> Option<ClaimedUser>;
}

/// Returns whether a token has the form of a JWT: three parts, the first of which is an object.
#[must_use]
pub fn is_jwt(token: &str) -> bool {
    // `{` at the beginning of an object is `e` in base64, followed by one of four letters.
    token.starts_with('e') && token.split('.').count() == 3
}

/// Rules for the claims of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtPolicy {
    /// The audience that a token must name.
    pub audience: String,
    /// Difference between the clocks of this server and of the issuer.
    pub leeway: Duration,
    /// Longest time until the expiry of a token: a stolen token ends then at the latest.
    pub max_lifetime: Duration,
    /// Treats every id as that of a user, also before a token has named it.
    pub every_user: bool,
}

impl JwtPolicy {
    /// Returns the remaining validity of a token.
    ///
    /// # Errors
    /// [`RequestRefusal::Unauthorized`] for claims that this policy does not accept.
    pub fn judge(
        &self,
        claims: &JwtClaims,
        now: UnixTimestamp,
    ) -> Result<Duration, RequestRefusal> {
        let refused = |why| Err(RequestRefusal::Unauthorized(why));
        if !claims.audiences.contains(&self.audience) {
            return refused("the JWT is for another service; its aud must be auth.jwt_audience");
        }
        let (earliest, latest) = (now.before(self.leeway), now.after(self.leeway));
        if claims.expires_at <= earliest {
            return refused("the JWT has expired (exp)");
        }
        if claims.expires_at > latest.after(self.max_lifetime) {
            return refused(
                "the JWT expires too late; its exp must be within auth.jwt_max_lifetime",
            );
        }
        if claims.not_before.is_some_and(|it| it > latest) {
            return refused("the JWT is not valid yet (nbf)");
        }
        if claims.issued_at.is_some_and(|it| it > latest) {
            return refused("the JWT was issued in the future (iat); check the issuer's clock");
        }
        let left = claims.expires_at.0.saturating_sub(earliest.0);
        Ok(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTimestamp = UnixTimestamp(1_000_000_000);

    fn policy() -> JwtPolicy {
        JwtPolicy {
            audience: "gimlet".into(),
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_hours(1),
            every_user: false,
        }
    }

    fn claims(expires_in_secs: i64) -> JwtClaims {
        JwtClaims {
            user: UserId::MIN,
            device: None,
            audiences: vec!["other".into(), "gimlet".into()],
            expires_at: UnixTimestamp(NOW.0 + expires_in_secs * 1_000),
            not_before: None,
            issued_at: None,
            id: None,
            nickname: None,
            avatar_url: None,
        }
    }

    fn refusal(claims: &JwtClaims) -> String {
        policy().judge(claims, NOW).unwrap_err().to_string()
    }

    #[test]
    fn a_token_is_valid_until_its_expiry_and_the_leeway() {
        let left = |secs| policy().judge(&claims(secs), NOW).map(|it| it.as_secs());
        assert_eq!(left(60), Ok(90));
        assert_eq!(left(-29), Ok(1));
        assert!(refusal(&claims(-30)).contains("expired (exp)"));
        assert!(refusal(&claims(i64::MIN / 2_000)).contains("expired"));
        assert_eq!(left(3_630), Ok(3_660));
        for late in [3_631, i64::MAX / 2_000] {
            assert!(refusal(&claims(late)).contains("auth.jwt_max_lifetime"));
        }
    }

    #[test]
    fn the_audience_and_the_times_are_judged() {
        let other = JwtClaims {
            audiences: vec!["Gimlet".into()],
            ..claims(60)
        };
        assert!(refusal(&other).contains("aud must be"));
        let none = JwtClaims {
            audiences: Vec::new(),
            ..claims(60)
        };
        assert!(refusal(&none).contains("aud must be"));
        let soon = |secs: i64| Some(UnixTimestamp(NOW.0 + secs * 1_000));
        let early = |secs| JwtClaims {
            not_before: soon(secs),
            ..claims(600)
        };
        assert!(policy().judge(&early(30), NOW).is_ok());
        assert!(refusal(&early(31)).contains("nbf"));
        let issued = |secs| JwtClaims {
            issued_at: soon(secs),
            ..claims(600)
        };
        assert!(policy().judge(&issued(30), NOW).is_ok());
        assert!(refusal(&issued(31)).contains("iat"));
    }

    #[test]
    fn the_form_of_a_token_tells_it_from_an_opaque_one() {
        for jwt in ["eyJh.eyJz.c2ln", "eyJh.eyJz.", "ewog.eyJz.c2ln"] {
            assert!(is_jwt(jwt), "{jwt}");
        }
        for other in [
            "",
            "0",
            "e",
            "abc.def.ghi",
            "e.b",
            "e.b.c.d",
            &"ab".repeat(32),
        ] {
            assert!(!is_jwt(other), "{other}");
        }
    }
}
