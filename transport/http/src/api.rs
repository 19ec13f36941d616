//! The parts that the API is built from.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gimlet_core::accounts::AccountService;
use gimlet_core::auth::{ApiKeyService, SignInFailures, TokenChecker};
use gimlet_core::gateway::ConnectGateway;
use gimlet_core::hook_delivery::HookDelivery;
use gimlet_core::push_registry::PushRegistry;
use gimlet_core::service::LogicService;
use gimlet_files::FileStore;
use tokio_util::sync::CancellationToken;

use crate::credentials::ApiKeys;
use crate::nodes::ApiNodes;

/// The address that the limits of a request count for; `None` if a proxy that is not configured may
/// be in front of the client. The server adds it to the extensions of each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientAddr(pub Option<SocketAddr>);

/// The operation that has answered a request, by its id in the OpenAPI document. The API adds it to the
/// extensions of each response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId(pub &'static str);

/// Restarts the time limit of a request. An event stream calls it for each event, because its answer
/// has no end. The server adds it to the extensions of each request.
#[derive(Clone)]
pub struct RestartTimeLimit(pub Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for RestartTimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RestartTimeLimit")
    }
}

/// The place of an event stream among the clients' connections, until it is dropped.
pub struct StreamPermit(
    #[expect(dead_code, reason = "it is held until it is dropped")] Box<dyn Any + Send + Sync>,
);

impl StreamPermit {
    /// Makes a permit that ends with the value that it holds.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for StreamPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamPermit")
    }
}

/// Counts the event streams that are open. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct StreamCounter(Arc<AtomicU64>);

impl StreamCounter {
    /// Returns the number of open streams.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a stream until the value is dropped.
    pub(crate) fn enter(&self) -> CountedStream {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedStream(self.clone())
    }
}

/// An event stream that is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct CountedStream(StreamCounter);

impl Drop for CountedStream {
    fn drop(&mut self) {
        let Self(StreamCounter(open)) = self;
        open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The limit that an event stream has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamLimit {
    /// The node has all clients' connections that it may have.
    Node,
    /// The client's address has all connections that it may have.
    Address,
}

/// Result of a request for a place among the clients' connections.
type AdmissionResult = Result<StreamPermit, StreamLimit>;

/// Counts an event stream as the connection of a client, at this address if it is known. The server
/// adds it to the extensions of each request.
#[derive(Clone)]
pub struct StreamAdmission(pub Arc<dyn Fn(Option<SocketAddr>) -> AdmissionResult + Send + Sync>);

impl fmt::Debug for StreamAdmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamAdmission")
    }
}

/// The files of the API.
#[derive(Clone, Debug)]
pub struct ApiFiles {
    /// The files, and the rules for them.
    pub store: FileStore,
    /// Prefix of files' addresses, without a slash at the end.
    pub base: String,
}

/// The parts of the API. A part of a role that this process does not have is `None`: its operations
/// are answered by another node, or refused if there is none.
#[derive(Clone, Debug)]
pub struct HttpApi {
    /// The logic role.
    pub service: Option<LogicService>,
    /// The connect role: event streams.
    pub gateway: Option<ConnectGateway>,
    /// The check of tokens.
    pub tokens: Option<TokenChecker>,
    /// Wrong tokens of the last minute.
    pub failures: Arc<SignInFailures>,
    /// The built-in users.
    pub accounts: Option<AccountService>,
    /// The push addresses, of a process with a storage.
    pub push: Option<PushRegistry>,
    /// The files, of a process that stores them.
    pub files: Option<ApiFiles>,
    /// The webhooks.
    pub hooks: Option<HookDelivery>,
    /// The keys of the configuration, which have every scope.
    pub api_keys: ApiKeys,
    /// The keys that are created at run time, of a process with a storage.
    pub keys: Option<ApiKeyService>,
    /// Nodes with the roles that this process lacks.
    pub nodes: Option<Arc<dyn ApiNodes>>,
    /// The event streams that are open.
    pub streams: StreamCounter,
    /// Cancelled when the server stops: event streams are not opened any more.
    pub stop: CancellationToken,
}
