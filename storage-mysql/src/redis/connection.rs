//! Command connection to Redis: one server, the master that Sentinels name, or the nodes of a
//! cluster.
//!
//! Commands of all tasks share one connection. When Redis does not answer, calls fail at once for a
//! moment, so that callers do not wait for a server that is away.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use gimlet_core::dependency::DependencyHealth;
use redis::aio::{
    ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection,
};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue,
    IntoConnectionInfo, ProtocolVersion, PushInfo, RedisError, RedisResult, ScriptInvocation,
    TlsCertificates,
};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use super::owner::PrefixOwner;
use super::sentinel::{MasterConnection, SentinelAddress};
use crate::config::RedisConfig;
use crate::error::{EngineError, OpenError};

/// Time during which calls fail at once after Redis did not answer.
const FAIL_FAST_PERIOD: Duration = Duration::from_millis(200);

/// Commands in one write to one server.
const PIPELINE_COMMANDS: usize = 500;

/// The shared connection for commands. Cheap to clone.
#[derive(Clone)]
pub(super) struct RedisConnection {
    inner: Arc<ConnectionInner>,
}

struct ConnectionInner {
    topology: ServerTopology,
    addresses: Vec<ConnectionInfo>,
    sentinels: Option<SentinelAddress>,
    certificates: Option<TlsCertificates>,
    deadline: Duration,
    stamp: Arc<PrefixOwner>,
    health: Arc<DependencyHealth>,
    /// Calls before this moment fail at once.
    closed_until: Mutex<Option<Instant>>,
}

enum ServerTopology {
    One(ConnectionManager),
    /// The master that Sentinels name.
    Master(Box<MasterConnection>),
    Cluster(OnceCell<ClusterConnection>),
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConnection")
            .field(
                "cluster",
                &matches!(self.inner.topology, ServerTopology::Cluster(_)),
            )
            .finish_non_exhaustive()
    }
}

