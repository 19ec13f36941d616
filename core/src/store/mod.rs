//! The storage seams: the traits through which gimlet uses a database, one per file.
//!
//! **The seam follows the transaction**: changes that must become visible together are one method,
//! all others are separate. The traits are small and object-safe, so that a cluster can mix
//! engines. A decision is an enum in the `Ok`; a [`StoreError`] is a fault. Every backend keeps the
//! laws on the crate's front page; `crate::testkit` (feature `testkit`) has a case for each
//! promise.

mod account;
mod api_key;
mod device;
mod friend;
mod group;
mod inbox;
mod jwt_user;
mod outbox;
mod push_token;
mod room;
mod route;
mod seq;

use std::sync::Arc;

pub use account::{
    AccountChange, AccountStore, NewAccount, NicknameMatch, TokenRecord, UserAccount, UserBan,
};
pub use api_key::{ApiKey, ApiKeyBounds, ApiKeyCreateOutcome, ApiKeyStore};
pub use device::{AckMark, Device, DeviceInfo, DeviceStore};
pub use friend::{Friend, FriendAcceptOutcome, FriendRequestOutcome, FriendStore};
pub use group::{
    Group, GroupChange, GroupChangeOutcome, GroupEdit, GroupStore, Member, MemberEdit, MemberRole,
    NewGroup, Roster,
};
pub use inbox::{
    AppendOutcome, AppendRequest, IdempotencyKey, InboxSlice, InboxStore, JobLease, JobStepOutcome,
    RosterVersion,
};
pub use jwt_user::{
    JwtProfile, JwtProfileChange, JwtRevocation, JwtUser, JwtUserStore, MAX_REVOKED_JWTS,
    RevokedJwt,
};
pub use outbox::{
    DeadLetter, FailedDelivery, HOOK_LEASE, HookBacklog, HookClaimOutcome, HookLease, LeaseMark,
    LeasedOutcome, MAX_ERROR_BYTES, OutboxBounds, OutboxPosition, OutboxRow, OutboxStore,
    cut_error,
};
pub use push_token::{PushAddress, PushProvider, PushRegistration, PushTokenStore};
pub use room::{RoomHistory, RoomItem, RoomSink, RoomStore, StreamId};
pub use route::{
    LeaseRenewal, ROUTE_CLAIM_INTERVAL, ROUTE_LIFETIME, Route, RouteClaimOutcome, RouteStore,
};
pub use seq::{Head, IdScope, SeqStore};

/// A fault of a store: the call has no result.
#[derive(Debug, thiserror::Error)]
#[error("{op}: {kind}")]
pub struct StoreError {
    /// The operation, as `trait.method`.
    pub op: &'static str,
    /// Kind of the fault, which tells the caller how to react.
    pub kind: StoreErrorKind,
    /// Error of the engine.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Creates a fault without an underlying error.
    #[must_use]
    pub const fn new(op: &'static str, kind: StoreErrorKind) -> Self {
        Self {
            op,
            kind,
            source: None,
        }
    }

    /// Creates a fault with the engine's error as its source.
    pub fn with(
        op: &'static str,
        kind: StoreErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            op,
            kind,
            source: Some(source.into()),
        }
    }
}

/// Kinds of fault, by the reaction of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreErrorKind {
    /// The store is unavailable: nothing was stored, and the same call may succeed later.
    #[error("unavailable")]
    Unavailable,
    /// Another node or session holds a lock on part of the batch: nothing was stored. The rest of
    /// the same batch may succeed by itself.
    #[error("locked by another session")]
    Contended,
    /// The change may or may not have taken place: repeat it with the same key.
    #[error("unknown outcome")]
    Unknown,
    /// The store is full or nearly full: nothing was stored; reads still work.
    #[error("full")]
    Full,
    /// The stored data is invalid: stop using this store.
    #[error("corrupt")]
    Corrupt,
    /// The call itself was invalid: a bug of the caller.
    #[error("misuse")]
    Misuse,
}

/// All stores of a node; cheap to clone.
#[derive(Clone, Debug)]
pub struct StoreSet {
    /// Heads, floors, the epoch and id blocks.
    pub seq: Arc<dyn SeqStore>,
    /// The inboxes.
    pub inbox: Arc<dyn InboxStore>,
    /// Groups and their rosters; the same engine as `inbox`.
    pub group: Arc<dyn GroupStore>,
    /// Rooms and their brief history.
    pub room: Arc<dyn RoomStore>,
    /// Routes: the node that holds each device's connection.
    pub route: Arc<dyn RouteStore>,
    /// Registered devices, generations and acks.
    pub device: Arc<dyn DeviceStore>,
    /// Users and tokens of the built-in business service.
    pub account: Arc<dyn AccountStore>,
    /// API keys of backends.
    pub api_key: Arc<dyn ApiKeyStore>,
    /// Users that JWTs of the backend name.
    pub jwt_user: Arc<dyn JwtUserStore>,
    /// Friends; the same engine as `inbox`.
    pub friend: Arc<dyn FriendStore>,
    /// Events of hooks; the same engine as `inbox`.
    pub outbox: Arc<dyn OutboxStore>,
    /// Addresses of devices at push services.
    pub push_token: Arc<dyn PushTokenStore>,
}
