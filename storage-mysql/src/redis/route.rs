//! Routes: the node that holds the connection of a user on a device.
//!
//! A user's routes are one hash, by device: a script compares generations in it, and the fan-out
//! reads it as a whole. A route is valid while its node's lease lives.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::id::{DeviceId, Generation, NodeId, UserId};
use gimlet_core::store::{
    LeaseRenewal, ROUTE_LIFETIME, Route, RouteClaimOutcome, RouteStore, StoreError,
};
use redis::{Script, cmd};

use super::connection::RedisConnection;
use super::keys::RedisKeys;
use crate::error::EngineError;

static CLAIM_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/claim.lua")));
static RELEASE_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/release.lua")));

/// The route store.
#[derive(Debug)]
pub(super) struct RedisRoutes {
    pub(super) wire: RedisConnection,
    pub(super) keys: RedisKeys,
    pub(super) lease: Duration,
}

/// Returns the beginning of a route's record, which identifies the claim.
fn prefix(route: &Route) -> String {
    let NodeId { name, boot } = &route.node;
    format!("{}:{boot:x}:{}:{name}", route.generation.0, name.len())
}

fn encode(route: &Route) -> String {
    let client = route.client.map(|client| client.to_string());
    let client = client.unwrap_or_default();
    format!("{}{}:{client}", prefix(route), route.user.get())
}

fn decode(device: DeviceId, record: &str) -> Option<Route> {
    let (generation, rest) = record.split_once(':')?;
    let (boot, rest) = rest.split_once(':')?;
    let (len, rest) = rest.split_once(':')?;
    let (name, rest) = rest.split_at_checked(len.parse().ok()?)?;
    let (user, client) = rest.split_once(':')?;
    Some(Route {
        device,
        user: UserId::new(user.parse().ok()?)?,
        generation: Generation(generation.parse().ok()?),
        node: NodeId {
            name: name.to_owned(),
            boot: u64::from_str_radix(boot, 16).ok()?,
        },
        client: client.parse().ok(),
    })
}

/// Returns a node as the list of nodes spells it.
fn name(node: &NodeId) -> String {
    format!("{:x}:{}", node.boot, node.name)
}

fn node(name: &str) -> Option<NodeId> {
    let (boot, name) = name.split_once(':')?;
    Some(NodeId {
        name: name.to_owned(),
        boot: u64::from_str_radix(boot, 16).ok()?,
    })
}

impl RedisRoutes {
    async fn claim(&self, route: &Route) -> Result<RouteClaimOutcome, EngineError> {
        let (record, life) = (encode(route), ROUTE_LIFETIME.as_millis().to_string());
        let mut call = CLAIM_SCRIPT.prepare_invoke();
        call.key(self.keys.routes(route.user))
            .arg(route.device.get())
            .arg(&record)
            .arg(route.generation.0)
            .arg(prefix(route))
            .arg(&life);
        let (set, other): (u8, String) = self.wire.script(&call).await?;
        let other = decode(route.device, &other);
        if set == 0 {
            let stands = other.ok_or(EngineError::Corrupt("redis returned a malformed route"))?;
            return Ok(RouteClaimOutcome::Superseded(stands));
        }
        Ok(RouteClaimOutcome::Claimed(other))
    }

    async fn release(
        &self,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    ) -> Result<bool, EngineError> {
        let mut call = RELEASE_SCRIPT.prepare_invoke();
        call.key(self.keys.routes(user))
            .arg(device.get())
            .arg(generation.0);
        let removed: u8 = self.wire.script(&call).await?;
        Ok(removed > 0)
    }

    async fn of(&self, users: &[UserId]) -> Result<Vec<Route>, EngineError> {
        let reads = users.iter();
        let reads = reads.map(|user| cmd("HGETALL").arg(self.keys.routes(*user)).take());
        let indexes: Vec<HashMap<u64, String>> = self.wire.commands(reads.collect()).await?;
        let mut routes = Vec::new();
        for (user, index) in users.iter().zip(&indexes) {
            let found = index.iter().filter_map(|(device, record)| {
                let route = decode(DeviceId::new(*device)?, record)?;
                (route.user == *user).then_some(route)
            });
            routes.extend(found);
        }
        self.living(routes).await
    }

    /// Removes the routes of nodes whose lease has ended.
    async fn living(&self, mut routes: Vec<Route>) -> Result<Vec<Route>, EngineError> {
        let nodes: HashSet<&NodeId> = routes.iter().map(|it| &it.node).collect();
        let nodes: Vec<NodeId> = nodes.into_iter().cloned().collect();
        let alive = self.alive(&nodes).await?;
        let alive = nodes.iter().zip(alive).filter(|(_, alive)| *alive);
        let alive: HashSet<&NodeId> = alive.map(|(node, _)| node).collect();
        routes.retain(|it| alive.contains(&it.node));
        Ok(routes)
    }

    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Route>, EngineError> {
        let get = cmd("HGET")
            .arg(self.keys.routes(user))
            .arg(device.get())
            .take();
        let record: Option<String> = self.wire.command(&get).await?;
        let route = record.and_then(|it| decode(device, &it));
        Ok(self.living(route.into_iter().collect()).await?.pop())
    }

