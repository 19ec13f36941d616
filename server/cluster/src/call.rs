//! Shared parts of every call between nodes: the protocol's version, the secret, and a channel with
//! deadlines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::tls::NodeTls;

/// The version of `gimlet.node.v1` that this node speaks.
const VERSION: &str = "1";
/// The metadata key of the version.
const VERSION_KEY: &str = "gimlet-node-version";

/// Time limit for making a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);
/// Interval of pings on a quiet connection, so that a node that is frozen or cut off is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// An unanswered ping ends the connection after this.
const PING_TIMEOUT: Duration = Duration::from_millis(1_500);
/// HTTP/2 windows in bytes: of one stream, and of one connection.
const WINDOW_BYTES: (u32, u32) = (1 << 20, 4 << 20);

/// Prefix of addresses that are called without TLS.
const PLAIN: &str = "http://";

/// The metadata key of the caller's cluster.
const CLUSTER_KEY: &str = "gimlet-cluster";

/// The identity of the cluster that this node belongs to, once it is known. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ClusterId(Arc<AtomicU64>);

impl ClusterId {
    /// Wraps the cell in which the storage keeps it; 0 while it is not known.
    #[must_use]
    pub const fn new(cell: Arc<AtomicU64>) -> Self {
        Self(cell)
    }

    fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|it| *it != 0)
    }
}

/// The largest answer or stream item between nodes, in bytes.
pub(super) const MESSAGE_MAX_BYTES: usize = 16 << 20;

/// A channel to one node.
pub type NodeChannel = InterceptedService<Channel, CredentialInterceptor>;

/// The credentials with which this node calls others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeCredentials {
    credentials: CredentialInterceptor,
    /// TLS to other nodes, if the cluster uses it.
    tls: Option<NodeTls>,
}

/// Adds version, cluster and secret to each request.
#[derive(Clone, Debug)]
pub struct CredentialInterceptor {
    authorization: Option<MetadataValue<Ascii>>,
    cluster: ClusterId,
}

impl Interceptor for CredentialInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(VERSION_KEY, MetadataValue::from_static(VERSION));
        if let Some(cluster) = self.cluster.get() {
            let text = format!("{cluster:016x}");
            let value = text.parse();
            metadata.insert(CLUSTER_KEY, value.expect("hexadecimal digits are ASCII"));
        }
        if let Some(authorization) = &self.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

impl NodeCredentials {
    /// Creates credentials with this secret and this cluster.
    ///
    /// # Errors
    /// The secret cannot be written in metadata.
    pub fn new(secret: Option<&str>, cluster: ClusterId) -> Result<Self, &'static str> {
        let authorization = secret.map(bearer).transpose()?;
        let credentials = CredentialInterceptor {
            authorization,
            cluster,
        };
        Ok(Self {
            credentials,
            tls: None,
        })
    }

    /// Calls by TLS, except addresses that begin with `http://`.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<NodeTls>) -> Self {
        self.tls = tls;
        self
    }

    /// Creates a channel to this address; it connects at its first use and reconnects when it
    /// broke.
    ///
    /// # Errors
    /// The address is not valid.
    pub fn channel(&self, address: &str) -> Result<NodeChannel, tonic::transport::Error> {
        let credentials = self.credentials.clone();
        let endpoint = endpoint(address)?.keep_alive_while_idle(true);
        let channel = self.connect(address, &endpoint);
        Ok(InterceptedService::new(channel, credentials))
    }

    /// Creates a channel without credentials, to a server that is not gimlet's. It is pinged only
    /// while a call waits: gRPC's own servers close connections of callers that ping while no call
    /// is open.
    ///
    /// # Errors
    /// The address is not valid.
    pub(super) fn plain(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        Ok(self.connect(address, &endpoint(address)?))
    }

    fn connect(&self, address: &str, endpoint: &Endpoint) -> Channel {
        match &self.tls {
            Some(tls) if !address.starts_with(PLAIN) => {
                endpoint.connect_with_connector_lazy(tls.clone())
            }
            _ => endpoint.connect_lazy(),
        }
    }

    /// Returns the secret's metadata, for services that are not gimlet's and know no version.
    pub(super) fn authorization(&self) -> Option<MetadataValue<Ascii>> {
        self.credentials.authorization.clone()
    }
}

