//! A server that is built but does not run yet: everything is open, every address is known.

use std::sync::Arc;

use gimlet_core::accounts::AccountService;
use gimlet_core::auth::{ApiKeyService, SignInFailures, TokenChecker};
use gimlet_core::business::{BuiltinBusiness, BuiltinConfig, CodeVerifier, FixedCode};
use gimlet_core::node::RunningNode;
use gimlet_core::push_registry::PushRegistry;
use gimlet_core::service::LogicService;
use gimlet_core::store::StoreSet;
use gimlet_core::time::{SystemClock, TimeSource};
use gimlet_grpc::{GrpcHealth, GrpcServices};
use gimlet_listen::StopTokens;
use gimlet_listen::origins::AllowedOrigins;
use gimlet_transport::{SessionServer, SessionSettings};
use gimlet_web::api::{ApiKeys, ApiListener, HttpApi, StreamCounter};
use gimlet_web::disk_space::DiskSpace;
use gimlet_web::files::FileService;
use gimlet_web::health::{ServerHealth, ServerPhase};
use gimlet_web::metrics::ServerMetrics;
use gimlet_web::verifier::{HttpVerifier, RejectingVerifier, VerifierUrlError};

use crate::call_counter::CallMetrics;
use crate::certificates::CertificateFiles;
use crate::config::{self, Config, NodeRole, StorageKind};
use crate::dependencies::NodeDependencies;
use crate::files::NodeFiles;
use crate::identity::IdentityParts;
use crate::listener_limits::ListenerLimits;
use crate::listeners::{BoundListeners, ListenAddrs};
use crate::operator_access::OperatorAccess;
use crate::roles::RunningRoles;
use crate::start_error::StartError;
use crate::storage::{self, StorageWatch};

/// A built server: its sockets are bound and its storage is open. [`run`](Self::run) it.
#[derive(Debug)]
pub struct BuiltServer {
    pub(crate) addrs: ListenAddrs,
    pub(crate) listeners: BoundListeners,
    pub(crate) roles: RunningRoles,
    pub(crate) api: GrpcServices,
    pub(crate) files: Option<FileService>,
    pub(crate) node_files: Option<NodeFiles>,
    pub(crate) http_api: ApiListener,
    pub(crate) sessions: Option<Arc<SessionServer>>,
    /// Wrong tokens of the last minute, at every listener.
    pub(crate) failures: Arc<SignInFailures>,
    pub(crate) listener_limits: ListenerLimits,
    pub(crate) certificates: CertificateFiles,
    pub(crate) watch: StorageWatch,
    #[cfg(all(unix, feature = "sled"))]
    pub(crate) control: Option<crate::control::BoundControl>,
    pub(crate) servers: NodeDependencies,
    pub(crate) health: Arc<ServerHealth>,
    pub(crate) metrics: ServerMetrics,
    /// Tokens of the graceful stop and of the forced close.
    pub(crate) ends: StopTokens,
    pub(crate) config: Config,
}

impl BuiltServer {
    /// Returns the addresses that it listens on.
    #[must_use]
    pub const fn addrs(&self) -> &ListenAddrs {
        &self.addrs
    }

    /// Registers `observer` to be called at each change of the server's state. Call it before
    /// [`run`](Self::run); only the first observer is kept.
    pub fn observe(&self, observer: impl Fn(&ServerPhase) + Send + Sync + 'static) {
        self.health.observe(observer);
    }

    /// Returns the certificates, to load them again while the server runs.
    #[must_use]
    pub fn certificates(&self) -> CertificateFiles {
        self.certificates.clone()
    }

    /// Returns the node inside, if both the connect and the logic role are in this process.
    #[must_use]
    pub const fn node(&self) -> Option<&RunningNode> {
        self.roles.node()
    }
}

#[cfg(feature = "sled")]
impl BuiltServer {
    /// Holds commits of the embedded storage before they become durable: for tests of what clients
    /// can see.
    #[doc(hidden)]
    #[must_use]
    pub fn flush_gate(&self) -> Option<gimlet_storage_sled::FlushGate> {
        match &self.watch {
            StorageWatch::Sled(_, gate) => Some(gate.clone()),
            StorageWatch::Memory => None,
            #[cfg(feature = "mysql")]
            StorageWatch::Mysql(_) => None,
        }
    }
}

