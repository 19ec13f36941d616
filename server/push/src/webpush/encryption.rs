//! Encryption of Web Push messages: RFC 8291, in the encoding `aes128gcm` of RFC 8188.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand;

/// Declared size of a record. There is one record, which is smaller.
const RECORD_BYTES: u32 = 4_096;
/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// Bytes of the content key.
const KEY_BYTES: usize = 16;
/// Bytes of the nonce.
const NONCE_BYTES: usize = 12;
/// Bytes of the key material that the keys of browser and server make together.
const SHARED_BYTES: usize = 32;
/// Ends the text of the last record; zeros follow.
const LAST_RECORD: u8 = 2;
/// Texts are padded to multiples of this size, so that their length tells little.
const PAD_BYTES: usize = 256;

/// Length of an output of HKDF.
struct OutputLength(usize);

impl KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const LEN: usize>(secret: &Prk, info: &[u8]) -> Result<[u8; LEN], Unspecified> {
    let mut output = [0; LEN];
    secret
        .expand(&[info], OutputLength(LEN))?
        .fill(&mut output)?;
    Ok(output)
}

/// Encrypts a text for a browser.
///
/// # Errors
/// The browser's key is not a point of P-256, or the system has no random numbers.
pub(super) fn encrypt(
    text: &str,
    public_key: &[u8],
    auth_secret: &[u8],
) -> Result<Vec<u8>, Unspecified> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt)?;
    let own = PrivateKey::generate(&ECDH_P256)?;
    let padded = (text.len() + 1).next_multiple_of(PAD_BYTES);
    encrypt_with(text.as_bytes(), public_key, auth_secret, &own, salt, padded)
}

/// Encrypts with a given key and salt, padded to at least this many bytes.
fn encrypt_with(
    text: &[u8],
    public_key: &[u8],
    auth_secret: &[u8],
    own: &PrivateKey,
    salt: [u8; SALT_BYTES],
    padded: usize,
) -> Result<Vec<u8>, Unspecified> {
    let own_public = own.compute_public_key()?;
    let info = [&b"WebPush: info\0"[..], public_key, own_public.as_ref()].concat();
    let peer = UnparsedPublicKey::new(&ECDH_P256, public_key);
    let material: [u8; SHARED_BYTES] = agree(own, peer, Unspecified, |shared| {
        let secret = Salt::new(HKDF_SHA256, auth_secret).extract(shared);
        expand(&secret, &info)
    })?;
    let secret = Salt::new(HKDF_SHA256, &salt).extract(&material);
    let key: [u8; KEY_BYTES] = expand(&secret, b"Content-Encoding: aes128gcm\0")?;
    let nonce: [u8; NONCE_BYTES] = expand(&secret, b"Content-Encoding: nonce\0")?;
    let mut record = text.to_vec();
    record.push(LAST_RECORD);
    record.resize(padded.max(record.len()), 0);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record)?;
    let id_length = u8::try_from(own_public.as_ref().len()).map_err(|_| Unspecified)?;
    let mut message = salt.to_vec();
    message.extend(RECORD_BYTES.to_be_bytes());
    message.push(id_length);
    message.extend(own_public.as_ref());
    message.append(&mut record);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// The example of RFC 8291, appendix A.
    #[test]
    fn the_example_of_the_standard_is_reproduced() {
        let text = bytes("V2hlbiBJIGdyb3cgdXAsIEkgd2FudCB0byBiZSBhIHdhdGVybWVsb24");
        let own = bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let own = PrivateKey::from_private_key(&ECDH_P256, &own).unwrap();
        let public_key = bytes(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIA\
             iw4",
        );
        let auth_secret = bytes("BTBZMqHH6r4Tts7J_aSIgg");
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let made = encrypt_with(&text, &public_key, &auth_secret, &own, salt, 0).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIg\
             Dll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXL\
             WyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(made), expected);
    }

    #[test]
    fn lengths_are_padded_and_keys_outside_of_the_curve_are_refused() {
        let browser = PrivateKey::generate(&ECDH_P256).unwrap();
        let public_key = browser.compute_public_key().unwrap();
        let lengths = [0, 5, 255].map(|length| {
            let text = "x".repeat(length);
            encrypt(&text, public_key.as_ref(), &[7; 16]).unwrap().len()
        });
        assert_eq!(lengths, [86 + 256 + 16; 3]);
        let mut wrong = [4; 65];
        assert!(encrypt("x", &wrong, &[7; 16]).is_err());
        wrong[0] = 2;
        assert!(encrypt("x", &wrong, &[7; 16]).is_err());
    }
}
