//! The services of the logic role, one use case per file.
//!
//! Serves the gateway (through [`LogicRole`](crate::logic::LogicRole)) and the gRPC calls of
//! clients and backends. It uses the store traits, the business seam and the fan-out; it uses no
//! sockets, no protobuf, and no connections.

mod check;
mod device;
mod event_writer;
mod events;
mod friend;
mod group;
pub(crate) mod job;
mod key;
mod logic;
mod new_devices;
mod order_locks;
mod policy;
mod presence;
mod push;
mod registrations;
mod room;
mod send;
mod sign_in;
mod sync;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use check::check_after;
pub use group::{GroupDraft, GroupOperator};
pub use policy::{DirectSend, GroupAdd, RoomPush, ServerPolicy};
pub use push::{PushCodec, SystemPush};
pub use room::RoomDraft;

use crate::auth::{JwtAuthority, JwtSelection};
use crate::batch::{BatchCounts, SendBatcher};
use crate::before_send::BeforeSendPolicy;
use crate::business::BusinessBackend;
use crate::directory::ProfileDirectory;
use crate::error::RequestRefusal;
use crate::events::EventSubscriptions;
use crate::fanout::{LocalSink, MessageFanout};
use crate::hub::SIGNED_OUT;
use crate::id::{DeviceId, NodeId, UserId};
use crate::inbox_watch::InboxWatch;
use crate::limits::Limits;
use crate::peer::PeerNodes;
use crate::store::StoreSet;
use crate::time::TimeSource;

use crate::backlog::OpenJobs;
use crate::janitor::StoreJanitor;
use crate::rate::RateLimiter;
use crate::roster::RosterCache;
use event_writer::EventWriter;
use job::JobRunner;
use new_devices::NewDeviceLimits;
use order_locks::OrderLocks;
use presence::PresenceWatch;
use registrations::RegistrationLimits;
use sign_in::SignIns;

/// Timeout of the business backend's token check.
const AUTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Parts of a logic role.
#[derive(Clone, Debug)]
pub struct ServiceParts {
    /// The stores of all data.
    pub stores: StoreSet,
    /// The node's limits.
    pub limits: Limits,
    /// The source of time.
    pub clock: Arc<dyn TimeSource>,
    /// The business backend: checks sign-ins and returns profiles.
    pub business: Arc<dyn BusinessBackend>,
    /// The seam to other nodes; [`SingleNodePeer`](crate::peer::SingleNodePeer) if there are none.
    pub peer: Arc<dyn PeerNodes>,
    /// This node's connections; [`NoConnections`](crate::fanout::NoConnections) if it has none.
    pub sink: Arc<dyn LocalSink>,
    /// This node.
    pub node: NodeId,
    /// The operator's rules.
    pub policy: ServerPolicy,
    /// Encoder of system pushes.
    pub codec: Arc<dyn PushCodec>,
    /// The events that hooks want; the same on all nodes of the role.
    pub events: EventSubscriptions,
    /// The hook that decides about users' messages, if there is one.
    pub before_send: Option<Arc<BeforeSendPolicy>>,
}

/// The logic role. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogicService {
    inner: Arc<ServiceInner>,
}

#[derive(Debug)]
struct ServiceInner {
    stores: StoreSet,
    limits: Limits,
    clock: Arc<dyn TimeSource>,
    business: Arc<dyn BusinessBackend>,
    policy: ServerPolicy,
    codec: Arc<dyn PushCodec>,
    events: EventSubscriptions,
    event_writer: EventWriter,
    /// `None` if no hook wants to know who is online.
    presence: Option<Arc<PresenceWatch>>,
    before_send: Option<Arc<BeforeSendPolicy>>,
    directory: ProfileDirectory,
    fanout: MessageFanout,
    watch: InboxWatch,
    batcher: SendBatcher,
    jobs: OpenJobs,
    rosters: RosterCache,
    sign_ins: SignIns,
    new_devices: NewDeviceLimits,
    rate: RateLimiter<UserId>,
    /// Reads of a user by calls, beside those of its connections.
    reads: RateLimiter<UserId>,
    /// Daily limit of the users that one user adds to groups.
    group_adds: RateLimiter<UserId>,
    registrations: RegistrationLimits,
    order: OrderLocks,
    tracker: TaskTracker,
}