/// Checks the configuration, binds every listener, opens the storage and starts the node.
pub async fn build(config: Config) -> Result<BuiltServer, StartError> {
    for notice in config.check()? {
        tracing::warn!("{}", notice.0);
    }
    // Sockets first: a port in use is found before the storage is opened or migrated.
    let certificates = CertificateFiles::load(&config)?;
    let (listeners, addrs) = BoundListeners::bind(&config.opened(), config.limits.socket_buffer)?;
    let clock: Arc<dyn TimeSource> = Arc::new(SystemClock);
    let storage = storage::open(&config, Arc::clone(&clock)).await?;
    let builtin = match &storage.stores {
        Some(stores) if config.roles.has(NodeRole::Business) => {
            Some(builtin(&config, stores, Arc::clone(&clock))?)
        }
        _ => None,
    };
    let pushes = pushes(&config, storage.stores.as_ref(), &clock)?;
    let internal = addrs.internal.map(|addr| addr.to_string());
    let tls = certificates.nodes();
    let identity = IdentityParts::new(&config, storage.stores.as_ref(), &clock)?;
    let node_files = NodeFiles::new(&config, &addrs, &clock)?;
    let roles = RunningRoles::start(
        &config,
        &storage,
        builtin,
        internal,
        tls,
        Arc::clone(&clock),
        identity.clone(),
    )?;
    let (ends, metrics) = (StopTokens::default(), ServerMetrics::new());
    let sessions = roles.gateway().cloned().map(|gateway| {
        let settings = session_settings(&config);
        let sessions = SessionServer::new(gateway, settings, ends.stop.clone());
        Arc::new(sessions.abort_closing_by(ends.force_close.clone()))
    });
    let failures = sessions.as_ref().map_or_else(
        || Arc::new(SignInFailures::new(config.limits.node.failed_sign_ins)),
        |sessions| Arc::clone(sessions.failures()),
    );
    let tokens = token_checker(&roles, &failures, &identity);
    // The file service belongs to the business role, which knows the users.
    let uploads = roles.builtin().and(tokens.clone());
    let files = NodeFiles::service(node_files.as_ref(), &config, uploads);
    let accounts = accounts(&config, &roles, &failures, &identity, pushes.as_ref());
    let operator = operator_access(&config, &storage, &addrs);
    let http_api = HttpApi {
        service: roles.service().cloned(),
        gateway: roles.gateway().cloned(),
        tokens: tokens.clone(),
        failures: Arc::clone(&failures),
        accounts: accounts.clone(),
        push: pushes,
        files: node_files.as_ref().map(NodeFiles::api),
        hooks: roles.hook_delivery().cloned(),
        api_keys: api_keys(&config, operator.as_ref()),
        keys: created_keys(&storage, clock, &failures),
        nodes: Some(roles.api_nodes()),
        streams: StreamCounter::default(),
        stop: ends.stop.clone(),
    };
    Ok(BuiltServer {
        api: GrpcServices {
            accounts,
            tokens,
            logic: roles.service().cloned(),
            gateway: roles.gateway().cloned(),
            logic_node: roles.logic_server(&ends.stop),
            connect_node: roles.connect_server(&ends.stop),
            api_node: Some(roles.api_server(http_api.clone())),
            development: config.is_development(),
            unread: Arc::default(),
            forwarding: config.forwarding(),
            metrics: Arc::new(CallMetrics(metrics.clone())),
            health: GrpcHealth::default(),
        },
        files,
        node_files,
        http_api: ApiListener {
            api: http_api,
            origins: origins(&config),
            forwarding: config.forwarding(),
            metrics: metrics.clone(),
        },
        failures,
        addrs,
        listeners,
        roles,
        sessions,
        listener_limits: ListenerLimits::new(&config.limits),
        certificates,
        watch: storage.watch,
        #[cfg(all(unix, feature = "sled"))]
        control: storage
            .control
            .and_then(|control| control.with_operator(operator).bind()),
        servers: storage.servers,
        health: Arc::new(ServerHealth::default()),
        metrics,
        ends,
        config,
    })
}

/// Makes the registry of push addresses, if this process has the stores.
fn pushes(
    config: &Config,
    stores: Option<&StoreSet>,
    clock: &Arc<dyn TimeSource>,
) -> Result<Option<PushRegistry>, StartError> {
    let settings = config.push_settings();
    let settings = settings.map_err(|problems| StartError::Role(problems.join("; ")))?;
    let registry = |stores| PushRegistry::new(stores, Arc::clone(clock), settings.services());
    Ok(stores.map(registry))
}

/// Makes the access of the operator's commands, if there is a socket that hands it out.
#[cfg(all(unix, feature = "sled"))]
fn operator_access(
    config: &Config,
    storage: &storage::OpenedStorage,
    addrs: &ListenAddrs,
) -> Option<OperatorAccess> {
    let http = storage.control.as_ref().and(addrs.http)?;
    Some(OperatorAccess::new(config, http))
}

