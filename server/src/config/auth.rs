//! Checks of `[auth]`, `[outbound]` and of a business server over HTTP, and what they are made of.

use std::fs;

use gimlet_identity::jwt::{JwksSource, SignatureVerifier, VerificationKey, read_key_set};
use gimlet_identity::outbound::signature::{SigningSecret, WebhookSigner};
use gimlet_identity::outbound::{OutboundClient, OutboundPolicy, OutboundUrl};
use gimlet_listen::pem::PemFile;

use super::Config;
use super::codec::without_password;
use super::load::env_name;
use super::problem::ConfigNotice;
use super::values::{BusinessKind, CodeVerifier, NodeRole};
use crate::secret::SecretString;

impl Config {
    /// Returns whether JWTs are accepted.
    pub(crate) fn has_jwt_keys(&self) -> bool {
        let auth = &self.auth;
        !auth.jwt_secrets.is_empty()
            || !auth.jwt_public_keys.is_empty()
            || auth.jwt_keys_file.is_some()
            || auth.jwt_keys_url.is_some()
    }

    /// Returns the bounds of calls to others.
    pub(crate) fn outbound_policy(&self) -> OutboundPolicy {
        let ca = self.outbound.ca.as_ref().map(|path| PemFile {
            setting: "outbound.ca",
            path: path.into(),
        });
        OutboundPolicy {
            allowed: self.outbound.allow.clone(),
            ca,
            ..OutboundPolicy::default()
        }
    }

    /// Loads the keys of JWTs; `None` if there are none.
    ///
    /// # Errors
    /// A setting that cannot be used, and what would be right.
    pub(crate) fn jwt_verifier(
        &self,
        client: &OutboundClient,
    ) -> Result<Option<SignatureVerifier>, String> {
        if !self.has_jwt_keys() {
            return Ok(None);
        }
        let auth = &self.auth;
        let mut keys = Vec::new();
        for secret in &auth.jwt_secrets {
            let key = VerificationKey::secret(None, secret.reveal().as_bytes());
            keys.push(key.map_err(|error| format!("auth.jwt_secrets has a short one: {error}"))?);
        }
        for path in &auth.jwt_public_keys {
            let unusable = |why: String| format!("auth.jwt_public_keys has \"{path}\": {why}");
            let text = fs::read(path).map_err(|error| unusable(unreadable(&error)))?;
            let key = VerificationKey::public_pem(&text);
            keys.push(key.map_err(|error| unusable(error.to_string()))?);
        }
        if let Some(path) = &auth.jwt_keys_file {
            let unusable = |why: String| format!("auth.jwt_keys_file = \"{path}\": {why}");
            let text = fs::read(path).map_err(|error| unusable(unreadable(&error)))?;
            keys.extend(read_key_set(&text, true).map_err(unusable)?);
        }
        let url = auth.jwt_keys_url.as_deref();
        let url = url
            .map(|url| target("auth.jwt_keys_url", url))
            .transpose()?;
        let source = url.map(|url| JwksSource::new(client, url));
        Ok(Some(SignatureVerifier::new(keys, source)))
    }

    /// Returns address and signer of the business server, if it is one over HTTP.
    ///
    /// # Errors
    /// A setting that is missing or wrong, and what would be right.
    pub(crate) fn http_business(&self) -> Result<Option<(OutboundUrl, WebhookSigner)>, String> {
        let business = &self.business;
        let is_used = business.kind == BusinessKind::Http && !self.roles.has(NodeRole::Business);
        if !is_used {
            return Ok(None);
        }
        let url = business.url.as_deref().ok_or_else(|| {
            let env = env_name("business.url");
            format!("business.url is not set, and business.kind = \"http\" needs it; set {env}")
        })?;
        let url = target("business.url", url)?;
        if business.secrets.is_empty() {
            let env = env_name("business.secrets");
            return Err(format!(
                "business.secrets is not set, and without it the business server cannot tell \
                 gimlet's questions from those of others; set {env} to whsec_ and the output of \
                 openssl rand -base64 32"
            ));
        }
        let secrets = business.secrets.iter().map(SecretString::reveal);
        let secrets = secrets.map(str::parse::<SigningSecret>);
        let secrets = secrets.collect::<Result<Vec<_>, _>>();
        let secrets = secrets.map_err(|error| format!("business.secrets: {error}"))?;
        Ok(Some((url, WebhookSigner::new(secrets))))
    }

    pub(super) fn check_auth(&self, problems: &mut Vec<String>) {
        let (auth, business) = (&self.auth, &self.business);
        match (self.has_jwt_keys(), &auth.jwt_audience) {
            (true, None) => problems.push(format!(
                "auth.jwt_audience is not set, and tokens for other services must not be accepted \
                 here; set {} to the aud of your tokens",
                env_name("auth.jwt_audience")
            )),
            (false, Some(_)) => problems.push(
                "auth.jwt_audience is set, but no key of JWTs is; set auth.jwt_secrets, \
                 auth.jwt_public_keys, auth.jwt_keys_file or auth.jwt_keys_url"
                    .into(),
            ),
            _ => {}
        }
        match OutboundClient::new(&self.outbound_policy()) {
            Ok(client) => problems.extend(self.jwt_verifier(&client).err()),
            Err(error) => problems.push(error.to_string()),
        }
        problems.extend(self.http_business().err());
        if business.kind == BusinessKind::Http && self.roles.has(NodeRole::Business) {
            problems.push(format!(
                "business.kind = \"http\", but roles names business, which is gimlet's own; set {} \
                 to connect,logic",
                env_name("roles")
            ));
        }
        if business.kind == BusinessKind::Http && !self.cluster.business.is_empty() {
            problems.push(
                "cluster.business is set, but business.kind = \"http\" does not use it; leave it out"
                    .into(),
            );
        }
        if business.kind == BusinessKind::Grpc && business.url.is_some() {
            problems.push(
                "business.url is set, but business.kind = \"grpc\" does not use it; leave it out, or \
                 set business.kind to http"
                    .into(),
            );
        }
    }

