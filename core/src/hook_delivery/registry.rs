//! The hooks of a node: starts their workers, and serves operators: statistics, tests, dead letters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::directory::ProfileDirectory;
use crate::events::{EventId, EventKind, EventSubscriptions, HookName};
use crate::hook_delivery::counters::HookCounters;
use crate::hook_delivery::prepare::{NotificationMaker, uuid_text};
use crate::hook_delivery::worker::{DeliveryRules, HookWorker};
use crate::hook_delivery::{
    DeliveryOutcome, HookEndpoint, HookNotification, HookStatistics, NotificationBody,
};
use crate::hook_lease::HookLeaseHolder;
use crate::id::NodeId;
use crate::page::ListPage;
use crate::store::{
    DeadLetter, HookBacklog, OutboxBounds, OutboxPosition, OutboxStore, RouteStore, StoreError,
};
use crate::time::TimeSource;

/// Dead letters that are moved or removed in one call of the store.
const LETTERS_PER_CALL: usize = 500;

/// A hook with its endpoint.
#[derive(Clone, Debug)]
pub struct HookDefinition {
    /// The name; the subscriptions have the events.
    pub name: HookName,
    /// The program that gets the events.
    pub endpoint: Arc<dyn HookEndpoint>,
    /// The rules.
    pub rules: DeliveryRules,
}

/// Parts of the delivery.
#[derive(Debug)]
pub struct HookDeliveryParts {
    /// The stored events.
    pub outbox: Arc<dyn OutboxStore>,
    /// The routes: users without one are offline.
    pub routes: Arc<dyn RouteStore>,
    /// The profiles of senders.
    pub directory: ProfileDirectory,
    /// The events of each hook.
    pub events: EventSubscriptions,
    /// This node.
    pub node: NodeId,
    /// The source of time.
    pub clock: Arc<dyn TimeSource>,
    /// Bounds of each hook's stored events; the oldest ones above them are removed.
    pub bounds: OutboxBounds,
    /// The hooks.
    pub hooks: Vec<HookDefinition>,
}

/// State of a hook, for operators.
#[derive(Clone, Debug)]
pub struct HookStatus {
    /// The name.
    pub name: HookName,
    /// The address of its endpoint; `None` if the configuration does not name the hook any more.
    pub address: Option<String>,
    /// Names of the events that it wants.
    pub events: Vec<&'static str>,
    /// Its stored events.
    pub backlog: HookBacklog,
    /// Counts of this node.
    pub statistics: HookStatistics,
}

/// Result of a test of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookTestResult {
    /// The error; `None` if the notification arrived.
    pub error: Option<String>,
    /// Time until the answer.
    pub took: Duration,
}

/// The delivery of all hooks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HookDelivery {
    inner: Arc<DeliveryInner>,
}

#[derive(Debug)]
struct DeliveryInner {
    outbox: Arc<dyn OutboxStore>,
    clock: Arc<dyn TimeSource>,
    hooks: Vec<RunningHook>,
}

#[derive(Debug)]
struct RunningHook {
    name: HookName,
    kinds: BTreeSet<EventKind>,
    endpoint: Arc<dyn HookEndpoint>,
    counters: Arc<HookCounters>,
}

impl HookDelivery {
    /// Starts a worker for each hook on the tracker. When the token is cancelled, batches under way
    /// are finished within some seconds, and the leases end.
    #[must_use]
    pub fn start(
        parts: HookDeliveryParts,
        tracker: &TaskTracker,
        token: &CancellationToken,
    ) -> Self {
        let mut hooks = Vec::with_capacity(parts.hooks.len());
        for HookDefinition {
            name,
            endpoint,
            rules,
        } in parts.hooks
        {
            let mut subscriptions = parts.events.hooks();
            let kinds = subscriptions.find(|it| it.name == name);
            let kinds = kinds.map(|it| it.events.clone()).unwrap_or_default();
            let counters = Arc::<HookCounters>::default();
            let worker = HookWorker {
                rules,
                bounds: parts.bounds,
                endpoint: Arc::clone(&endpoint),
                maker: NotificationMaker::new(
                    kinds.clone(),
                    parts.directory.clone(),
                    Arc::clone(&parts.routes),
                ),
                outbox: Arc::clone(&parts.outbox),
                events: parts.events.clone(),
                lease: HookLeaseHolder::new(
                    Arc::clone(&parts.outbox),
                    parts.node.clone(),
                    name.clone(),
                ),
                clock: Arc::clone(&parts.clock),
                counters: Arc::clone(&counters),
                hook: name.clone(),
            };
            tracker.spawn(worker.run(token.clone()));
            hooks.push(RunningHook {
                name,
                kinds,
                endpoint,
                counters,
            });
        }
        Self {
            inner: Arc::new(DeliveryInner {
                outbox: parts.outbox,
                clock: parts.clock,
                hooks,
            }),
        }
    }

