//! All limits of a node: their units, their defaults, and the effect of reaching them.

pub(crate) mod field;

use std::time::Duration;

use field::declare_limits;

pub use field::{LimitBound, LimitField};

/// Bytes that a message's content may have in a frame, less what surrounds it there: envelope,
/// profile, seq.
pub const MAX_CONTENT_BYTES: usize = 60 * 1024;

declare_limits! {
    /// The limits of a node. The defaults are those of a small server. The docs of those that are
    /// settings are also the text of their pages.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// Maximum bytes of a message's content; longer content is refused with 10001. A frame has
        /// no room for more than the largest value.
        content: usize = MAX_CONTENT_BYTES, LimitBound::range(1, MAX_CONTENT_BYTES as u64);
        /// Maximum number of users that a message may mention; more are refused with 10001.
        mentions: usize = 200;
        /// Maximum bytes of a client message id; a longer one is refused with 10001.
        client_id: usize = 64;
        /// Maximum number of members of a group; further additions are refused.
        group_members: usize = 10_000, LimitBound::range(1, 1_000_000);
        /// Maximum number of users that one user may add to groups in a day; more are refused with
        /// 8.
        group_adds: u32 = 20_000;
        /// Maximum number of devices on which one user signs in for the first time in a day; on more
        /// it is refused with 8, unless the device was registered. JWTs and tokens of a business
        /// server may name devices that were not.
        new_devices: u32 = 200, LimitBound::range(1, 1 << 30);
        /// Maximum number of sends in one append to the store.
        batch_sends: usize = 512;
        /// Maximum number of entries in one append to the store.
        batch_entries: usize = 5_000;
        /// Maximum content bytes in one append to the store.
        batch_bytes: usize = 4 << 20;
        /// Maximum number of sends that wait for the storage; more are refused with 14.
        send_queue: usize = 8_192, LimitBound::range(1, 1 << 20);
        /// Content bytes of these sends, plus 8 bytes for each recipient and mention; sends beyond
        /// it are refused with 14.
        send_queue_bytes: usize = 64 << 20, LimitBound::range(1 << 20, 1 << 40);
        // About 15 s and 60 s of MySQL's throughput on two cores (docs/performance.md).
        /// Entries of one group above 1,000 members that are accepted but not delivered yet; sends
        /// beyond it are refused with 8.
        group_backlog: usize = 500_000, LimitBound::range(1, 1 << 40);
        /// The same for all groups of this node.
        node_backlog: usize = 2_000_000, LimitBound::range(1, 1 << 40);
        /// Time within which a send is answered. When it ends, a send whose append has not begun is
        /// answered with 14, any other with 4.
        send_deadline: Duration = Duration::from_millis(1_500), LimitBound::not_zero();
        /// Time for which a repeated `client_message_id` is recognised.
        key_window: Duration = Duration::from_hours(168);
        /// Time for which a repeat without a `client_message_id` is recognised (gim's clients).
        legacy_window: Duration = Duration::from_mins(10);
        /// Sends, room pushes, friend requests and group changes of one user per second.
        send_rate: u32 = 20, LimitBound::range(1, 1 << 30);
        /// The same, in a burst; more are refused with 8.
        send_burst: u32 = 600, LimitBound::range(1, 1 << 30);
        // A send costs the server an entry for each member, so it costs its sender accordingly.
        /// Members of a group for which a send counts as one more against `send_rate`: with 100, a
        /// send to a group of 1,000 counts as 11.
        send_cost_members: u32 = 100, LimitBound::range(1, 1 << 30);
        /// SYNC, `SUBSCRIBE_ROOM` and HEARTBEAT packets of one user per second, over all its
        /// connections to this node.
        request_rate: u32 = 200, LimitBound::range(1, 1 << 30);
        // Generous, because an old client that returns to a long inbox asks for page after page.
        /// The same packets, in a burst; more are refused with 8.
        request_burst: u32 = 2_000, LimitBound::range(1, 1 << 30);
        /// Maximum number of messages in one SYNC page.
        page_items: usize = 50, LimitBound::range(1, 50);
        /// Maximum content bytes of one SYNC page.
        page_bytes: usize = MAX_CONTENT_BYTES, LimitBound::range(1, MAX_CONTENT_BYTES as u64);
        /// Concurrent inbox reads for all connections; further reads wait.
        parallel_reads: usize = 64, LimitBound::range(1, 4_096);
        /// Maximum number of bytes queued for one connection; beyond it the connection lags, and
        /// reads its inbox later.
        outbox_bytes: usize = 256 * 1024, LimitBound::range(MAX_CONTENT_BYTES as u64, 1 << 30);
        /// Entries kept ahead of the cursor until their predecessors arrive.
        parked_entries: usize = 32;
        /// Bytes of the entries kept ahead of the cursor.
        parked_bytes: usize = 64 * 1024;
        /// Time for which parked entries wait for their predecessors before the inbox is read.
        parked_wait: Duration = Duration::from_millis(50);
        /// Time after which a client that does not send SYNC, or does not ask for the next page,
        /// gets pushes anyway.
        sync_wait: Duration = Duration::from_secs(5);
        /// Interval at which collected acks are written.
        ack_flush: Duration = Duration::from_secs(5);
        /// Interval at which heads are read, in one call for all heartbeats that arrived meanwhile.
        head_check: Duration = Duration::from_secs(1);
        /// Time for which users' profiles are cached.
        profile_ttl: Duration = Duration::from_mins(1);
        /// Maximum number of cached profiles.
        profiles: u64 = 100_000;
        /// Size of the roster cache, in members.
        roster_members: u64 = 1_000_000;
        /// Superseded connections of legacy clients kept open for each device.
        zombies: usize = 2;
        /// Items on a page of search results, members, groups or friends.
        list_page: usize = 50, LimitBound::range(1, 1_000);
        /// Minimum number of entries kept in each inbox; older entries are removed. 0 keeps all.
        /// The storage in memory has a limit of its own.
        keep_entries: u64 = 0;
        /// Events of one webhook that wait for their delivery; above it the oldest ones are removed,
        /// with an ERROR.
        webhook_events: u64 = 1_000_000, LimitBound::range(1_000, 1 << 40);
        /// Dead letters of one webhook; above it the oldest ones are removed, with an ERROR.
        webhook_dead_letters: u64 = 100_000, LimitBound::range(0, 1 << 40);
        /// Duration of the node's lease (law 8).
        lease: Duration = Duration::from_secs(15);
        /// Closes a connection (4201) when the token that it signed in with expires; for the role
        /// connect, the same on all connect nodes. With `false` the connection lasts until it ends
        /// for another reason.
        end_expired: bool = true;
        /// Wrong tokens per minute for a user from one address, and wrong codes per address and per
        /// phone number; more are refused for a minute. See `docs/operations.md#guessed-tokens`.
        failed_sign_ins: u32 = 10;
    }
}

/// Recipients above which a group send becomes a fan-out job, and the number of entries in one
/// chunk of the job.
pub const FANOUT_CHUNK: usize = 1_000;
