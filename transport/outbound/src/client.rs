//! The client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gimlet_listen::pem::{self, PemError, PemFile};
use gimlet_listen::tls::provider;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::Client;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::address::AddressRules;
use crate::error::OutboundError;
use crate::host_permits::HostPermits;
use crate::policy::OutboundPolicy;
use crate::resolver::{CheckedResolver, NameLookup, SystemLookup};
use crate::target::OutboundUrl;

/// Name of this server in requests.
const USER_AGENT: &str = concat!("gimlet/", env!("CARGO_PKG_VERSION"));
/// An idle connection is closed after this time, before most servers and balancers close it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection with HTTP/2 that is silent for this long during an exchange gets a ping.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Time to answer a ping, after which the connection is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer, with any status.
#[derive(Clone, Debug)]
pub struct OutboundResponse {
    /// The status. Redirects are not followed, so it can be 3xx.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A client over HTTP/1.1 and HTTP/2. Cheap to clone; clones share connections and permits.
#[derive(Clone)]
pub struct OutboundClient {
    shared: Arc<SharedClient>,
    exchange_timeout: Duration,
    max_response_bytes: usize,
}

struct SharedClient {
    rules: AddressRules,
    permits: HostPermits,
    connect_timeout: Duration,
    /// For `https://`: reaches public addresses and allowed networks.
    encrypted: Client,
    /// For `http://`: reaches allowed networks.
    plain: Client,
}

impl fmt::Debug for OutboundClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundClient")
            .field("rules", &self.shared.rules)
            .field("exchange_timeout", &self.exchange_timeout)
            .field("max_response_bytes", &self.max_response_bytes)
            .finish_non_exhaustive()
    }
}

impl OutboundClient {
    /// Creates a client that looks up hosts by the operating system.
    ///
    /// # Errors
    /// The file of additional CAs cannot be read or used.
    pub fn new(policy: &OutboundPolicy) -> Result<Self, PemError> {
        Self::with_lookup(policy, Arc::new(SystemLookup::default()))
    }

    /// Creates a client with another lookup of hosts.
    ///
    /// # Errors
    /// The file of additional CAs cannot be read or used.
    pub fn with_lookup(
        policy: &OutboundPolicy,
        lookup: Arc<dyn NameLookup>,
    ) -> Result<Self, PemError> {
        let rules = AddressRules::new(&policy.allowed);
        let tls = client_tls(policy.ca.as_ref())?;
        let client = |is_encrypted, lookup| {
            let resolver = CheckedResolver {
                lookup,
                rules: rules.clone(),
                is_encrypted,
            };
            build(policy, tls.clone(), resolver)
        };
        let shared = SharedClient {
            permits: HostPermits::new(policy.exchanges_per_host, policy.exchanges),
            connect_timeout: policy.connect_timeout,
            encrypted: client(true, Arc::clone(&lookup)),
            plain: client(false, lookup),
            rules,
        };
        Ok(Self {
            shared: Arc::new(shared),
            exchange_timeout: policy.exchange_timeout,
            max_response_bytes: policy.max_response_bytes,
        })
    }

    /// Returns a client with the same connections and another time for an exchange.
    #[must_use]
    pub fn with_timeout(&self, exchange_timeout: Duration) -> Self {
        Self {
            exchange_timeout,
            ..self.clone()
        }
    }

    /// Returns a client with the same connections and another largest answer.
    #[must_use]
    pub fn with_max_response(&self, max_response_bytes: usize) -> Self {
        Self {
            max_response_bytes,
            ..self.clone()
        }
    }

    /// Requests a resource.
    ///
    /// # Errors
    /// There is no answer, or it is too large.
    pub async fn get(
        &self,
        url: &OutboundUrl,
        headers: HeaderMap,
    ) -> Result<OutboundResponse, OutboundError> {
        self.request(Method::GET, url, headers, Bytes::new()).await
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// There is no answer, or it is too large.
    pub async fn post_json(
        &self,
        url: &OutboundUrl,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<OutboundResponse, OutboundError> {
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        self.post(url, headers, body).await
    }

    /// Posts a body whose type is in the headers.
    ///
    /// # Errors
    /// There is no answer, or it is too large.
    pub async fn post(
        &self,
        url: &OutboundUrl,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<OutboundResponse, OutboundError> {
        self.request(Method::POST, url, headers, body).await
    }

    /// Makes a request with any method.
    ///
    /// # Errors
    /// There is no answer, or it is too large.
    pub async fn request(
        &self,
        method: Method,
        url: &OutboundUrl,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<OutboundResponse, OutboundError> {
        // The resolver is not asked about IP addresses.
        if let Some(address) = url.literal()
            && !self.shared.rules.permits(address, url.is_encrypted())
        {
            return Err(OutboundError::refused(url, address));
        }
        let limit = self.exchange_timeout;
        let answer = timeout(limit, self.run(method, url, headers, body)).await;
        answer.unwrap_or_else(|_| {
            let host = url.host().to_owned();
            Err(OutboundError::Timeout { host, limit })
        })
    }

    /// Runs an exchange without a deadline. To drop it closes its connection, or with HTTP/2 its
    /// stream.
    async fn run(
        &self,
        method: Method,
        url: &OutboundUrl,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<OutboundResponse, OutboundError> {
        let shared = &self.shared;
        let _permit = shared.permits.acquire(url.authority()).await;
        let client = if url.is_encrypted() {
            &shared.encrypted
        } else {
            &shared.plain
        };
        let request = client.request(method, url.url().clone());
        let request = request.headers(headers).body(body);
        let broken =
            |error: reqwest::Error| OutboundError::classify(&error, url, shared.connect_timeout);
        let mut answer = request.send().await.map_err(broken)?;
        let limit = self.max_response_bytes;
        let too_large = || OutboundError::TooLarge {
            host: url.host().to_owned(),
            limit,
        };
        let declared = answer.content_length().unwrap_or_default();
        if usize::try_from(declared).map_or(true, |declared| declared > limit) {
            return Err(too_large());
        }
        let mut received = BytesMut::new();
        while let Some(piece) = answer.chunk().await.map_err(broken)? {
            if received.len().saturating_add(piece.len()) > limit {
                return Err(too_large());
            }
            received.extend_from_slice(&piece);
        }
        Ok(OutboundResponse {
            status: answer.status(),
            headers: std::mem::take(answer.headers_mut()),
            body: received.freeze(),
        })
    }
}

fn build(policy: &OutboundPolicy, tls: ClientConfig, resolver: CheckedResolver) -> Client {
    let client = Client::builder()
        .https_only(resolver.is_encrypted)
        .dns_resolver(Arc::new(resolver))
        .use_preconfigured_tls(tls)
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(policy.connect_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(policy.exchanges_per_host)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .build();
    client.expect("the TLS configuration is given, and nothing else can fail")
}

/// Returns TLS for clients that trusts the public CAs, and those of a file.
///
/// # Errors
/// The file cannot be read or used.
#[expect(clippy::missing_panics_doc, reason = "aws-lc has the ciphers")]
pub fn client_tls(ca: Option<&PemFile>) -> Result<ClientConfig, PemError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(file) = ca {
        let text = std::fs::read(&file.path).map_err(|source| PemError::Unreadable {
            file: file.clone(),
            source,
        })?;
        roots.roots.extend(pem::authorities(file, &text)?.roots);
    }
    let mut tls = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("aws-lc has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}
