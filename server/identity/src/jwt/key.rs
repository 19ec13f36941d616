//! Keys that check signatures. A key has one algorithm.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// Fewest bytes of a secret: RFC 7518 asks for as many as the hash has.
const SECRET_MIN_BYTES: usize = 32;
/// Fewest bits of an RSA key, by RFC 7518.
const RSA_MIN_BITS: usize = 2_048;
/// First byte of an uncompressed point of a curve.
const UNCOMPRESSED_POINT: u8 = 4;

/// Algorithms of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    /// Returns the algorithm with this name; `None` if it is not supported, as `none` is not.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// Reasons that a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtKeyError {
    /// The secret is too short.
    #[error("a secret has at least 32 bytes; make one with `openssl rand -hex 32`")]
    ShortSecret,
    /// The text is not a public key.
    #[error(
        "it has no public key; write a PEM file with -----BEGIN PUBLIC KEY----- (openssl pkey -in \
         KEY -pubout)"
    )]
    NoPublicKey,
    /// The text is a private key.
    #[error(
        "it is a private key, which only the issuer needs; write the public one (openssl pkey \
             -in KEY -pubout)"
    )]
    PrivateKey,
    /// The key belongs to another algorithm.
    #[error("its kind is not supported; use RSA with 2048 bits or more, P-256 or Ed25519")]
    Unsupported,
}

enum KeyMaterial {
    /// Boxed: the state of an HMAC is twenty times as large as a public key's handle.
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// A key that checks signatures. Its secret is never printed.
pub struct VerificationKey {
    id: Option<String>,
    algorithm: JwtAlgorithm,
    material: KeyMaterial,
}

impl VerificationKey {
    /// Makes a key for HS256.
    ///
    /// # Errors
    /// The secret is too short.
    pub fn secret(id: Option<String>, secret: &[u8]) -> Result<Self, JwtKeyError> {
        if secret.len() < SECRET_MIN_BYTES {
            return Err(JwtKeyError::ShortSecret);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Ok(Self {
            id,
            algorithm: JwtAlgorithm::Hs256,
            material: KeyMaterial::Secret(Box::new(key)),
        })
    }

    /// Reads a public key from a PEM file; its kind tells its algorithm.
    ///
    /// # Errors
    /// The text has no public key of a supported kind.
    pub fn public_pem(text: &[u8]) -> Result<Self, JwtKeyError> {
        let Ok(info) = SubjectPublicKeyInfoDer::from_pem_slice(text) else {
            let is_private = String::from_utf8_lossy(text).contains("PRIVATE KEY-----");
            return Err(if is_private {
                JwtKeyError::PrivateKey
            } else {
                JwtKeyError::NoPublicKey
            });
        };
        let der = info.as_ref();
        if let Ok(key) = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der) {
            return Ok(Self::public(None, JwtAlgorithm::Es256, key));
        }
        if let Ok(key) = ParsedPublicKey::new(&ED25519, der) {
            return Ok(Self::public(None, JwtAlgorithm::EdDsa, key));
        }
        let bits = PublicEncryptingKey::from_der(der).map_or(0, |key| key.key_size_bits());
        match ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der) {
            Ok(key) if bits >= RSA_MIN_BITS => Ok(Self::public(None, JwtAlgorithm::Rs256, key)),
            _ => Err(JwtKeyError::Unsupported),
        }
    }

    /// Makes a key for RS256 from its modulus and exponent, big-endian.
    ///
    /// # Errors
    /// They are not a key, or it is too short.
    pub(crate) fn rsa(id: Option<String>, n: &[u8], e: &[u8]) -> Result<Self, JwtKeyError> {
        if n.len() * 8 < RSA_MIN_BITS {
            return Err(JwtKeyError::Unsupported);
        }
        let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        let key = key.map_err(|_| JwtKeyError::Unsupported)?;
        Ok(Self::public(id, JwtAlgorithm::Rs256, key))
    }

    /// Makes a key for ES256 from the coordinates of its point.
    ///
    /// # Errors
    /// They are not a point of P-256.
    pub(crate) fn p256(id: Option<String>, x: &[u8], y: &[u8]) -> Result<Self, JwtKeyError> {
        let point = [&[UNCOMPRESSED_POINT][..], x, y].concat();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        let key = key.map_err(|_| JwtKeyError::Unsupported)?;
        Ok(Self::public(id, JwtAlgorithm::Es256, key))
    }

    /// Makes a key for EdDSA from the bytes of an Ed25519 key.
    ///
    /// # Errors
    /// They are not such a key.
    pub(crate) fn ed25519(id: Option<String>, x: &[u8]) -> Result<Self, JwtKeyError> {
        let key = ParsedPublicKey::new(&ED25519, x).map_err(|_| JwtKeyError::Unsupported)?;
        Ok(Self::public(id, JwtAlgorithm::EdDsa, key))
    }

    const fn public(id: Option<String>, algorithm: JwtAlgorithm, key: ParsedPublicKey) -> Self {
        Self {
            id,
            algorithm,
            material: KeyMaterial::Public(key),
        }
    }

    /// Returns whether the key may have signed a token with this algorithm and key id. A key or a
    /// token without an id matches all.
    pub(crate) fn fits(&self, algorithm: JwtAlgorithm, id: Option<&str>) -> bool {
        let same_id = match (self.id.as_deref(), id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        };
        self.algorithm == algorithm && same_id
    }

    /// Returns whether the signature is valid.
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            // Compares in constant time.
            KeyMaterial::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
            KeyMaterial::Public(key) => key.verify_sig(signed, signature).is_ok(),
        }
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