/// Connection on which one command runs.
enum CommandConnection {
    One(ConnectionManager),
    Master(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl RedisConnection {
    pub(super) fn open(
        config: &RedisConfig,
        stamp: &Arc<PrefixOwner>,
        health: &Arc<DependencyHealth>,
    ) -> Result<Self, OpenError> {
        let certificates = config.ca.as_deref().map(certificates).transpose()?;
        Self::with(config, certificates, stamp, health).map_err(OpenError::RedisAddress)
    }

    fn with(
        config: &RedisConfig,
        certificates: Option<TlsCertificates>,
        stamp: &Arc<PrefixOwner>,
        health: &Arc<DependencyHealth>,
    ) -> RedisResult<Self> {
        let sentinels = SentinelAddress::parse(&config.url, certificates.as_ref())?;
        let addresses = match &sentinels {
            Some(_) => Vec::new(),
            None => (config.url.split(','))
                .map(|url| address(url.trim()))
                .collect::<RedisResult<Vec<_>>>()?,
        };
        let way = match addresses.as_slice() {
            _ if let Some(sentinels) = &sentinels => {
                ServerTopology::Master(Box::new(MasterConnection::new(sentinels, config.deadline)?))
            }
            [one] => {
                let settings = ConnectionManagerConfig::new()
                    .set_number_of_retries(1)
                    .set_min_delay(Duration::from_millis(20))
                    .set_connection_timeout(Some(config.deadline))
                    .set_response_timeout(Some(config.deadline));
                let client = client(one.clone(), certificates.as_ref())?;
                ServerTopology::One(ConnectionManager::new_lazy_with_config(client, settings)?)
            }
            _ => ServerTopology::Cluster(OnceCell::new()),
        };
        Ok(Self {
            inner: Arc::new(ConnectionInner {
                topology: way,
                addresses,
                sentinels,
                certificates,
                deadline: config.deadline,
                stamp: Arc::clone(stamp),
                health: Arc::clone(health),
                closed_until: Mutex::new(None),
            }),
        })
    }

    /// Runs one command.
    pub(super) async fn command<T: FromRedisValue + Send + Sync>(
        &self,
        command: &Cmd,
    ) -> Result<T, EngineError> {
        self.guarded(async {
            match self.conn().await? {
                CommandConnection::One(mut conn) => command.query_async(&mut conn).await,
                CommandConnection::Master(mut conn) => command.query_async(&mut conn).await,
                CommandConnection::Cluster(mut conn) => command.query_async(&mut conn).await,
            }
        })
        .await
    }

    /// Runs several commands and returns their answers in order.
    pub(super) async fn commands<T: FromRedisValue + Send + Sync>(
        &self,
        commands: Vec<Cmd>,
    ) -> Result<Vec<T>, EngineError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.guarded(async {
            match self.conn().await? {
                CommandConnection::One(conn) => pipelined(conn, &commands).await,
                CommandConnection::Master(conn) => pipelined(conn, &commands).await,
                // Their keys are in several slots, so each command is routed separately.
                CommandConnection::Cluster(conn) => {
                    let all = commands.iter().map(|command| {
                        let mut conn = conn.clone();
                        async move { command.query_async::<T>(&mut conn).await }
                    });
                    try_join_all(all).await
                }
            }
        })
        .await
    }

    /// Runs a script.
    pub(super) async fn script<T: FromRedisValue + Send + Sync>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, EngineError> {
        self.guarded(async {
            match self.conn().await? {
                CommandConnection::One(mut conn) => script.invoke_async(&mut conn).await,
                CommandConnection::Master(mut conn) => script.invoke_async(&mut conn).await,
                CommandConnection::Cluster(mut conn) => script.invoke_async(&mut conn).await,
            }
        })
        .await
    }

    /// Compares the owner of the keys with this cluster; returns whether the identity was written
    /// less than one lease ago, so that routes may be missing.
    pub(super) async fn check_owner(&self) -> Result<bool, EngineError> {
        let question = self.inner.stamp.question();
        let answer = self.ask(async {
            match self.conn().await? {
                CommandConnection::One(mut conn) => question.invoke_async(&mut conn).await,
                CommandConnection::Master(mut conn) => question.invoke_async(&mut conn).await,
                CommandConnection::Cluster(mut conn) => question.invoke_async(&mut conn).await,
            }
        });
        let (owner, young): (String, bool) = answer.await?;
        let noted = self.inner.stamp.note(&owner);
        match &noted {
            Ok(()) => self.inner.health.note_answer(),
            Err(fault) => self.inner.health.note_failure(fault, true),
        }
        noted.map(|()| young)
    }

    /// Fails if the last answer says that the keys belong to another cluster; asks Redis again if
    /// that answer is old.
    pub(super) async fn owned(&self) -> Result<(), EngineError> {
        if self.inner.stamp.is_due() {
            self.check_owner().await?;
        }
        self.inner.stamp.verdict()
    }

    /// Returns the settings with which the feed connects.
    pub(super) fn listener(&self) -> FeedConnector {
        FeedConnector {
            addresses: self.inner.addresses.clone(),
            sentinels: self.inner.sentinels.clone(),
            certificates: self.inner.certificates.clone(),
            deadline: self.inner.deadline,
        }
    }

    /// Connects to each server of the configuration, or to the master that Sentinels name.
    pub(super) async fn each_server(&self) -> Vec<RedisResult<MultiplexedConnection>> {
        let inner = &self.inner;
        if let ServerTopology::Master(master) = &inner.topology {
            return vec![master.conn().await];
        }
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(inner.deadline))
            .set_response_timeout(Some(inner.deadline));
        let mut opened = Vec::new();
        for address in &inner.addresses {
            let client = client(address.clone(), inner.certificates.as_ref());
            opened.push(match client {
                Ok(it) => {
                    it.get_multiplexed_async_connection_with_config(&settings)
                        .await
                }
                Err(error) => Err(error),
            });
        }
        opened
    }