impl LogicService {
    /// Starts the role's tasks on the tracker. When the token is cancelled, new sends are refused,
    /// waiting sends are completed, and the tasks end.
    #[must_use]
    pub fn start(parts: ServiceParts, tracker: &TaskTracker, token: &CancellationToken) -> Self {
        let ServiceParts {
            stores,
            limits,
            clock,
            business,
            peer,
            sink,
            node,
            policy,
            codec,
            events,
            before_send,
        } = parts;
        let watch = InboxWatch::default();
        let fanout = MessageFanout::new(node, sink, peer, Arc::clone(&stores.route))
            .with_devices(Arc::clone(&stores.device))
            .with_watch(watch.clone());
        if !fanout.is_alone() {
            let reading = watch
                .clone()
                .read_heads(Arc::clone(&stores.seq), token.clone());
            tracker.spawn(reading);
        }
        let directory = ProfileDirectory::new(Arc::clone(&business), &limits);
        let jobs = OpenJobs::new(&limits);
        let (janitor, retention) =
            StoreJanitor::new(Arc::clone(&stores.inbox), limits.keep_entries);
        tracker.spawn(janitor.run(token.clone()));
        let rosters = RosterCache::new(Arc::clone(&stores.group), limits.roster_members);
        let batcher = SendBatcher::start(
            Arc::clone(&stores.inbox),
            &limits,
            tracker,
            token.clone(),
            fanout.clone(),
            jobs.clone(),
            retention.clone(),
            rosters.clone(),
        );
        let runner = JobRunner {
            inbox: Arc::clone(&stores.inbox),
            fanout: fanout.clone(),
            directory: directory.clone(),
            jobs: jobs.clone(),
            retention,
        };
        tracker.spawn(runner.run(token.clone()));
        let sign_ins = SignIns::new(
            Arc::clone(&stores.device),
            Arc::clone(&clock),
            tracker,
            token,
        );
        let new_devices = NewDeviceLimits::new(Arc::clone(&stores.device), limits.new_devices);
        let event_writer = EventWriter::start(&stores.outbox, &events, tracker, token);
        let presence = PresenceWatch::new(&stores.route, &events, &event_writer, &clock);
        if let Some(presence) = &presence {
            tracker.spawn(Arc::clone(presence).run(token.clone()));
        }
        let rate = RateLimiter::per_second(limits.send_rate, limits.send_burst);
        let reads = RateLimiter::per_second(limits.request_rate, limits.request_burst);
        let group_adds = RateLimiter::per_day(limits.group_adds);
        let registrations =
            RegistrationLimits::new(policy.device_registrations, policy.loopback_is_developer);
        Self {
            inner: Arc::new(ServiceInner {
                stores,
                limits,
                clock,
                business,
                policy,
                codec,
                events,
                event_writer,
                presence,
                before_send,
                directory,
                fanout,
                watch,
                batcher,
                jobs,
                rosters,
                sign_ins,
                new_devices,
                rate,
                reads,
                group_adds,
                registrations,
                order: OrderLocks::default(),
                tracker: tracker.clone(),
            }),
        }
    }

    /// The node's limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Returns the stores.
    #[must_use]
    pub fn stores(&self) -> &StoreSet {
        &self.inner.stores
    }

    /// Returns the events that hooks want.
    #[must_use]
    pub fn events(&self) -> &EventSubscriptions {
        &self.inner.events
    }

