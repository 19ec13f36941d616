//! Clients of the programs of webhooks: their addresses, secrets and signatures.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::events::HookName;
use gimlet_core::time::TimeSource;
use gimlet_outbound::signature::{SigningSecret, WebhookSigner};
use gimlet_outbound::{
    AddressRules, OutboundClient, OutboundError, OutboundPolicy, OutboundResponse, OutboundUrl,
};
use http::HeaderMap;

use crate::body::SignedBody;

/// Networks that `allow_private` allows. Those of link-local addresses are not among them: clouds
/// answer their guests' questions about themselves there.
const PRIVATE_NETWORKS: [&str; 7] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
];

/// A webhook could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("webhook {hook} cannot start: {reason}")]
pub struct WebhookStartError {
    /// The webhook.
    pub hook: HookName,
    /// The reason.
    pub reason: String,
}

/// Checks the address of a webhook.
///
/// # Errors
/// A text that says what would be right.
pub fn check_url(url: &str, allow_private: bool) -> Result<(), String> {
    let url = url.parse::<OutboundUrl>();
    let url = url.map_err(|right| right.to_string())?;
    if !url.is_encrypted() && !allow_private {
        return Err(
            "write an address that begins with https://, or set allow_private = true for a program in \
             a private network"
                .into(),
        );
    }
    // A name is looked up at each connect; an address that is written out is known now.
    let host = url.host().trim_start_matches('[').trim_end_matches(']');
    let Ok(address) = host.parse::<IpAddr>() else {
        return Ok(());
    };
    let mut policy = OutboundPolicy::default();
    if allow_private {
        allow_private_networks(&mut policy);
    }
    if AddressRules::new(&policy.allowed).permits(address, url.is_encrypted()) {
        return Ok(());
    }
    Err(refused_address(address))
}

/// Returns the text about an address that a webhook may not reach, with what would be right.
fn refused_address(address: IpAddr) -> String {
    let mut private = OutboundPolicy::default();
    allow_private_networks(&mut private);
    if AddressRules::new(&private.allowed).permits(address, false) {
        format!(
            "{address} is in a private network; set allow_private = true if the program is there"
        )
    } else {
        format!(
            "a webhook never reaches {address} this way: write the address of the program itself, \
             with https:// if it is public"
        )
    }
}

/// Returns the text about an exchange without an answer, in the words of a webhook's settings.
pub(crate) fn failure_text(error: &OutboundError) -> String {
    match error {
        OutboundError::RefusedAddress { host, address }
        | OutboundError::Unencrypted { host, address } => {
            format!("{host} cannot be called: {}", refused_address(*address))
        }
        other => other.to_string(),
    }
}

/// Checks a secret.
///
/// # Errors
/// A text that says what would be right.
pub fn check_secret(secret: &str) -> Result<(), String> {
    let parsed: Result<SigningSecret, _> = secret.parse();
    parsed.map(|_| ()).map_err(|right| right.to_string())
}

fn allow_private_networks(policy: &mut OutboundPolicy) {
    for network in PRIVATE_NETWORKS {
        if let Ok(network) = network.parse() {
            policy.allowed.push(network);
        }
    }
}

/// The connection to the program of a webhook.
#[derive(Clone)]
pub struct HookConnection {
    /// The name.
    pub name: HookName,
    /// The address.
    pub url: String,
    /// The secrets; requests are signed with each.
    pub secrets: Vec<String>,
    /// Set if the program may be in a private network, without TLS.
    pub allow_private: bool,
    /// Time for an answer.
    pub timeout: Duration,
    /// Maximum number of requests at a time.
    pub concurrency: usize,
}

impl fmt::Debug for HookConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookConnection")
            .field("name", &self.name)
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

/// A client of a program, with its address and its signer.
#[derive(Clone, Debug)]
pub(crate) struct SignedClient {
    pub(crate) client: OutboundClient,
    pub(crate) url: OutboundUrl,
    pub(crate) signer: WebhookSigner,
    pub(crate) clock: Arc<dyn TimeSource>,
}

impl SignedClient {
    /// Posts a signed body. The signature is made anew at each attempt, with the time of it.
    pub(crate) async fn post(&self, body: SignedBody) -> Result<OutboundResponse, OutboundError> {
        let headers = self.signature(&body)?;
        self.client.post_json(&self.url, headers, body.text).await
    }