    async fn conn(&self) -> RedisResult<CommandConnection> {
        match &self.inner.topology {
            ServerTopology::One(manager) => Ok(CommandConnection::One(manager.clone())),
            ServerTopology::Master(master) => master.conn().await.map(CommandConnection::Master),
            ServerTopology::Cluster(cell) => {
                let conn = cell.get_or_try_init(|| async {
                    let inner = &self.inner;
                    let certificates = inner.certificates.as_ref();
                    let client = cluster(&inner.addresses, certificates, inner.deadline).build()?;
                    client.get_async_connection().await
                });
                conn.await.cloned().map(CommandConnection::Cluster)
            }
        }
    }

    /// Runs a call on this cluster's keys.
    async fn guarded<T>(
        &self,
        call: impl Future<Output = RedisResult<T>> + Send,
    ) -> Result<T, EngineError> {
        self.owned().await?;
        let answer = self.ask(call).await?;
        self.inner.health.note_answer();
        Ok(answer)
    }

    /// Runs a call within the deadline. Fails at once if Redis did not answer a moment ago.
    async fn ask<T>(
        &self,
        call: impl Future<Output = RedisResult<T>> + Send,
    ) -> Result<T, EngineError> {
        if self.closed().is_some_and(|until| Instant::now() < until) {
            return Err(EngineError::Down);
        }
        // A command that timed out may still run later, so the outcome is unknown.
        let done = timeout(self.inner.deadline, call).await;
        let (silent, answer) = match done {
            Ok(Ok(answer)) => (false, Ok(answer)),
            Ok(Err(error)) => {
                // A master that became a replica answers READONLY and keeps its connections open.
                let gone = is_silence(&error) || error.code() == Some("READONLY");
                (gone, Err(EngineError::Redis(error)))
            }
            Err(_) => (
                true,
                Err(EngineError::Unknown("no answer from redis in time".into())),
            ),
        };
        // Forgotten before calls pass again, so that the next call asks the Sentinels.
        if let (true, ServerTopology::Master(master)) = (silent, &self.inner.topology) {
            master.forget();
        }
        *self.lock() = silent.then(|| Instant::now() + FAIL_FAST_PERIOD);
        // It may come back empty, so the owner of its keys is checked again.
        if silent {
            self.inner.stamp.doubt();
        }
        answer.inspect_err(|fault| self.inner.health.note_failure(fault, is_refusal(fault)))
    }

    fn closed(&self) -> Option<Instant> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        let closed = &self.inner.closed_until;
        closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs several commands on one server and returns their answers in order.
async fn pipelined<T: FromRedisValue>(
    mut conn: impl ConnectionLike + Send,
    commands: &[Cmd],
) -> RedisResult<Vec<T>> {
    let mut answers = Vec::with_capacity(commands.len());
    for chunk in commands.chunks(PIPELINE_COMMANDS) {
        let mut pipeline = redis::Pipeline::with_capacity(chunk.len());
        for command in chunk {
            pipeline.add_command(command.clone());
        }
        let part: Vec<T> = pipeline.query_async(&mut conn).await?;
        answers.extend(part);
    }
    Ok(answers)
}

/// Returns whether the server answers but refuses this node's account.
fn is_refusal(fault: &EngineError) -> bool {
    let EngineError::Redis(error) = fault else {
        return false;
    };
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
        || error.kind() == redis::ErrorKind::AuthenticationFailed
}

/// Returns whether no server answered, as opposed to an error answer.
fn is_silence(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

fn address(url: &str) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(info.set_tcp_settings(tcp))
}

fn certificates(file: &Path) -> Result<TlsCertificates, OpenError> {
    let root_cert = std::fs::read(file).map_err(|error| OpenError::RedisCa {
        file: file.display().to_string(),
        error,
    })?;
    Ok(TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    })
}