    async fn renew(&self, node: &NodeId) -> Result<LeaseRenewal, EngineError> {
        // Before the lease is written: a lease must not be written under another cluster's prefix.
        let forgot = self.wire.check_owner().await?;
        // SET … GET replaces the old value and returns it in one step.
        let set = cmd("SET")
            .arg(self.keys.lease(node))
            .arg(1)
            .arg("PX")
            .arg(u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX))
            .arg("GET")
            .take();
        let before: Option<String> = self.wire.command(&set).await?;
        // Added with every renewal: the list of nodes may have been lost, or `nodes` may have
        // removed this node at the wrong moment.
        let add = cmd("SADD").arg(self.keys.nodes()).arg(name(node)).take();
        let _: u64 = self.wire.command(&add).await?;
        Ok(LeaseRenewal {
            held: before.is_some(),
            forgot,
        })
    }

    /// Returns the nodes that hold a lease, and removes the others from the list.
    async fn nodes(&self) -> Result<Vec<NodeId>, EngineError> {
        let list = cmd("SMEMBERS").arg(self.keys.nodes()).take();
        let names: Vec<String> = self.wire.command(&list).await?;
        let nodes: Vec<NodeId> = names.iter().filter_map(|it| node(it)).collect();
        let alive = self.alive(&nodes).await?;
        let (mut living, mut dead) = (Vec::new(), Vec::new());
        for (node, alive) in nodes.into_iter().zip(alive) {
            if alive { &mut living } else { &mut dead }.push(node);
        }
        if !dead.is_empty() {
            let dead: Vec<String> = dead.iter().map(name).collect();
            let remove = cmd("SREM").arg(self.keys.nodes()).arg(dead).take();
            let _: u64 = self.wire.command(&remove).await?;
        }
        Ok(living)
    }

    /// Returns for each node whether its lease lives.
    async fn alive(&self, nodes: &[NodeId]) -> Result<Vec<bool>, EngineError> {
        let reads = nodes.iter();
        let reads = reads.map(|node| cmd("EXISTS").arg(self.keys.lease(node)).take());
        self.wire.commands(reads.collect()).await
    }

    async fn retire(&self, node: &NodeId) -> Result<(), EngineError> {
        // The lease is deleted first: routes of this node are invalid from then on, even if the
        // second step fails.
        let del = cmd("DEL").arg(self.keys.lease(node)).take();
        let _: u64 = self.wire.command(&del).await?;
        let remove = cmd("SREM").arg(self.keys.nodes()).arg(name(node)).take();
        let _: u64 = self.wire.command(&remove).await?;
        Ok(())
    }
}

#[async_trait]
impl RouteStore for RedisRoutes {
    async fn claim(&self, route: &Route) -> Result<RouteClaimOutcome, StoreError> {
        let done = Self::claim(self, route).await;
        done.map_err(|fault| fault.of("route.claim"))
    }

    async fn release(
        &self,
        user: UserId,
        device: DeviceId,
        generation: Generation,
    ) -> Result<bool, StoreError> {
        let done = Self::release(self, user, device, generation).await;
        done.map_err(|fault| fault.of("route.release"))
    }

    async fn of(&self, users: &[UserId]) -> Result<Vec<Route>, StoreError> {
        let read = Self::of(self, users).await;
        read.map_err(|fault| fault.of("route.of"))
    }

    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Route>, StoreError> {
        let read = Self::device(self, user, device).await;
        read.map_err(|fault| fault.of("route.device"))
    }

    async fn renew(&self, node: &NodeId) -> Result<LeaseRenewal, StoreError> {
        let done = Self::renew(self, node).await;
        done.map_err(|fault| fault.of("route.renew"))
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        let read = Self::nodes(self).await;
        read.map_err(|fault| fault.of("route.nodes"))
    }

    async fn retire(&self, node: &NodeId) -> Result<(), StoreError> {
        let done = Self::retire(self, node).await;
        done.map_err(|fault| fault.of("route.retire"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_comes_back() {
        let it = NodeId {
            name: "[::1]:9000".into(),
            boot: 0,
        };
        assert_eq!(node(&name(&it)), Some(it));
        assert_eq!(node("x"), None);
    }

    #[test]
    fn a_route_comes_back() {
        let route = Route {
            device: DeviceId::new(7).unwrap(),
            user: UserId::new(1).unwrap(),
            generation: Generation(12),
            node: NodeId {
                name: "ünode:[::1]:9000".into(),
                boot: u64::MAX,
            },
            client: "[2001:db8::1]:65535".parse().ok(),
        };
        assert_eq!(decode(route.device, &encode(&route)), Some(route.clone()));
        assert!(encode(&route).starts_with(&prefix(&route)));
        assert_eq!(decode(route.device, "12:ff:999:x"), None);
        assert_eq!(decode(route.device, ""), None);
    }
}
