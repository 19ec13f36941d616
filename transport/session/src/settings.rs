//! Settings of a session: each with its unit, its default and its effect.

use std::time::Duration;

use crate::link::WireKind;

/// The settings of all sessions of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Time after which a connection without a sign-in attempt is closed; also the time to finish
    /// after the client has ended its side. Default 10 s.
    pub silent_before_sign_in: Duration,
    /// Time without input after which a TCP connection is closed. Default 11 min, as in gim.
    pub idle_tcp: Duration,
    /// Time without input after which a WebSocket connection is closed. Default 12 min, as in gim.
    pub idle_ws: Duration,
    /// Longest time without output to a WebSocket client, after which it gets a ping. Proxies close
    /// silent connections, nginx after 60 s. Zero disables pings. Default 50 s.
    pub ws_silence: Duration,
    /// Time after which a client that reads none of its pending output is closed with code 4102;
    /// the rest stays in its inbox. Default 2 min.
    pub stuck: Duration,
    /// Unanswered sends of one connection at which its socket is no longer read. Default 64.
    pub in_flight: usize,
    /// Undecodable packets of a connection; the last one closes it. Default 3.
    pub undecodable: u8,
    /// Wrong tokens in a minute for one user from one address, after which further attempts are
    /// refused with code 8 until the minute is over, except with a token that this process accepted
    /// before. An address other than loopback is refused after ten times as many. Default 10.
    pub failed_sign_ins: u32,
    /// Gives TCP clients without a protocol version one frame per write, paced, and small
    /// SYNC pages, because they parse one frame per read (gim's fim). Default on.
    pub pace: bool,
    /// Shortest pause after a frame to such a client, unless it answers earlier. It is the whole
    /// pause for a client that does not ack; the acks of one that does are awaited for up to 2 s.
    /// Default 50 ms.
    pub pace_wait: Duration,
    /// Time that a connection may take to close. Default 1 s.
    pub close_timeout: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            silent_before_sign_in: Duration::from_secs(10),
            idle_tcp: Duration::from_mins(11),
            idle_ws: Duration::from_mins(12),
            ws_silence: Duration::from_secs(50),
            stuck: Duration::from_mins(2),
            in_flight: 64,
            undecodable: 3,
            failed_sign_ins: 10,
            pace: true,
            pace_wait: Duration::from_millis(50),
            close_timeout: Duration::from_secs(1),
        }
    }
}

impl SessionSettings {
    pub(crate) const fn idle(&self, wire: WireKind) -> Duration {
        match wire {
            WireKind::Tcp => self.idle_tcp,
            WireKind::WebSocket => self.idle_ws,
        }
    }
}