/// Returns a client of one server. A configured CA applies to `rediss://` only.
fn client(info: ConnectionInfo, certificates: Option<&TlsCertificates>) -> RedisResult<Client> {
    match certificates {
        Some(certificates) if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) => {
            Client::build_with_tls(info, certificates.clone())
        }
        _ => Client::open(info),
    }
}

fn cluster(
    addresses: &[ConnectionInfo],
    certificates: Option<&TlsCertificates>,
    deadline: Duration,
) -> ClusterClientBuilder {
    let mut builder = ClusterClient::builder(addresses.to_vec());
    let by_tls = |it: &ConnectionInfo| matches!(it.addr(), ConnectionAddr::TcpTls { .. });
    if let Some(certificates) = certificates
        && addresses.iter().all(by_tls)
    {
        builder = builder.certs(certificates.clone());
    }
    builder
        .connection_timeout(deadline)
        .response_timeout(deadline)
        .tcp_settings(TcpSettings::default().set_nodelay(true))
}

/// Connects the feed: a separate connection that speaks RESP3.
#[derive(Clone)]
pub(super) struct FeedConnector {
    addresses: Vec<ConnectionInfo>,
    sentinels: Option<SentinelAddress>,
    certificates: Option<TlsCertificates>,
    deadline: Duration,
}

/// The feed's connection.
#[derive(Clone)]
pub(super) enum PushReceiver {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl FeedConnector {
    /// Connects; pushes go to `hear`, which must not block.
    pub(super) async fn connect(
        &self,
        hear: impl Fn(PushInfo) -> Result<(), RedisError> + Send + Sync + 'static,
    ) -> RedisResult<PushReceiver> {
        if let Some(sentinels) = &self.sentinels {
            let settings = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(self.deadline))
                .set_response_timeout(Some(self.deadline))
                .set_push_sender(hear);
            let mut client = sentinels.client(ProtocolVersion::RESP3)?;
            let conn = client.get_async_connection_with_config(&settings);
            return conn.await.map(PushReceiver::One);
        }
        if let [one] = self.addresses.as_slice() {
            let redis = one.redis_settings().clone();
            let redis = redis.set_protocol(ProtocolVersion::RESP3);
            let info = one.clone().set_redis_settings(redis);
            let client = client(info, self.certificates.as_ref())?;
            let settings = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(self.deadline))
                .set_response_timeout(Some(self.deadline))
                .set_push_sender(hear);
            let conn = client.get_multiplexed_async_connection_with_config(&settings);
            return conn.await.map(PushReceiver::One);
        }
        let client = cluster(&self.addresses, self.certificates.as_ref(), self.deadline)
            .use_protocol(ProtocolVersion::RESP3)
            .push_sender(hear)
            .build()?;
        client
            .get_async_connection()
            .await
            .map(PushReceiver::Cluster)
    }
}

impl PushReceiver {
    /// Subscribes to a channel; returns when Redis has confirmed it.
    pub(super) async fn subscribe(&self, channel: &str) -> RedisResult<()> {
        match self.clone() {
            Self::One(mut conn) => {
                redis::cmd("SSUBSCRIBE")
                    .arg(channel)
                    .query_async(&mut conn)
                    .await
            }
            Self::Cluster(mut conn) => conn.ssubscribe(channel).await,
        }
    }

    /// Ends a subscription.
    pub(super) async fn unsubscribe(&self, channel: &str) -> RedisResult<()> {
        match self.clone() {
            Self::One(mut conn) => {
                redis::cmd("SUNSUBSCRIBE")
                    .arg(channel)
                    .query_async(&mut conn)
                    .await
            }
            Self::Cluster(mut conn) => conn.sunsubscribe(channel).await,
        }
    }

    /// Pings the server.
    pub(super) async fn ping(&self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match self.clone() {
            Self::One(mut conn) => ping.query_async(&mut conn).await,
            Self::Cluster(mut conn) => ping.query_async(&mut conn).await,
        }
    }
}
