//! What a session allows: each with its unit, its default and what happens at it.

use std::time::Duration;

use crate::link::Wire;

/// The settings of all sessions of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// A connection that has not tried to sign in closes after this. Default 10 s.
    pub silent: Duration,
    /// A TCP connection closes when nothing came in for this long. Default 11 min, as in gim.
    pub idle_tcp: Duration,
    /// The same for WebSocket. Default 12 min, as in gim.
    pub idle_ws: Duration,
    /// Longest time in which a WebSocket client gets nothing: a ping then. Proxies cut what is silent,
    /// nginx after 60 s. Zero: never. Default 50 s.
    pub ws_silence: Duration,
    /// A client that takes nothing of what waits for it for this long is closed with 4102; what it has
    /// not got is in its inbox. Default 2 min.
    pub stuck: Duration,
    /// Sends of one connection that wait for their answers; at it the socket is not read.
    /// Default 64.
    pub in_flight: usize,
    /// Packets that could not be read; the last one closes the connection. Default 3.
    pub undecodable: u8,
    /// Failed sign-ins of one address (loopback exempt), and of one user, in a minute; at it further
    /// ones are refused with code 8 until the minute is over, but for tokens that were right here
    /// before. Default 10.
    pub failed_sign_ins: u32,
    /// Whether TCP clients without a protocol version get one frame per write, paced, and small
    /// SYNC pages, because they parse one frame per read (gim's fim). Default on.
    pub pace: bool,
    /// Shortest pause after a frame to such a client, unless it answers before: all of the pause for
    /// one that does not ack. The acks of one that does are waited for up to 2 s. Default 50 ms.
    pub pace_wait: Duration,
    /// How long a connection that is being closed may take to let go. Default 1 s.
    pub linger: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            silent: Duration::from_secs(10),
            idle_tcp: Duration::from_mins(11),
            idle_ws: Duration::from_mins(12),
            ws_silence: Duration::from_secs(50),
            stuck: Duration::from_mins(2),
            in_flight: 64,
            undecodable: 3,
            failed_sign_ins: 10,
            pace: true,
            pace_wait: Duration::from_millis(50),
            linger: Duration::from_secs(1),
        }
    }
}

impl SessionSettings {
    pub(crate) const fn idle(&self, wire: Wire) -> Duration {
        match wire {
            Wire::Tcp => self.idle_tcp,
            Wire::WebSocket => self.idle_ws,
        }
    }
}