/// Returns `None`: this build has no socket that hands it out.
#[cfg(not(all(unix, feature = "sled")))]
fn operator_access(
    _: &Config,
    _: &storage::OpenedStorage,
    _: &ListenAddrs,
) -> Option<OperatorAccess> {
    None
}

/// Returns the keys of backends that are not stored: those of the configuration, and the one of the
/// operator's commands.
fn api_keys(config: &Config, operator: Option<&OperatorAccess>) -> ApiKeys {
    let keys = config.http.api_keys.iter();
    let keys = keys.chain(operator.map(|operator| &operator.key));
    ApiKeys::new(keys.map(config::SecretString::reveal))
}

/// Makes the service of keys that are created at run time, if this process has their store.
fn created_keys(
    storage: &storage::OpenedStorage,
    clock: Arc<dyn TimeSource>,
    failures: &Arc<SignInFailures>,
) -> Option<ApiKeyService> {
    let store = Arc::clone(&storage.stores.as_ref()?.api_key);
    Some(ApiKeyService::new(store, clock, Arc::clone(failures)))
}

/// Makes the check of tokens, if this process has a role that knows them.
fn token_checker(
    roles: &RunningRoles,
    failures: &Arc<SignInFailures>,
    identity: &IdentityParts,
) -> Option<TokenChecker> {
    let tokens = TokenChecker::new(roles.business()?, Arc::clone(failures));
    Some(tokens.with_jwts(identity.jwts().cloned()))
}

/// Creates the configured verifier of codes.
fn code_verifier(
    configured: &config::CodeVerifier,
) -> Result<Arc<dyn CodeVerifier>, VerifierUrlError> {
    Ok(match configured {
        config::CodeVerifier::Development => Arc::new(FixedCode::default()),
        // The check of the configuration refuses this for a process that checks codes.
        config::CodeVerifier::Unset => Arc::new(RejectingVerifier),
        config::CodeVerifier::Fixed(code) => Arc::new(FixedCode::new(code.reveal())),
        config::CodeVerifier::Http(url) => Arc::new(HttpVerifier::new(url)?),
    })
}

/// Returns the disk that the embedded storage needs on this machine.
pub(crate) fn disk_space(config: &Config) -> DiskSpace {
    let min_free = match config.storage.kind {
        StorageKind::Sled => config.storage.min_free,
        StorageKind::Memory | StorageKind::Mysql => 0,
    };
    DiskSpace::new(config.data_dir.clone(), min_free)
}

/// Makes the built-in business service.
fn builtin(
    config: &Config,
    stores: &StoreSet,
    clock: Arc<dyn TimeSource>,
) -> Result<BuiltinBusiness, StartError> {
    let verifier = code_verifier(&config.business.code_verifier).map_err(|error| {
        StartError::Storage(format!(
            "business.code_verifier is not an http address: {error}"
        ))
    })?;
    let settings = BuiltinConfig {
        token_ttl: config.business.token_ttl,
        fixed_token: config.compat.fixed_token,
        failed_sign_ins: config.limits.node.failed_sign_ins,
        search_page: config.limits.node.list_page,
    };
    Ok(BuiltinBusiness::new(stores, clock, verifier, settings))
}

/// Makes the service of accounts, if this process has the business role.
fn accounts(
    config: &Config,
    roles: &RunningRoles,
    failures: &Arc<SignInFailures>,
    identity: &IdentityParts,
    pushes: Option<&PushRegistry>,
) -> Option<AccountService> {
    let builtin = roles.builtin()?.clone();
    let directory = roles.service().map(LogicService::directory);
    let limit = config.limits.node.failed_sign_ins;
    let accounts = AccountService::new(builtin, limit, Arc::clone(failures));
    Some(
        accounts
            .with_directory(directory.cloned())
            .with_fanout(roles.fanout().cloned())
            .with_jwts(identity.jwts().cloned())
            .with_push_registry(pushes.cloned()),
    )
}

fn session_settings(config: &Config) -> SessionSettings {
    /// gim drops a silent WebSocket a minute after a silent TCP connection.
    const WS_EXTRA_IDLE: std::time::Duration = std::time::Duration::from_mins(1);
    let limits = &config.limits;
    SessionSettings {
        silent_before_sign_in: limits.silent_before_sign_in,
        idle_tcp: limits.idle,
        idle_ws: limits.idle.saturating_add(WS_EXTRA_IDLE),
        failed_sign_ins: limits.node.failed_sign_ins,
        pace: config.compat.tcp_pacing,
        stuck: limits.stuck,
        ws_silence: limits.ws_silence,
        ..SessionSettings::default()
    }
}

/// Returns the origins whose pages may open a WebSocket and upload.
pub(crate) fn origins(config: &Config) -> AllowedOrigins {
    AllowedOrigins::new(&config.http.origins, config.is_development())
}
