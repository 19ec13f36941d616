//! The verifier behind core's seam.

use async_trait::async_trait;
use gimlet_core::auth::{ClaimedUser, JwtClaims, JwtVerifier};
use gimlet_core::error::RequestRefusal;

use super::encoded::EncodedJwt;
use super::key::{JwtAlgorithm, VerificationKey};
use super::key_source::JwksSource;

/// Checks signatures with fixed keys and those of an address.
#[derive(Debug)]
pub struct SignatureVerifier {
    keys: Vec<VerificationKey>,
    source: Option<JwksSource>,
}

impl SignatureVerifier {
    /// Checks signatures with these keys.
    #[must_use]
    pub const fn new(keys: Vec<VerificationKey>, source: Option<JwksSource>) -> Self {
        Self { keys, source }
    }
}

/// Result of a look for the key of a token.
enum KeyMatch {
    /// A key has signed it.
    Signed,
    /// No key with its algorithm and id has.
    Forged,
    /// There is no such key.
    Missing,
}

fn find(keys: &[VerificationKey], jwt: &EncodedJwt<'_>, algorithm: JwtAlgorithm) -> KeyMatch {
    let mut result = KeyMatch::Missing;
    for key in keys.iter().filter(|key| key.fits(algorithm, jwt.key_id())) {
        if key.verifies(jwt.signed, &jwt.signature) {
            return KeyMatch::Signed;
        }
        result = KeyMatch::Forged;
    }
    result
}

#[async_trait]
impl JwtVerifier for SignatureVerifier {
    async fn verify(&self, token: &str) -> Result<JwtClaims, RequestRefusal> {
        let jwt = EncodedJwt::parse(token).map_err(RequestRefusal::Unauthorized)?;
        let algorithm = jwt.algorithm().and_then(JwtAlgorithm::named);
        let algorithm = algorithm.ok_or(RequestRefusal::Unauthorized(
            "the alg of the JWT is not one of HS256, RS256, ES256 and EdDSA",
        ))?;
        let mut found = find(&self.keys, &jwt, algorithm);
        if !matches!(found, KeyMatch::Signed)
            && let Some(source) = &self.source
            && algorithm != JwtAlgorithm::Hs256
        {
            let keys = source.keys(algorithm, jwt.key_id()).await?;
            found = match (find(&keys, &jwt, algorithm), found) {
                (KeyMatch::Missing, before) => before,
                (now, _) => now,
            };
        }
        let refused = |why| Err(RequestRefusal::Unauthorized(why));
        match found {
            KeyMatch::Signed => jwt.claims().map_err(RequestRefusal::Unauthorized),
            KeyMatch::Forged => refused("the signature of the JWT is wrong"),
            KeyMatch::Missing => refused("no key is configured for the alg and kid of the JWT"),
        }
    }

    fn claimed(&self, token: &str) -> Option<ClaimedUser> {
        EncodedJwt::parse(token).ok()?.claimed()
    }
}

#[cfg(test)]
mod tests;