    /// Returns the notice about two sources of users.
    pub(super) fn jwt_notice(&self) -> Option<ConfigNotice> {
        let has_codes = self.business.code_verifier != CodeVerifier::Unset;
        let both = self.has_jwt_keys() && has_codes && self.roles.has(NodeRole::Business);
        both.then_some(ConfigNotice(
            "users sign in with codes and with JWTs: the sub of a JWT must be the id that gimlet gave \
             the user, or two people share an inbox; leave business.code_verifier out if your backend \
             has ids of its own",
        ))
    }
}

fn unreadable(error: &std::io::Error) -> String {
    format!("it cannot be read ({error}); name a file that gimlet's user may read")
}

fn target(setting: &str, url: &str) -> Result<OutboundUrl, String> {
    let shown = without_password(url);
    url.parse::<OutboundUrl>()
        .map_err(|error| format!("{setting} = \"{shown}\": {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::NodeRoles;
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const SIGNING: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn with_jwts() -> Config {
        let mut config = Config::default();
        config.auth.jwt_audience = Some("gimlet".into());
        config.auth.jwt_secrets = vec![SecretString::new(SECRET)];
        config
    }

    fn over_http() -> Config {
        let mut config = Config {
            roles: NodeRoles(vec![NodeRole::Connect, NodeRole::Logic]),
            ..Config::default()
        };
        config.business.kind = BusinessKind::Http;
        config.business.url = Some("https://app.example.com/gimlet".into());
        config.business.secrets = vec![SecretString::new(SIGNING)];
        config
    }

    fn refusal(mut config: Config, change: impl FnOnce(&mut Config)) -> String {
        config.check().unwrap();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn keys_of_jwts_are_checked_before_the_start() {
        let text = refusal(with_jwts(), |c| c.auth.jwt_audience = None);
        assert!(text.contains("GIMLET_AUTH__JWT_AUDIENCE"), "{text}");
        let text = refusal(with_jwts(), |c| {
            c.auth.jwt_secrets = vec![SecretString::new(&SECRET[1..])];
        });
        assert!(text.contains("at least 32 bytes"), "{text}");
        assert!(!text.contains(&SECRET[1..]), "{text}");
        let text = refusal(with_jwts(), |c| {
            c.auth.jwt_public_keys = vec!["/nonexistent.pem".into()];
        });
        assert!(
            text.contains("\"/nonexistent.pem\": it cannot be read"),
            "{text}"
        );
        let text = refusal(with_jwts(), |c| {
            c.auth.jwt_keys_url = Some("https://u:pass@idp.example.com".into());
        });
        assert!(
            text.contains("auth.jwt_keys_url") && !text.contains("pass@"),
            "{text}"
        );
        let text = refusal(with_jwts(), |c| {
            c.outbound.ca = Some("/nonexistent.pem".into());
        });
        assert!(text.contains("outbound.ca"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        fs::write(&file, "{\"keys\": []}").unwrap();
        let text = refusal(with_jwts(), |c| {
            c.auth.jwt_keys_file = Some(file.display().to_string());
        });
        assert!(text.contains("auth.jwt_keys_file"), "{text}");
    }

    #[test]
    fn an_audience_without_keys_accepts_nothing() {
        let mut config = with_jwts();
        config.business.code_verifier = CodeVerifier::Development;
        let notices = config.check().unwrap();
        assert!(notices.iter().any(|it| it.0.contains("with JWTs")));
        config.auth.jwt_secrets.clear();
        let text = config.check().unwrap_err().to_string();
        assert!(text.contains("auth.jwt_secrets"), "{text}");
    }

    #[test]
    fn a_business_server_over_http_needs_address_and_secret() {
        for (text, named) in [
            (
                refusal(over_http(), |c| c.business.url = None),
                "BUSINESS__URL",
            ),
            (
                refusal(over_http(), |c| c.business.url = Some("app".into())),
                "https://",
            ),
            (
                refusal(over_http(), |c| c.business.secrets.clear()),
                "openssl rand",
            ),
            (
                refusal(over_http(), |c| {
                    c.business.secrets.push(SecretString::new("x"));
                }),
                "whsec_",
            ),
            (
                refusal(over_http(), |c| c.roles = NodeRoles::default()),
                "GIMLET_ROLES",
            ),
            (
                refusal(over_http(), |c| c.cluster.business = vec!["a:1".into()]),
                "cluster.business is set",
            ),
            (
                refusal(over_http(), |c| c.business.kind = BusinessKind::Grpc),
                "business.kind to http",
            ),
        ] {
            assert!(text.contains(named), "{named}: {text}");
        }
    }
}
