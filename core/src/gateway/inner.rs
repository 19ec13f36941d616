//! The parts of a gateway, which its connections share, and the moves between rooms.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::acks::PendingAcks;
use super::context::GatewayContext;
use super::expiry::TokenExpiry;
use super::heads::HeadComparisons;
use super::histories::RoomHistories;
use super::pause_detector::PauseDetector;
use super::rooms::RoomSubscriptions;
use super::routes::RouteRegistration;
use super::sign_in_heads::SignInHeads;
use crate::error::RequestRefusal;
use crate::hub::ConnectionHandle;
use crate::id::{RoomId, UserId};
use crate::rate::RateLimiter;
use crate::store::{RoomSink, RoomStore};

/// Start of a device's first page when its client names no seq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncFromZero {
    /// From the floor on: the device has nothing, so it gets everything retained.
    #[default]
    All,
    /// After the last entry that this device has acked.
    DeviceAck,
    /// After the last entry that any device of the user has acked: gim's rule.
    UserAck,
}

/// The parts of a gateway.
#[derive(Debug)]
pub(super) struct GatewayInner {
    pub(super) context: GatewayContext,
    pub(super) room_store: Arc<dyn RoomStore>,
    pub(super) rooms: Arc<RoomSubscriptions>,
    pub(super) histories: Arc<RoomHistories>,
    pub(super) acks: PendingAcks,
    pub(super) heads: HeadComparisons,
    pub(super) sign_in_heads: SignInHeads,
    pub(super) routes: RouteRegistration,
    pub(super) pause_detector: PauseDetector,
    pub(super) expiry: TokenExpiry,
    pub(super) reads: Semaphore,
    pub(super) requests: RateLimiter<UserId>,
    pub(super) from_zero: SyncFromZero,
}

impl GatewayInner {
    /// Adds a connection, whose cursor is in the room already, to the room's members. The first
    /// member of the node subscribes the node.
    pub(super) async fn join_room(
        &self,
        room: RoomId,
        handle: &Arc<ConnectionHandle>,
    ) -> Result<(), RequestRefusal> {
        // The gate is held until the store has answered. Without it, a member that leaves at the
        // same time could end the node's subscription after this one was counted (C-16, C-17).
        let _gate = self.rooms.gate(room).await;
        // The connection may have ended or moved on while this waited. Its departure may have
        // passed the gate already, so it must not enter after that. A departure that follows this
        // check waits for the gate.
        if !handle.follows(room) {
            return Ok(());
        }
        if self.rooms.enter(room, handle) {
            let sink: Arc<dyn RoomSink> = Arc::clone(&self.rooms) as _;
            if let Err(error) = self.room_store.subscribe(room, sink).await {
                self.rooms.leave(room, handle.identity().conn);
                handle.quit_room(room);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Removes a connection from a room, and ends the node's subscription with its last member.
    pub(super) async fn leave_room(&self, room: RoomId, handle: &ConnectionHandle) {
        let _gate = self.rooms.gate(room).await;
        // The device may have reconnected while this waited.
        if handle.follows(room) {
            return;
        }
        if self.rooms.leave(room, handle.identity().conn) {
            let sink: Arc<dyn RoomSink> = Arc::clone(&self.rooms) as _;
            if let Err(error) = self.room_store.unsubscribe(room, sink).await {
                tracing::debug!(%error, %room, "room not unsubscribed");
            }
        }
    }
}
