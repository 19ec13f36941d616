//! The text of a token: its three parts, and the claims in the second one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gimlet_core::auth::{ClaimedUser, JwtClaims};
use gimlet_core::id::{DeviceId, UserId};
use serde_json::Value;

use crate::json_fields::{self, JsonFields};

/// Longest token, in bytes. A longer one is refused before anything of it is decoded.
const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// A token whose signature is not checked yet.
#[derive(Debug)]
pub(crate) struct EncodedJwt<'a> {
    header: JsonFields,
    claims: JsonFields,
    /// The bytes that are signed: header and claims as they were sent.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

impl<'a> EncodedJwt<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// The reason that the text is not a token.
    pub(crate) fn parse(token: &'a str) -> Result<Self, &'static str> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err("the JWT is longer than 8192 bytes");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("the JWT has no three parts")?;
        let (header, claims) = signed.split_once('.').ok_or("the JWT has no three parts")?;
        let header = object(header).ok_or("the header of the JWT is not an object in base64url")?;
        let claims =
            object(claims).ok_or("the claims of the JWT are not an object in base64url")?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| "the signature of the JWT is not base64url")?;
        if header.contains_key("crit") {
            return Err("the JWT requires an extension (crit), and this server knows none");
        }
        Ok(Self {
            header,
            claims,
            signed: signed.as_bytes(),
            signature,
        })
    }

    /// Returns the name of its algorithm.
    pub(crate) fn algorithm(&self) -> Option<&str> {
        self.header.get("alg")?.as_str()
    }

    /// Returns the id of its key.
    pub(crate) fn key_id(&self) -> Option<&str> {
        self.header.get("kid")?.as_str()
    }

    /// Returns the user and device that it names.
    pub(crate) fn claimed(&self) -> Option<ClaimedUser> {
        let device = self.claims.get("device").and_then(json_fields::id);
        Some(ClaimedUser {
            user: UserId::new(json_fields::id(self.claims.get("sub")?)?)?,
            device: device.and_then(DeviceId::new),
        })
    }

    /// Returns the claims.
    ///
    /// # Errors
    /// The claim that is missing or has another form, and the form that it must have.
    pub(crate) fn claims(&self) -> Result<JwtClaims, &'static str> {
        let fields = &self.claims;
        let user = fields.get("sub").ok_or("the JWT has no claim sub")?;
        let user = json_fields::id(user).and_then(UserId::new);
        let device = match fields.get("device") {
            None | Some(Value::Null) => None,
            Some(device) => {
                let device = json_fields::id(device).and_then(DeviceId::new);
                Some(device.ok_or("the claim device of the JWT is not the id of a device")?)
            }
        };
        let text = |name, wrong| {
            let text = json_fields::text(fields, name).map_err(|()| wrong)?;
            Ok::<_, &'static str>(text.map(str::to_owned))
        };
        let time = |name, wrong| json_fields::time(fields, name).map_err(|()| wrong);
        let expires_at = time("exp", "the claim exp of the JWT is not a number of seconds")?;
        Ok(JwtClaims {
            user: user.ok_or(
                "the claim sub of the JWT is not the id of a user, a number from 1 to \
                 9223372036854775807",
            )?,
            device,
            audiences: audiences(fields.get("aud"))?,
            expires_at: expires_at.ok_or("the JWT has no claim exp")?,
            not_before: time("nbf", "the claim nbf of the JWT is not a number of seconds")?,
            issued_at: time("iat", "the claim iat of the JWT is not a number of seconds")?,
            id: text("jti", "the claim jti of the JWT is not a text")?,
            nickname: text("name", "the claim name of the JWT is not a text")?,
            avatar_url: text("avatar", "the claim avatar of the JWT is not a text")?,
        })
    }
}

fn object(part: &str) -> Option<JsonFields> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    json_fields::parse(&bytes).ok()
}

fn audiences(value: Option<&Value>) -> Result<Vec<String>, &'static str> {
    let wrong = "the claim aud of the JWT is neither a text nor a list of texts";
    match value {
        None => Err("the JWT has no claim aud"),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(all)) => {
            let all = all.iter().map(|it| it.as_str().map(str::to_owned));
            all.collect::<Option<_>>().ok_or(wrong)
        }
        Some(_) => Err(wrong),
    }
}
