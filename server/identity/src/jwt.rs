//! Signatures and claims of JWTs (RFC 7519): HS256, RS256, ES256 and EdDSA.
//!
//! The algorithm belongs to the key, never to the token: a token that names another algorithm finds
//! no key. `none` is no algorithm here, and a public key is never used as the secret of an HMAC.

mod encoded;
mod key;
mod key_set;
mod key_source;
mod verifier;

pub use key::{JwtAlgorithm, JwtKeyError, VerificationKey};
pub use key_set::read_key_set;
pub use key_source::JwksSource;
pub use verifier::SignatureVerifier;
