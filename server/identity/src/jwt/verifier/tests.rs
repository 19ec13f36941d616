//! Tokens made by an independent implementation (Node's `crypto`), forged ones, and wrong claims.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::time::UnixTimestamp;
use serde_json::{Value, json};

use super::*;
use crate::jwt::{JwtKeyError, read_key_set};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../../tests/samples/", $name))
    };
}

const HS256: &str = sample!("hs256.jwt");
const SIGNED_BY_KEYS: [(&str, &str); 3] = [
    (sample!("rs256.jwt"), sample!("rsa.pem")),
    (sample!("es256.jwt"), sample!("ec.pem")),
    (sample!("eddsa.jwt"), sample!("ed.pem")),
];

fn secret() -> VerificationKey {
    VerificationKey::secret(None, SECRET).unwrap()
}

fn pem(text: &str) -> VerificationKey {
    VerificationKey::public_pem(text.as_bytes()).unwrap()
}

fn of_set(secrets: bool) -> SignatureVerifier {
    let keys = read_key_set(sample!("keys.json").as_bytes(), secrets).unwrap();
    SignatureVerifier::new(keys, None)
}

async fn refusal(verifier: &SignatureVerifier, token: &str) -> String {
    let refusal = verifier.verify(token.trim()).await.unwrap_err();
    assert_eq!(refusal.code(), 10_000, "{refusal}");
    refusal.to_string()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Makes a token for HS256 with these claims.
fn made(header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn tokens_of_another_implementation_are_verified_with_each_algorithm() {
    let one = SignatureVerifier::new(vec![secret()], None);
    let mut verifiers = vec![(HS256, one), (HS256, of_set(true))];
    for (token, key) in SIGNED_BY_KEYS {
        verifiers.push((token, SignatureVerifier::new(vec![pem(key)], None)));
        verifiers.push((token, of_set(false)));
    }
    for (token, verifier) in verifiers {
        let claims = verifier.verify(token.trim()).await.unwrap();
        let want = JwtClaims {
            user: UserId::new(5).unwrap(),
            device: DeviceId::new(7),
            audiences: vec!["gimlet".into()],
            expires_at: UnixTimestamp(4_102_444_800_000),
            not_before: None,
            issued_at: Some(UnixTimestamp(1_700_000_000_000)),
            id: Some("one".into()),
            nickname: Some("Zoë".into()),
            avatar_url: Some("https://example.org/z".into()),
        };
        assert_eq!(claims, want);
        let claimed = verifier.claimed(token.trim()).unwrap();
        assert_eq!((claimed.user, claimed.device), (want.user, want.device));
    }
}

#[tokio::test]
async fn a_token_of_another_key_or_with_another_byte_is_forged() {
    let other = VerificationKey::secret(None, &[7; 32]).unwrap();
    let text = refusal(&SignatureVerifier::new(vec![other], None), HS256).await;
    assert!(text.contains("signature of the JWT is wrong"), "{text}");
    let keys = || vec![secret(), pem(sample!("rsa.pem"))];
    let verifier = SignatureVerifier::new(keys(), None);
    for token in [HS256, SIGNED_BY_KEYS[0].0] {
        let (head, rest) = token.trim().split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let forged = part(&json!({"sub": "6", "aud": "gimlet", "exp": 4_102_444_800_i64}));
        let text = refusal(&verifier, &format!("{head}.{forged}.{signature}")).await;
        assert!(text.contains("signature of the JWT is wrong"), "{text}");
        let text = refusal(&verifier, &format!("{head}.{rest}AAAA")).await;
        assert!(text.contains("wrong"), "{text}");
        let text = refusal(&verifier, &format!("{head}.{forged}.")).await;
        assert!(text.contains("wrong"), "{text}");
    }
}

/// An attacker knows the public key, and signs with its text as the secret of HS256.
#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    let confused = sample!("confused.jwt");
    let with_secret = vec![secret(), pem(sample!("rsa.pem"))];
    for (verifier, why) in [
        (
            SignatureVerifier::new(vec![pem(sample!("rsa.pem"))], None),
            "no key",
        ),
        (SignatureVerifier::new(with_secret, None), "wrong"),
        (of_set(false), "no key"),
        (of_set(true), "no key"),
    ] {
        let text = refusal(&verifier, confused).await;
        assert!(text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn a_token_without_a_signature_or_with_another_algorithm_is_refused() {
    let verifier = of_set(true);
    let claims = json!({"sub": "5", "aud": "gimlet", "exp": 4_102_444_800_i64});
    for alg in [
        "none", "None", "NONE", "", "HS512", "RS512", "PS256", "ES384", "hs256",
    ] {
        let unsigned = format!("{}.{}.", part(&json!({"alg": alg})), part(&claims));
        let text = refusal(&verifier, &unsigned).await;
        assert!(
            text.contains("HS256, RS256, ES256 and EdDSA"),
            "{alg}: {text}"
        );
    }
    let text = refusal(
        &verifier,
        &format!("{}.{}.", part(&json!({})), part(&claims)),
    )
    .await;
    assert!(text.contains("alg"), "{text}");
    let unknown = made(&json!({"alg": "HS256", "kid": "other"}), &claims);
    let text = refusal(&verifier, &unknown).await;
    assert!(text.contains("alg and kid"), "{text}");
    let extended = made(
        &json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
        &claims,
    );
    let text = refusal(&verifier, &extended).await;
    assert!(text.contains("crit"), "{text}");
}

#[tokio::test]
async fn text_that_is_not_a_token_is_refused() {
    let verifier = of_set(true);
    let object = part(&json!({"alg": "HS256"}));
    let list = part(&json!(["HS256"]));
    let huge = format!("e{}.e30.", "A".repeat(8 * 1024));
    for (token, why) in [
        ("", "three parts"),
        ("e30", "three parts"),
        ("e30.e30", "three parts"),
        ("e3.e30.", "header"),
        ("{}.e30.", "header"),
        (&format!("{list}.e30."), "header"),
        (&format!("{object}.{list}."), "claims"),
        (&format!("{object}.e30=.e30"), "claims"),
        (&format!("{object}.e30.+/"), "signature"),
        (&format!("{object}.e30.a.b"), "claims"),
        (&huge, "8192 bytes"),
    ] {
        let text = refusal(&verifier, token).await;
        assert!(text.contains(why), "{token}: {text}");
        assert_eq!(verifier.claimed(token), None);
    }
}

#[tokio::test]
async fn each_claim_must_have_its_form() {
    let verifier = SignatureVerifier::new(vec![secret()], None);
    let whole = json!({"sub": "5", "aud": ["x", "gimlet"], "exp": 4_102_444_800.5});
    let header = json!({"alg": "HS256"});
    let claims = verifier.verify(&made(&header, &whole)).await.unwrap();
    assert_eq!(claims.audiences, ["x", "gimlet"]);
    assert_eq!(claims.expires_at, UnixTimestamp(4_102_444_800_000));
    for (name, value, why) in [
        ("sub", None, "no claim sub"),
        ("sub", Some(json!("ann")), "claim sub"),
        ("sub", Some(json!("0")), "claim sub"),
        ("sub", Some(json!(-5)), "claim sub"),
        ("sub", Some(json!("9223372036854775808")), "claim sub"),
        ("exp", None, "no claim exp"),
        ("exp", Some(json!("4102444800")), "claim exp"),
        ("exp", Some(json!(null)), "claim exp"),
        ("aud", None, "no claim aud"),
        ("aud", Some(json!(5)), "claim aud"),
        ("aud", Some(json!(["gimlet", 5])), "claim aud"),
        ("device", Some(json!("phone")), "claim device"),
        ("device", Some(json!(0)), "claim device"),
        ("nbf", Some(json!("now")), "claim nbf"),
        ("iat", Some(json!([])), "claim iat"),
        ("jti", Some(json!(5)), "claim jti"),
        ("name", Some(json!({})), "claim name"),
        ("avatar", Some(json!(5)), "claim avatar"),
    ] {
        let mut wrong = whole.clone();
        let fields = wrong.as_object_mut().unwrap();
        fields.remove(name);
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
        let text = refusal(&verifier, &made(&header, &wrong)).await;
        assert!(text.contains(why), "{wrong}: {text}");
    }
}

#[test]
fn a_key_that_cannot_be_used_says_why() {
    let short = VerificationKey::secret(None, &SECRET[1..]).unwrap_err();
    assert_eq!(short, JwtKeyError::ShortSecret);
    let read = |text: &str| VerificationKey::public_pem(text.as_bytes()).unwrap_err();
    assert_eq!(read(""), JwtKeyError::NoPublicKey);
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(read(private), JwtKeyError::PrivateKey);
    assert_eq!(read(sample!("small.pem")), JwtKeyError::Unsupported);
    assert_eq!(read(sample!("ec384.pem")), JwtKeyError::Unsupported);
    let shown = format!("{:?}", secret());
    assert!(!shown.contains("0123"), "{shown}");
    for (text, why) in [
        ("<html>", "not JSON"),
        ("{}", "list `keys`"),
        ("[]", "list `keys`"),
        (r#"{"keys":[]}"#, "no key"),
        (
            r#"{"keys":[1,{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#,
            "no key",
        ),
    ] {
        let error = read_key_set(text.as_bytes(), true).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    let many = json!({"keys": vec![json!({}); 65]}).to_string();
    assert!(
        read_key_set(many.as_bytes(), true)
            .unwrap_err()
            .contains("64")
    );
}