fn bearer(secret: &str) -> Result<MetadataValue<Ascii>, &'static str> {
    let text = format!("Bearer {secret}");
    let mut value: MetadataValue<Ascii> = text
        .parse()
        .map_err(|_| "write it in visible ASCII characters")?;
    value.set_sensitive(true);
    Ok(value)
}

fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    let (stream, connection) = WINDOW_BYTES;
    Ok(Endpoint::from_shared(uri(address))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(stream)
        .initial_connection_window_size(connection))
}

fn uri(address: &str) -> String {
    if address.contains("://") {
        address.to_owned()
    } else {
        format!("{PLAIN}{address}")
    }
}

/// Checks that another node can be called at this address.
///
/// # Errors
/// The text says what would be right.
pub fn check_address(address: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = "write host:port, for example 10.0.0.5:50000 or logic-1.internal:50000";
    let address = uri(address);
    if !address.starts_with(PLAIN) {
        return Err(
            "write host:port, which is called by TLS once cluster.tls_ca is set, or \
                    http://host:port for a server that speaks no TLS",
        );
    }
    let uri: http::Uri = address.parse().map_err(|_| EXPECTED)?;
    let bare = uri.path() == "/" && uri.query().is_none();
    let host = uri.host().is_some_and(|host| !host.is_empty());
    let complete = host && uri.port_u16().is_some_and(|port| port != 0);
    if bare && complete {
        Ok(())
    } else {
        Err(EXPECTED)
    }
}

/// Refuses a caller that speaks another version, or belongs to another cluster. A caller that does
/// not know its cluster yet, or is of a release that does not send it, is accepted.
pub(super) fn check_caller(metadata: &MetadataMap, here: &ClusterId) -> Result<(), Status> {
    check_version(metadata)?;
    let theirs = metadata.get(CLUSTER_KEY);
    let theirs = theirs.and_then(|value| u64::from_str_radix(value.to_str().ok()?, 16).ok());
    match (theirs, here.get()) {
        (Some(theirs), Some(here)) if theirs != here => Err(Status::failed_precondition(format!(
            "the caller belongs to the cluster {theirs:016x} and this node to {here:016x}: set \
             cluster.logic, storage.redis_url and storage.redis_prefix to those of one cluster"
        ))),
        _ => Ok(()),
    }
}

fn check_version(metadata: &MetadataMap) -> Result<(), Status> {
    let spoken = metadata
        .get(VERSION_KEY)
        .and_then(|value| value.to_str().ok());
    if spoken == Some(VERSION) {
        return Ok(());
    }
    let spoken = spoken.unwrap_or("none");
    Err(Status::failed_precondition(format!(
        "the caller speaks version {spoken} of gimlet.node.v1 and this node version {VERSION}; \
         run nodes of adjacent releases"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for right in [
            "127.0.0.1:50000",
            "http://logic:50000",
            "[::1]:1",
            "http://a:1/",
        ] {
            assert_eq!(check_address(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "logic",
            "https://logic:1",
            "logic:1/x",
            "logic:0",
            "a b:1",
            ":1",
        ] {
            assert!(check_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_cluster_is_refused_by_its_identity() {
        let id = |n| ClusterId::new(Arc::new(AtomicU64::new(n)));
        let said_by = |caller: u64| {
            let caller = NodeCredentials::new(None, id(caller)).unwrap();
            let mut credentials = caller.credentials;
            credentials.call(Request::new(())).unwrap()
        };
        let other = check_caller(said_by(7).metadata(), &id(8)).unwrap_err();
        let text = other.message();
        assert!(
            text.contains("0000000000000007") && text.contains("redis_prefix"),
            "{text}"
        );
        for (there, here) in [(7, 7), (7, 0), (0, 7)] {
            assert!(check_caller(said_by(there).metadata(), &id(here)).is_ok());
        }
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let mut metadata = MetadataMap::new();
        let none = check_version(&metadata).unwrap_err();
        assert!(none.message().contains("version none"), "{none}");
        metadata.insert(VERSION_KEY, MetadataValue::from_static("2"));
        let two = check_version(&metadata).unwrap_err();
        assert!(two.message().contains("version 2"), "{two}");
        metadata.insert(VERSION_KEY, MetadataValue::from_static(VERSION));
        assert!(check_version(&metadata).is_ok());
    }
}