    /// Returns the number of best-effort events (rooms, presence) that were dropped because the
    /// store did not take them in time.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.inner.event_writer.dropped()
    }

    /// Returns the directory of user profiles.
    #[must_use]
    pub fn directory(&self) -> &ProfileDirectory {
        &self.inner.directory
    }

    /// Returns the number of sends that wait for the batch writer, and the bytes of unanswered
    /// sends.
    #[must_use]
    pub fn send_queue(&self) -> (usize, usize) {
        self.inner.batcher.depth()
    }

    /// Returns the counts of the batches in which sends are stored.
    #[must_use]
    pub fn batch_counts(&self) -> BatchCounts {
        self.inner.batcher.counts()
    }

    /// Returns the entries of group jobs that are accepted and not stored yet, and the number of
    /// their groups.
    #[must_use]
    pub fn job_backlog(&self) -> (u64, usize) {
        self.inner.jobs.backlog()
    }

    /// Returns the fan-out to connections of this node and of others.
    #[must_use]
    pub fn fanout(&self) -> &MessageFanout {
        &self.inner.fanout
    }

    /// Returns the policy of the hook that decides about users' messages.
    #[must_use]
    pub fn before_send(&self) -> Option<&BeforeSendPolicy> {
        self.inner.before_send.as_deref()
    }

    /// Counts a read that a user requests by a call, for an entry point whose calls are not limited
    /// otherwise.
    ///
    /// # Errors
    /// [`RequestRefusal::RateLimited`] beyond the rate of a connection's requests.
    pub fn count_read(&self, user: UserId) -> Result<(), RequestRefusal> {
        let taken = self.inner.reads.take(user);
        taken.map_err(|retry_after| RequestRefusal::RateLimited { retry_after })
    }

    /// Refuses a user that does not exist, for an entry point whose callers act for users without
    /// their tokens. A known user costs no call of the backend.
    ///
    /// # Errors
    /// [`RequestRefusal::NoSuchUser`], or [`RequestRefusal::Unavailable`] if the backend does not
    /// answer.
    pub async fn check_acting_user(&self, user: UserId) -> Result<(), RequestRefusal> {
        let exists = self.inner.directory.exists(user).await?;
        exists.then_some(()).ok_or(RequestRefusal::NoSuchUser(user))
    }

    /// Accepts the token, or refuses it with 10000; a backend that does not answer is
    /// [`RequestRefusal::Unavailable`].
    pub async fn auth(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<(), RequestRefusal> {
        let asked = self.inner.business.auth(user, device, token);
        timeout(AUTH_TIMEOUT, asked)
            .await
            .unwrap_or(Err(RequestRefusal::Unavailable))
    }

    /// Closes the user's connection on this device, or on all its devices, on every node, so that a
    /// revocation takes effect.
    ///
    /// # Errors
    /// [`RequestRefusal::Unavailable`] if a connect node may still serve the connection. Repeat the
    /// call.
    pub async fn disconnect(
        &self,
        user: UserId,
        device: Option<DeviceId>,
        reason: &str,
    ) -> Result<(), RequestRefusal> {
        let acknowledged = self.inner.fanout.disconnect(user, device, reason).await;
        acknowledged
            .then_some(())
            .ok_or(RequestRefusal::Unavailable)
    }

    /// Revokes JWTs of a user, and closes the user's connection on this device, or on all its devices:
    /// a connection does not remember its token. Clients with a valid token sign in again.
    ///
    /// # Errors
    /// As [`JwtAuthority::revoke`] and [`disconnect`](Self::disconnect); the tokens are revoked even if
    /// a connect node may still serve a connection.
    pub async fn revoke_jwts(
        &self,
        jwts: &JwtAuthority,
        user: UserId,
        which: &JwtSelection,
        device: Option<DeviceId>,
    ) -> Result<(), RequestRefusal> {
        // The tokens first: whatever the nodes answer, no new connection can be made with them.
        jwts.revoke(user, which).await?;
        self.disconnect(user, device, SIGNED_OUT).await
    }

    /// Runs a change and its pushes to completion in a task of its own, even if the caller goes
    /// away meanwhile: otherwise a stored change could lose its live pushes.
    async fn complete<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RequestRefusal>> + Send + 'static,
    ) -> Result<T, RequestRefusal> {
        let done = self.inner.tracker.spawn(work).await;
        done.unwrap_or_else(|panic| {
            crate::error_rated!(%panic, "a change panicked");
            Err(RequestRefusal::Unknown)
        })
    }
}