    /// Posts a signed body that is not JSON; its type is among the headers.
    pub(crate) async fn post_as(
        &self,
        body: SignedBody,
        mut headers: HeaderMap,
    ) -> Result<OutboundResponse, OutboundError> {
        headers.extend(self.signature(&body)?);
        self.client.post(&self.url, headers, body.text).await
    }

    fn signature(&self, body: &SignedBody) -> Result<HeaderMap, OutboundError> {
        let now = u64::try_from(self.clock.now().seconds()).unwrap_or_default();
        let signed = self.signer.sign(&body.id, now, &body.text);
        signed.map_err(|error| OutboundError::Broken {
            host: self.url.host().to_owned(),
            reason: error.to_string(),
        })
    }
}

impl HookConnection {
    /// Opens the client of this program. It has connections and permits of its own, so that a slow
    /// program does not take those of another.
    pub(crate) fn open(
        &self,
        base: &OutboundPolicy,
        timeout: Duration,
        clock: Arc<dyn TimeSource>,
    ) -> Result<SignedClient, WebhookStartError> {
        let failed = |reason: String| WebhookStartError {
            hook: self.name.clone(),
            reason,
        };
        check_url(&self.url, self.allow_private).map_err(failed)?;
        let url = self.url.parse::<OutboundUrl>();
        let url = url.map_err(|right| failed(right.to_string()))?;
        let secrets = self.secrets.iter().map(|secret| secret.parse());
        let secrets: Result<Vec<SigningSecret>, _> = secrets.collect();
        let secrets = secrets.map_err(|right| failed(right.to_string()))?;
        let mut policy = base.clone();
        if self.allow_private {
            allow_private_networks(&mut policy);
        }
        policy.exchange_timeout = timeout;
        policy.connect_timeout = policy.connect_timeout.min(timeout);
        // One more than the worker uses: for the test by an operator.
        policy.exchanges_per_host = self.concurrency.saturating_add(1);
        policy.exchanges = policy.exchanges_per_host;
        let client = OutboundClient::new(&policy).map_err(|error| failed(error.to_string()))?;
        Ok(SignedClient {
            client,
            url,
            signer: WebhookSigner::new(secrets),
            clock,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_needs_a_private_network() {
        assert_eq!(check_url("https://app.example.com/hook", false), Ok(()));
        assert_eq!(check_url("http://10.0.0.7:9000/hook", true), Ok(()));
        let refused = check_url("http://10.0.0.7:9000/hook", false).unwrap_err();
        assert!(refused.contains("https://") && refused.contains("allow_private"));
        for wrong in ["", "app.example.com", "ftp://a", "https://a:b@c/"] {
            assert!(check_url(wrong, true).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_that_is_written_out_is_checked_at_once() {
        assert_eq!(check_url("https://93.184.216.34/hook", false), Ok(()));
        assert_eq!(check_url("https://[::1]:9000/hook", true), Ok(()));
        for (url, allow_private, word) in [
            ("https://127.0.0.1/", false, "allow_private = true"),
            ("https://[fd00::1]/", false, "allow_private = true"),
            ("http://169.254.169.254/", true, "never reaches"),
            ("https://169.254.169.254/", false, "never reaches"),
            ("http://93.184.216.34/", true, "https://"),
        ] {
            let text = check_url(url, allow_private).unwrap_err();
            assert!(text.contains(word), "{url}: {text}");
        }
    }

    #[test]
    fn a_refused_address_names_the_setting_of_a_webhook_and_never_opens_link_local() {
        let text = |address: &str| {
            failure_text(&OutboundError::RefusedAddress {
                host: "hooks.example".into(),
                address: address.parse().unwrap(),
            })
        };
        assert!(text("10.0.0.7").contains("allow_private = true"));
        for address in ["10.0.0.7", "169.254.169.254", "fe80::1"] {
            assert!(!text(address).contains("outbound.allow"), "{address}");
        }
        assert!(!text("169.254.169.254").contains("allow_private"));
    }

    #[test]
    fn a_weak_secret_is_refused() {
        let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(check_secret(good), Ok(()));
        let refused = check_secret("s3cret").unwrap_err();
        assert!(refused.contains("whsec_") && !refused.contains("s3cret"));
    }

    #[test]
    fn every_private_network_is_a_network() {
        let mut policy = OutboundPolicy::default();
        allow_private_networks(&mut policy);
        assert_eq!(policy.allowed.len(), PRIVATE_NETWORKS.len());
    }
}
