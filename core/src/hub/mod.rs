//! The live connections of this node.
//!
//! Two sharded maps, by user and by device, under plain mutexes: nothing is awaited under them, and
//! the work under them is a look-up and the clone of an `Arc`. The hub decides which connection of
//! a user owns a device (law 7) and hands delivery batches to connections; it knows no socket and
//! no store.
//!
//! Lock order: a shard of one map is never locked under a shard of the other. A handle's lock may
//! be taken under a shard of the user map.

mod close;
mod cursor;
mod handle;
mod identity;
mod lags;
mod outbox;
mod revoked;
mod room;
mod state;
mod task;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

pub use close::{CloseReason, DEVICE_SWITCHED, SIGNED_OUT};
pub use handle::ConnectionHandle;
pub use identity::ConnectionIdentity;
pub use task::ConnectionWork;

use lags::LagCounter;
use revoked::RecentRevocations;

use crate::delivery::DeliveryBatch;
use crate::fanout::LocalSink;
use crate::id::{ConnId, DeviceId, Generation, UserId};
use crate::map::{FastHashMap, FastHashState};
use crate::seq::Seq;
use crate::trace;
use crate::wake_list::WakeList;

const SHARD_COUNT: usize = 64;

/// A user on a device, which one connection at a time owns (law 7).
type UserDevice = (UserId, DeviceId);

/// The connections of one user on one device: the owner, and superseded ones of legacy clients that
/// must stay open.
#[derive(Debug)]
struct DeviceConnections {
    owner: Arc<ConnectionHandle>,
    zombies: Vec<Arc<ConnectionHandle>>,
}

/// The live connections of a node.
#[derive(Debug)]
pub struct ConnectionHub {
    users: Vec<Mutex<FastHashMap<UserId, Vec<Arc<ConnectionHandle>>>>>,
    /// By user and device, because a device id proves nothing: another user who signs in with it
    /// displaces no connection. Sharded by device.
    devices: Vec<Mutex<FastHashMap<UserDevice, DeviceConnections>>>,
    zombies: usize,
    next: AtomicU64,
    connections: AtomicUsize,
    pushed: AtomicU64,
    revoked: RecentRevocations,
    lags: Arc<LagCounter>,
    /// Random seed of the sharding, so that a client cannot choose ids that share a shard with a
    /// given user.
    seed: FastHashState,
}

impl ConnectionHub {
    /// Creates a hub that keeps up to `zombies` superseded connections of a legacy client's device
    /// open.
    #[must_use]
    pub fn new(zombies: usize) -> Self {
        Self {
            users: (0..SHARD_COUNT).map(|_| Mutex::default()).collect(),
            devices: (0..SHARD_COUNT).map(|_| Mutex::default()).collect(),
            zombies,
            next: AtomicU64::new(1),
            connections: AtomicUsize::new(0),
            pushed: AtomicU64::new(0),
            revoked: RecentRevocations::default(),
            lags: Arc::default(),
            seed: FastHashState::default(),
        }
    }

