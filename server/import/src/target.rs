//! The stores that an import writes.

use std::sync::Arc;

use gimlet_core::store::{
    AccountStore, DeviceStore, FriendStore, GroupStore, InboxStore, SeqStore,
};

/// The stores that an import writes: those of an empty storage that no server uses.
#[derive(Clone, Debug)]
pub struct ImportTarget {
    /// Blocks of ids.
    pub seq: Arc<dyn SeqStore>,
    /// Inboxes.
    pub inbox: Arc<dyn InboxStore>,
    /// Groups and their rosters.
    pub group: Arc<dyn GroupStore>,
    /// Friends.
    pub friend: Arc<dyn FriendStore>,
    /// Devices.
    pub device: Arc<dyn DeviceStore>,
    /// Users.
    pub account: Arc<dyn AccountStore>,
}