    /// Returns the counts of each hook, without a call of the store.
    #[must_use]
    pub fn statistics(&self) -> Vec<(HookName, HookStatistics)> {
        let hooks = self.inner.hooks.iter();
        hooks
            .map(|hook| (hook.name.clone(), hook.counters.read()))
            .collect()
    }

    /// Returns the hooks of the configuration, and those that have stored events nevertheless.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self) -> Result<Vec<HookStatus>, StoreError> {
        let outbox = &self.inner.outbox;
        let mut names: BTreeSet<HookName> = outbox.hooks().await?.into_iter().collect();
        names.extend(self.inner.hooks.iter().map(|it| it.name.clone()));
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            let backlog = outbox.backlog(&name).await?;
            let hook = self.running(&name);
            let kinds = hook.map(|it| it.kinds.iter().map(|kind| kind.name()).collect());
            listed.push(HookStatus {
                address: hook.map(|it| it.endpoint.address()),
                events: kinds.unwrap_or_default(),
                statistics: hook.map(|it| it.counters.read()).unwrap_or_default(),
                backlog,
                name,
            });
        }
        Ok(listed)
    }

    /// Returns whether the hook is in the configuration, or has stored events.
    ///
    /// # Errors
    /// The store failed.
    pub async fn knows(&self, hook: &HookName) -> Result<bool, StoreError> {
        Ok(self.running(hook).is_some() || self.inner.outbox.hooks().await?.contains(hook))
    }

    /// Sends a test to the endpoint of a hook, beside its queue; `None` if the configuration has no
    /// such hook.
    pub async fn test(&self, hook: &HookName) -> Option<HookTestResult> {
        let hook = self.running(hook)?;
        let notification = HookNotification {
            id: uuid_text(*EventId::generate().as_bytes()),
            at: self.inner.clock.now(),
            body: NotificationBody::Test,
        };
        let begun = Instant::now();
        let error = match hook.endpoint.deliver(&[notification]).await {
            DeliveryOutcome::Delivered => None,
            DeliveryOutcome::Refused(error)
            | DeliveryOutcome::Failed(error)
            | DeliveryOutcome::Unreachable { error, .. } => Some(error),
        };
        Some(HookTestResult {
            error,
            took: begun.elapsed(),
        })
    }

    /// Returns dead letters of a hook.
    ///
    /// # Errors
    /// The store failed.
    pub async fn dead_letters(
        &self,
        hook: &HookName,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> Result<ListPage<DeadLetter>, StoreError> {
        self.inner.outbox.dead_letters(hook, after, limit).await
    }

    /// Moves dead letters to the end of the hook's queue: these, or all of them. Returns how many.
    ///
    /// # Errors
    /// The store failed; some of them may have been moved.
    pub async fn replay(
        &self,
        hook: &HookName,
        letters: Option<&[OutboxPosition]>,
    ) -> Result<usize, StoreError> {
        let outbox = &self.inner.outbox;
        if let Some(letters) = letters {
            return outbox.replay(hook, letters).await;
        }
        // Events that become dead letters again meanwhile are behind the others, and are left.
        let all = outbox.backlog(hook).await?.dead_letters;
        let (mut moved, mut after) = (0, None);
        while (moved as u64) < all
            && let Some(letters) = self.next_letters(hook, &mut after).await?
        {
            moved += outbox.replay(hook, &letters).await?;
        }
        Ok(moved)
    }

    /// Removes dead letters: these, or all of them. Returns how many.
    ///
    /// # Errors
    /// The store failed; some of them may have been removed.
    pub async fn drop_letters(
        &self,
        hook: &HookName,
        letters: Option<&[OutboxPosition]>,
    ) -> Result<usize, StoreError> {
        let outbox = &self.inner.outbox;
        if let Some(letters) = letters {
            return outbox.drop_letters(hook, letters).await;
        }
        let all = outbox.backlog(hook).await?.dead_letters;
        let (mut dropped, mut after) = (0, None);
        while (dropped as u64) < all
            && let Some(letters) = self.next_letters(hook, &mut after).await?
        {
            dropped += outbox.drop_letters(hook, &letters).await?;
        }
        Ok(dropped)
    }

    /// Returns the positions of the next dead letters after `after`, which moves behind them.
    async fn next_letters(
        &self,
        hook: &HookName,
        after: &mut Option<OutboxPosition>,
    ) -> Result<Option<Vec<OutboxPosition>>, StoreError> {
        let page = self.dead_letters(hook, *after, LETTERS_PER_CALL).await?;
        let letters: Vec<_> = page.items.iter().map(|letter| letter.position).collect();
        *after = letters.last().copied().or(*after);
        Ok((!letters.is_empty()).then_some(letters))
    }

    fn running(&self, hook: &HookName) -> Option<&RunningHook> {
        self.inner.hooks.iter().find(|it| it.name == *hook)
    }
}
