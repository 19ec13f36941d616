//! Every limit of a node, in one place: unit, default, and what happens at it.

use std::time::Duration;

/// The limits of a node. The defaults are those of a small server; all of them are settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message's content; more is refused with 10001.
    pub content: usize,
    /// Users a message may mention; more is refused with 10001.
    pub mentions: usize,
    /// Bytes of a client message id; more is refused with 10001.
    pub client_id: usize,
    /// Members of a group; an addition that would pass it is refused.
    pub group_members: usize,
    /// Users that one user may add to groups in a day; more are refused with 8.
    pub group_adds: u32,
    /// Sends in one batch of the store.
    pub batch_sends: usize,
    /// Entries in one batch of the store.
    pub batch_entries: usize,
    /// Content bytes in one batch of the store.
    pub batch_bytes: usize,
    /// Sends that wait for a batch; more are refused as unavailable.
    pub send_queue: usize,
    /// Bytes of the sends that wait: content, mentions and recipients; more are refused as
    /// unavailable.
    pub send_queue_bytes: usize,
    /// Entries of one group's sends that are accepted and not delivered yet, for groups above [`PART`]
    /// members; more sends are refused with 8.
    pub group_backlog: usize,
    /// The same for all groups of a node.
    pub node_backlog: usize,
    /// A send is answered within this: 14 if its batch had not started, else 4.
    pub send_deadline: Duration,
    /// How long a repeat by client message id is recognised.
    pub key_window: Duration,
    /// How long a repeat without one is recognised (gim's clients).
    pub legacy_window: Duration,
    /// Sends per second of one user, and how many at once.
    pub send_rate: u32,
    /// The burst of `send_rate`; beyond it sends are refused with 8.
    pub send_burst: u32,
    /// SYNC, `SUBSCRIBE_ROOM` and HEARTBEAT packets per second of one user, over all its connections
    /// to this node.
    pub request_rate: u32,
    /// The burst of `request_rate`; beyond it they are refused with 8. Generous, because an old
    /// client that comes back to a long inbox asks for page after page.
    pub request_burst: u32,
    /// Entries of a SYNC page and of a page the gateway reads for itself.
    pub page_items: usize,
    /// Content bytes at which such a page ends.
    pub page_bytes: usize,
    /// Inbox reads at a time for all connections of a node; the rest queue.
    pub parallel_reads: usize,
    /// Bytes queued for one connection; beyond it the connection lags and reads its inbox later.
    pub outbox_bytes: usize,
    /// Entries parked ahead of the cursor.
    pub parked_entries: usize,
    /// Bytes parked ahead of the cursor.
    pub parked_bytes: usize,
    /// How long parked entries wait for their predecessors before the inbox is read.
    pub parked_wait: Duration,
    /// A client that does not ask for SYNC, or not for the next page, goes live after this.
    pub sync_wait: Duration,
    /// How often gathered acks are written.
    pub ack_flush: Duration,
    /// Heartbeats within this span share one read of heads.
    pub head_check: Duration,
    /// How long a user's profile is cached.
    pub profile_ttl: Duration,
    /// Profiles cached.
    pub profiles: u64,
    /// Rosters cached, in members.
    pub roster_members: u64,
    /// Superseded connections of old clients kept open per device.
    pub zombies: usize,
    /// Items of a list page (search, members, groups, friends).
    pub list_page: usize,
    /// Entries kept of each inbox at least, beyond which the oldest are removed; 0 keeps all.
    /// (In-memory storage has a bound of its own.)
    pub keep_entries: u64,
    /// The node's lease (law 8).
    pub lease: Duration,
    /// Whether a connection ends when the token expires that it signed in with.
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
            // Some 15 and 60 s of what MySQL makes on two cores (docs/performance.md).
            group_backlog: 500_000,
            node_backlog: 2_000_000,
            send_deadline: Duration::from_millis(1_500),
            key_window: Duration::from_hours(168),
            legacy_window: Duration::from_mins(10),
            send_rate: 200,
            send_burst: 1_000,
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

/// Recipients above which a group send becomes a fan-out job, and entries of one part of it.
pub const PART: usize = 1_000;
