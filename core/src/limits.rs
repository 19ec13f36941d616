//! All limits of a node: their units, their defaults, and the effect of reaching them.

use std::time::Duration;

/// The limits of a node. The defaults suit a small server; docs/configuration.md lists those that
/// are settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message's content; longer content is refused with 10001.
    pub content: usize,
    /// Users mentioned by a message; more are refused with 10001.
    pub mentions: usize,
    /// Bytes of a client message id; a longer one is refused with 10001.
    pub client_id: usize,
    /// Members of a group; further additions are refused.
    pub group_members: usize,
    /// Users that one user may add to groups in a day; more are refused with 8.
    pub group_adds: u32,
    /// Sends in one append to the store.
    pub batch_sends: usize,
    /// Entries in one append to the store.
    pub batch_entries: usize,
    /// Content bytes in one append to the store.
    pub batch_bytes: usize,
    /// Sends that wait for the batch writer; more are refused as unavailable.
    pub send_queue: usize,
    /// Bytes of the waiting sends: content, mentions and recipients; more are refused as
    /// unavailable.
    pub send_queue_bytes: usize,
    /// Entries of one group's sends that are accepted and not delivered yet, for groups above
    /// [`FANOUT_CHUNK`] members; further sends are refused with 8.
    pub group_backlog: usize,
    /// As `group_backlog`, for all groups of a node.
    pub node_backlog: usize,
    /// Time within which a send is answered. When it ends, a send whose batch has not started is
    /// answered with 14, any other with 4.
    pub send_deadline: Duration,
    /// Time for which a repeat is recognised by its client message id.
    pub key_window: Duration,
    /// Time for which a repeat without a client message id is recognised (gim's clients).
    pub legacy_window: Duration,
    /// Sends, room pushes, friend requests and group changes per second of one user.
    pub send_rate: u32,
    /// Burst of `send_rate`; beyond it requests are refused with 8.
    pub send_burst: u32,
    /// SYNC, `SUBSCRIBE_ROOM` and HEARTBEAT packets per second of one user, over all its
    /// connections to this node.
    pub request_rate: u32,
    /// Burst of `request_rate`; beyond it requests are refused with 8. It is generous because an
    /// old client that returns to a long inbox asks for page after page.
    pub request_burst: u32,
    /// Entries of a SYNC page, and of a page that the gateway reads for itself.
    pub page_items: usize,
    /// Content bytes after which such a page ends.
    pub page_bytes: usize,
    /// Concurrent inbox reads for all connections of a node; further reads queue.
    pub parallel_reads: usize,
    /// Bytes queued for one connection; beyond it the connection lags, and its inbox is read later.
    pub outbox_bytes: usize,
    /// Entries kept ahead of the cursor until their predecessors arrive.
    pub parked_entries: usize,
    /// Bytes of the entries kept ahead of the cursor.
    pub parked_bytes: usize,
    /// Time for which parked entries wait for their predecessors before the inbox is read.
    pub parked_wait: Duration,
    /// Time after which a client that does not request SYNC, or does not request the next page,
    /// receives pushes anyway.
    pub sync_wait: Duration,
    /// Interval at which collected acks are written.
    pub ack_flush: Duration,
    /// Interval at which heads are read, in one call for all heartbeats that arrived meanwhile.
    pub head_check: Duration,
    /// Time for which a user's profile is cached.
    pub profile_ttl: Duration,
    /// Number of cached profiles.
    pub profiles: u64,
    /// Size of the roster cache, in members.
    pub roster_members: u64,
    /// Superseded connections of legacy clients kept open for each device.
    pub zombies: usize,
    /// Items of a list page (search, members, groups, friends).
    pub list_page: usize,
    /// Minimum number of entries kept in each inbox; older ones are removed. 0 keeps all.
    /// (In-memory storage has a limit of its own.)
    pub keep_entries: u64,
    /// Duration of the node's lease (law 8).
    pub lease: Duration,
    /// True if a connection ends when the token that it signed in with expires.
    pub end_expired: bool,
    /// Failed sign-ins for a user from one address in a minute.
    pub failed_sign_ins: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            content: 60 * 1024,
            mentions: 200,
            client_id: 64,
            group_members: 10_000,
            group_adds: 20_000,
            batch_sends: 512,
            batch_entries: 5_000,
            batch_bytes: 4 << 20,
            send_queue: 8_192,
            send_queue_bytes: 64 << 20,
            // About 15 s and 60 s of MySQL's throughput on two cores (docs/performance.md).
            group_backlog: 500_000,
            node_backlog: 2_000_000,
            send_deadline: Duration::from_millis(1_500),
            key_window: Duration::from_hours(168),
            legacy_window: Duration::from_mins(10),
            send_rate: 20,
            send_burst: 600,
            request_rate: 200,
            request_burst: 2_000,
            page_items: 50,
            page_bytes: 60 * 1024,
            parallel_reads: 64,
            outbox_bytes: 256 * 1024,
            parked_entries: 32,
            parked_bytes: 64 * 1024,
            parked_wait: Duration::from_millis(50),
            sync_wait: Duration::from_secs(5),
            ack_flush: Duration::from_secs(5),
            head_check: Duration::from_secs(1),
            profile_ttl: Duration::from_mins(1),
            profiles: 100_000,
            roster_members: 1_000_000,
            zombies: 2,
            list_page: 50,
            keep_entries: 0,
            lease: Duration::from_secs(15),
            end_expired: true,
            failed_sign_ins: 10,
        }
    }
}

/// Recipients above which a group send becomes a fan-out job, and the number of entries in one
/// chunk of the job.
pub const FANOUT_CHUNK: usize = 1_000;
