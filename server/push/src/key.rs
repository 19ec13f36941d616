//! Private keys that sign the tokens for push services, read from PEM files. They are never printed.

use std::fmt;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::collapse::CollapseKeys;

/// Characters of a line of base64 in a PEM file.
const PEM_COLUMNS: usize = 64;

/// Reasons that a text cannot be used as a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushKeyError {
    /// The text has no private key.
    #[error("it has no private key; write a PEM file with -----BEGIN PRIVATE KEY-----")]
    NoPrivateKey,
    /// The key is not one of P-256.
    #[error("its key is not one of the curve P-256; use the file as it was downloaded or made")]
    NotP256,
    /// The key is not one of RSA.
    #[error("its private_key is not one of RSA; use the file as it was downloaded")]
    NotRsa,
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PushKeyError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| PushKeyError::NoPrivateKey)
}

/// A key of P-256 that signs by ES256: the key of an APNs team, or the VAPID key of Web Push.
pub struct EcSigningKey {
    pair: EcdsaKeyPair,
    collapse: CollapseKeys,
}

impl EcSigningKey {
    /// Reads the key from a PEM file (PKCS#8 or SEC 1).
    ///
    /// # Errors
    /// The text has no private key of P-256.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PushKeyError> {
        let der = private_key(pem)?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => {
                EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der())
            }
            PrivateKeyDer::Sec1(der) => {
                EcdsaKeyPair::from_private_key_der(algorithm, der.secret_sec1_der())
            }
            _ => return Err(PushKeyError::NotP256),
        };
        let pair = pair.map_err(|_| PushKeyError::NotP256)?;
        let collapse = CollapseKeys::of_private_key(der.secret_der());
        Ok(Self { pair, collapse })
    }

    /// Makes a new key, as the text of a PEM file.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate_pem() -> Result<String, Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let encoded = STANDARD.encode(pair.to_pkcs8v1()?);
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        let letters: Vec<char> = encoded.chars().collect();
        for line in letters.chunks(PEM_COLUMNS) {
            pem.extend(line);
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    /// Returns the public key as an uncompressed point in base64url: `applicationServerKey` of a
    /// browser, and `k` of VAPID.
    #[must_use]
    pub fn public_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let signature = self.pair.sign(&SystemRandom::new(), message)?;
        Ok(signature.as_ref().to_vec())
    }

    pub(crate) const fn collapse(&self) -> &CollapseKeys {
        &self.collapse
    }
}

impl fmt::Debug for EcSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcSigningKey({})", self.public_text())
    }
}

/// A key of RSA that signs by RS256: that of a service account.
pub struct RsaSigningKey {
    pair: RsaKeyPair,
    collapse: CollapseKeys,
}

impl RsaSigningKey {
    /// Reads the key from a PEM text (PKCS#8 or PKCS#1).
    ///
    /// # Errors
    /// The text has no private key of RSA.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PushKeyError> {
        let der = private_key(pem)?;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(PushKeyError::NotRsa),
        };
        let pair = pair.map_err(|_| PushKeyError::NotRsa)?;
        let collapse = CollapseKeys::of_private_key(der.secret_der());
        Ok(Self { pair, collapse })
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
        Ok(signature)
    }

    pub(crate) const fn collapse(&self) -> &CollapseKeys {
        &self.collapse
    }
}

impl fmt::Debug for RsaSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaSigningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};

    use super::*;

    #[test]
    fn a_made_key_is_read_again_and_signs() {
        let pem = EcSigningKey::generate_pem().unwrap();
        let key = EcSigningKey::from_pem(pem.as_bytes()).unwrap();
        let point = URL_SAFE_NO_PAD.decode(key.public_text()).unwrap();
        assert_eq!((point.len(), point[0]), (65, 4));
        let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap();
        let signature = key.sign(b"text").unwrap();
        public.verify_sig(b"text", &signature).unwrap();
        assert!(!format!("{key:?}").contains("PRIVATE"));
        let commented = format!("Public key: {}\n{pem}", key.public_text());
        let again = EcSigningKey::from_pem(commented.as_bytes()).unwrap();
        assert_eq!(again.public_text(), key.public_text());
    }

    #[test]
    fn other_texts_and_keys_are_refused_by_what_they_lack() {
        let refused = |text: &str| EcSigningKey::from_pem(text.as_bytes()).unwrap_err();
        assert_eq!(refused(""), PushKeyError::NoPrivateKey);
        let public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
        assert_eq!(refused(public), PushKeyError::NoPrivateKey);
        let rsa = rsa_pem();
        assert_eq!(refused(&rsa), PushKeyError::NotP256);
        RsaSigningKey::from_pem(rsa.as_bytes()).unwrap();
        let ec = EcSigningKey::generate_pem().unwrap();
        let refused = RsaSigningKey::from_pem(ec.as_bytes()).unwrap_err();
        assert_eq!(refused, PushKeyError::NotRsa);
    }

    fn rsa_pem() -> String {
        use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let text = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }
}