    /// Returns the number of signed-in connections that own their device.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns the number of entries and live messages offered to connections so far.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed.load(Ordering::Relaxed)
    }

    /// Returns how often a live connection fell behind its pushes and began to read its inbox
    /// instead, and how often one caught up or was removed.
    #[must_use]
    pub fn lags(&self) -> (u64, u64) {
        self.lags.counts()
    }

    pub(crate) const fn lag_counter(&self) -> &Arc<LagCounter> {
        &self.lags
    }

    /// Returns the user's connections on this node.
    #[must_use]
    pub fn of(&self, user: UserId) -> Vec<Arc<ConnectionHandle>> {
        self.user(user).get(&user).cloned().unwrap_or_default()
    }

    /// Returns the highest entry that a live connection of the user was served.
    pub(crate) fn served(&self, user: UserId) -> Seq {
        let users = self.user(user);
        let handles = users.get(&user).into_iter().flatten();
        handles
            .filter_map(|handle| handle.served())
            .max()
            .unwrap_or_default()
    }

    /// Returns the connection of this user that owns the device on this node.
    #[must_use]
    pub fn owner(&self, user: UserId, device: DeviceId) -> Option<Arc<ConnectionHandle>> {
        self.device(device)
            .get(&(user, device))
            .map(|d| Arc::clone(&d.owner))
    }

    /// Returns the connections on this device for all users; there are several if users signed in
    /// with the same device id. Scans a shard, so it is for calls that name no user only.
    #[must_use]
    pub fn on_device(&self, device: DeviceId) -> Vec<Arc<ConnectionHandle>> {
        let devices = self.device(device);
        let here = devices.iter().filter(|((_, id), _)| *id == device);
        here.map(|(_, it)| Arc::clone(&it.owner)).collect()
    }

    pub(crate) fn count_pushes(&self, n: usize) {
        self.pushed.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(crate) fn next_conn(&self) -> ConnId {
        let raw = self.next.fetch_add(1, Ordering::Relaxed);
        ConnId::new(raw).expect("a node does not see 2^63 connections")
    }

    /// Makes the connection the owner of its device, unless the owner has a larger generation.
    pub(crate) fn insert(&self, handle: &Arc<ConnectionHandle>) -> bool {
        let identity = handle.identity();
        let mut closed = None;
        let displaced = {
            let mut devices = self.device(identity.device);
            match devices.entry((identity.user, identity.device)) {
                Entry::Vacant(place) => {
                    place.insert(DeviceConnections {
                        owner: Arc::clone(handle),
                        zombies: Vec::new(),
                    });
                    None
                }
                Entry::Occupied(mut place) => {
                    let device = place.get_mut();
                    if device.owner.identity().generation > identity.generation {
                        return false;
                    }
                    let old = std::mem::replace(&mut device.owner, Arc::clone(handle));
                    if old.identity().protocol == 0 {
                        device.zombies.push(Arc::clone(&old));
                        if device.zombies.len() > self.zombies {
                            closed = Some(device.zombies.remove(0));
                        }
                    }
                    Some(old)
                }
            }
        };
        // Outside the shard's lock, because these steps lock a handle and the user map.
        if let Some(old) = &displaced {
            old.supersede();
            self.forget_user(old);
        }
        if let Some(zombie) = closed {
            zombie.close(CloseReason::Superseded);
        }
        self.user(identity.user)
            .entry(identity.user)
            .or_insert_with(|| Vec::with_capacity(1))
            .push(Arc::clone(handle));
        self.connections.fetch_add(1, Ordering::Relaxed);
        // A newer sign-in may have displaced this one between the two maps, when it was not in the
        // user map yet and could not be removed from there.
        if handle.is_superseded() {
            self.remove(handle);
            return false;
        }
        true
    }

    /// Returns whether the right to the device was revoked since `since`.
    pub(crate) fn revoked_since(&self, user: UserId, device: DeviceId, since: Instant) -> bool {
        self.revoked.since(user, device, since)
    }

    /// Removes a connection that has ended. With an owner, its superseded connections are closed.
    /// Returns whether it was the owner.
    pub(crate) fn remove(&self, handle: &Arc<ConnectionHandle>) -> bool {
        let ConnectionIdentity {
            user, device: id, ..
        } = *handle.identity();
        let seat = (user, id);
        let mut zombies = Vec::new();
        let owned = {
            let mut devices = self.device(id);
            let Some(device) = devices.get_mut(&seat) else {
                return false;
            };
            let owned = Arc::ptr_eq(&device.owner, handle);
            if owned {
                zombies = std::mem::take(&mut device.zombies);
                devices.remove(&seat);
            } else {
                device.zombies.retain(|z| !Arc::ptr_eq(z, handle));
            }
            owned
        };
        for zombie in zombies {
            zombie.close(CloseReason::Superseded);
        }
        self.forget_user(handle);
        owned
    }

    /// Offers delivery batches to their recipients' connections, in order. A connection's task is
    /// woken after all of them were offered, so that it writes once.
    pub fn deliver(&self, deliveries: &[DeliveryBatch]) {
        trace::deliver(deliveries, || self.offer_all(deliveries));
    }

    fn offer_all(&self, deliveries: &[DeliveryBatch]) {
        let mut wake_list = WakeList::default();
        let mut offered = 0;
        for delivery in deliveries {
            match delivery {
                DeliveryBatch::Entries { envelope, to } => {
                    for &(user, seq) in to {
                        self.each_of(user, |handle| {
                            offered += 1;
                            let own = handle.was_answered(&envelope.message);
                            let entry = (!own).then(|| Arc::clone(envelope));
                            wake_list.add(handle.offer(seq, entry));
                        });
                    }
                }
                DeliveryBatch::Live { envelope, to } => {
                    for &user in to {
                        self.each_of(user, |handle| {
                            offered += 1;
                            if !handle.was_answered(&envelope.message) {
                                wake_list.add(handle.offer_live_quietly(Seq::ZERO, envelope));
                            }
                        });
                    }
                }
                DeliveryBatch::Everyone { envelope } => {
                    self.each(|handle| {
                        offered += 1;
                        wake_list.add(handle.offer_live_quietly(Seq::ZERO, envelope));
                    });
                }
            }
        }
        self.count_pushes(offered);
    }

    /// Records that the user signed in on this device elsewhere with this generation. An older
    /// connection of both on this node is served nothing more (law 7).
    pub fn supersede(&self, user: UserId, device: DeviceId, generation: Generation) {
        let older = |h: &Arc<ConnectionHandle>| h.identity().generation < generation;
        if let Some(handle) = self.owner(user, device).filter(older) {
            handle.supersede();
            self.forget_user(&handle);
        }
    }

    /// Records that the user's inbox reaches this far.
    pub fn hint(&self, user: UserId, head: Seq) {
        self.each_of(user, |handle| handle.hint(head));
    }

    /// Closes the user's connection on this device, or on all devices; returns how many. A sign-in
    /// in progress whose token was checked before is refused as well.
    pub fn disconnect(&self, user: UserId, device: Option<DeviceId>, reason: &str) -> usize {
        // Recorded first: a sign-in that enters the hub after the connections were collected then
        // finds the revocation.
        self.revoked.note(user, device);
        let mut handles = self.of(user);
        handles.retain(|h| device.is_none_or(|d| h.identity().device == d));
        for handle in &handles {
            // A legacy client takes such a close for that of its present connection, so this one
            // stays open and is served nothing more.
            if reason == DEVICE_SWITCHED && handle.identity().protocol == 0 {
                handle.supersede();
                self.forget_user(handle);
            } else {
                handle.close(CloseReason::revoked(reason));
            }
        }
        handles.len()
    }

    /// Calls `f` for every connection that owns its device.
    pub fn each(&self, mut f: impl FnMut(&Arc<ConnectionHandle>)) {
        for shard in &self.users {
            let handles: Vec<_> = lock(shard).values().flatten().cloned().collect();
            handles.iter().for_each(&mut f);
        }
    }

    /// Closes every connection whose token has expired at `now`, in seconds of the gateway's clock.
    /// Returns the next expiry, or 0 if there is none.
    pub(crate) fn close_expired(&self, now: u32) -> u32 {
        let mut next = 0;
        for shard in &self.users {
            for handle in lock(shard).values().flatten() {
                match handle.identity().expires {
                    0 => {}
                    at if at <= now => handle.close(CloseReason::Expired),
                    at if next == 0 || at < next => next = at,
                    _ => {}
                }
            }
        }
        next
    }

    /// Calls `f` for every connection, superseded ones included.
    pub(crate) fn each_open(&self, mut f: impl FnMut(&Arc<ConnectionHandle>)) {
        for shard in &self.devices {
            let handles: Vec<_> = lock(shard)
                .values()
                .flat_map(|d| std::iter::once(&d.owner).chain(&d.zombies))
                .cloned()
                .collect();
            handles.iter().for_each(&mut f);
        }
    }

    /// Calls `f` for every connection of the user that owns its device.
    fn each_of(&self, user: UserId, mut f: impl FnMut(&ConnectionHandle)) {
        let map = self.user(user);
        if let Some(handles) = map.get(&user) {
            for handle in handles {
                f(handle);
            }
        }
    }

    fn forget_user(&self, handle: &Arc<ConnectionHandle>) {
        let user = handle.identity().user;
        let mut users = self.user(user);
        if let Some(handles) = users.get_mut(&user) {
            let before = handles.len();
            handles.retain(|h| !Arc::ptr_eq(h, handle));
            self.connections
                .fetch_sub(before - handles.len(), Ordering::Relaxed);
            if handles.is_empty() {
                users.remove(&user);
            }
        }
    }

    fn user(
        &self,
        user: UserId,
    ) -> MutexGuard<'_, FastHashMap<UserId, Vec<Arc<ConnectionHandle>>>> {
        lock(shard(&self.users, self.seed.hash_one(user)))
    }

    fn device(
        &self,
        device: DeviceId,
    ) -> MutexGuard<'_, FastHashMap<UserDevice, DeviceConnections>> {
        lock(shard(&self.devices, self.seed.hash_one(device)))
    }
}

impl LocalSink for ConnectionHub {
    fn deliver(&self, deliveries: &[DeliveryBatch]) {
        Self::deliver(self, deliveries);
    }

    fn disconnect(&self, user: UserId, device: Option<DeviceId>, reason: &str) {
        Self::disconnect(self, user, device, reason);
    }
}

fn shard<T>(shards: &[T], hash: u64) -> &T {
    let at = usize::try_from(hash % SHARD_COUNT as u64).unwrap_or(0);
    shards
        .get(at)
        .expect("there are SHARDS shards, and the index is taken modulo SHARDS")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
