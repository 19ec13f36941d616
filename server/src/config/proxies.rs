//! Proxies in front of the listeners: which are believed, and the rules for that.

use gimlet_listen::TrustedProxies;
use gimlet_listen::forwarded::ForwardedHeaders;

use super::Config;
use super::load::env_name;

impl Config {
    /// Returns the proxies that are believed, and the header that they write.
    pub(crate) fn forwarding(&self) -> ForwardedHeaders {
        ForwardedHeaders {
            trusted: TrustedProxies::new(&self.proxies.trusted_proxies),
            header: self.proxies.forwarded_header,
        }
    }

    pub(super) fn check_proxies(&self, problems: &mut Vec<String>) {
        let (trusted, protocol) = (&self.proxies.trusted_proxies, &self.proxies.proxy_protocol);
        if trusted.is_empty() && !protocol.is_empty() {
            problems.push(format!(
                "listen.proxy_protocol is set and listen.trusted_proxies is not, so no proxy would be \
                 believed; set {} to the networks of your proxies",
                env_name("listen.trusted_proxies")
            ));
        }
        if self.is_development() && !trusted.is_empty() {
            problems.push(format!(
                "listen.trusted_proxies is set, but a development run refuses everything that comes \
                 through a proxy; set {} to your code checker, or leave the proxies out",
                env_name("business.code_verifier")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CodeVerifier, ListenerName, SecretString};
    use super::*;

    #[test]
    fn proxies_are_believed_by_their_networks_and_never_in_development() {
        let mut config = Config::default();
        config.business.code_verifier = CodeVerifier::Fixed(SecretString::new("1"));
        config.proxies.proxy_protocol = vec![ListenerName::Tcp];
        let text = config.check().unwrap_err().to_string();
        assert!(text.contains("GIMLET_LISTEN__TRUSTED_PROXIES"), "{text}");
        config.proxies.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(config.check().is_ok());
        assert!(config.masked().contains("trusted_proxies = \"10.0.0.0/8\""));
        config.business.code_verifier = CodeVerifier::Development;
        let text = config.check().unwrap_err().to_string();
        assert!(text.contains("GIMLET_BUSINESS__CODE_VERIFIER"), "{text}");
    }
}
