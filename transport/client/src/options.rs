//! Options of a client. Every default is defined here, with its unit.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::cursor_store::CursorStore;
use crate::error::ClientError;
use crate::tls::TrustedRoots;

/// The server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEndpoint {
    /// TCP: `host:port`, resolved at each connection.
    Tcp(String),
    /// TCP inside TLS, as a proxy in front of the server offers it: `host:port`.
    Tls(String),
    /// WebSocket: `ws://host:port/ws`, or with TLS `wss://host/ws`.
    Ws(String),
}

impl FromStr for ServerEndpoint {
    type Err = ClientError;

    /// Reads `ws://host:port/ws`, `wss://host/ws`, `tcp://host:port`, `tls://host:port` or
    /// `host:port`.
    fn from_str(text: &str) -> Result<Self, ClientError> {
        if text.starts_with("ws://") || text.starts_with("wss://") {
            let host = http::Uri::try_from(text).ok();
            if host.is_some_and(|uri| uri.host().is_some_and(|host| !host.is_empty())) {
                return Ok(Self::Ws(text.to_owned()));
            }
        }
        let (address, tls) = match text.strip_prefix("tls://") {
            Some(address) => (address, true),
            None => (text.strip_prefix("tcp://").unwrap_or(text), false),
        };
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        if address.contains('/') || !matches!(port, Some(Ok(_))) {
            return Err(ClientError::Invalid(format!(
                "\"{text}\" is not the address of a server: write host:port for TCP, tls://host:port \
                 for TCP inside TLS, ws://host:port/ws or wss://host/ws"
            )));
        }
        let address = address.to_owned();
        Ok(if tls {
            Self::Tls(address)
        } else {
            Self::Tcp(address)
        })
    }
}

impl fmt::Display for ServerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::Ws(url) => f.write_str(url),
        }
    }
}

/// The credentials, as returned by `ApiClient::register_device` and `ApiClient::sign_in`.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceCredentials {
    /// The user.
    pub user_id: i64,
    /// The device; only one client at a time may use it.
    pub device_id: i64,
    /// The token of this user on this device.
    pub token: String,
}

impl fmt::Debug for DeviceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCredentials")
            .field("user_id", &self.user_id)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

/// The reaction when the same device signs in elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SupersededPolicy {
    /// End with `ClientEvent::Superseded`, in favour of the newer connection.
    #[default]
    End,
    /// Reconnect after a delay. Two clients of one device with this option displace each other for
    /// ever.
    TakeBack,
}

/// The behaviour of a client. Start from [`ClientOptions::new`] and change what differs.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The server's address.
    pub endpoint: ServerEndpoint,
    /// The credentials.
    pub credentials: DeviceCredentials,
    /// The server's gRPC address for `Client::api`, for example `http://127.0.0.1:50100`.
    pub grpc: Option<String>,
    /// The certificate authorities to trust with `wss://`, `tls://` and `https://`. `None`: the
    /// public ones.
    pub trust: Option<TrustedRoots>,
    /// The store of the cursor between runs. `None`: not kept, the inbox is read from its start.
    pub cursor: Option<Arc<dyn CursorStore>>,
    /// Time between heartbeats: 30 s. A lost push is noticed within it.
    pub heartbeat: Duration,
    /// Time limit of a send or a subscription, over any number of connections: 30 s.
    pub deadline: Duration,
    /// Time limit of a connection and its sign-in: 5 s.
    pub connect_timeout: Duration,
    /// Silence, while an answer is due, after which a connection counts as lost: 10 s.
    pub answer_timeout: Duration,
    /// Time that handled messages are gathered before they are acknowledged and saved: 200 ms.
    pub ack_every: Duration,
    /// Events that may wait for the application before the socket is no longer read: 128.
    pub event_capacity: usize,
    /// Concurrent sends; further ones wait: 64.
    pub max_in_flight: usize,
    /// The first ceiling of the delay before a reconnect: 200 ms; it doubles each time.
    pub backoff_base: Duration,
    /// The highest ceiling: 15 s.
    pub backoff_cap: Duration,
    /// The reaction when the same device signs in elsewhere.
    pub on_superseded: SupersededPolicy,
}

impl ClientOptions {
    /// Returns the defaults for `credentials` at `endpoint`.
    #[must_use]
    pub const fn new(endpoint: ServerEndpoint, credentials: DeviceCredentials) -> Self {
        Self {
            endpoint,
            credentials,
            grpc: None,
            trust: None,
            cursor: None,
            heartbeat: Duration::from_secs(30),
            deadline: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
            ack_every: Duration::from_millis(200),
            event_capacity: 128,
            max_in_flight: 64,
            backoff_base: Duration::from_millis(200),
            backoff_cap: Duration::from_secs(15),
            on_superseded: SupersededPolicy::End,
        }
    }

    /// Stores the cursor in `store`.
    #[must_use]
    pub fn cursor(mut self, store: impl CursorStore) -> Self {
        self.cursor = Some(Arc::new(store));
        self
    }

    /// Checks the options, and returns what is invalid.
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        let who = &self.credentials;
        for (name, id) in [("user_id", who.user_id), ("device_id", who.device_id)] {
            if id <= 0 {
                return Err(ClientError::Invalid(format!(
                    "{name} is {id}; ids start at 1"
                )));
            }
        }
        for (name, count) in [
            ("event_capacity", self.event_capacity),
            ("max_in_flight", self.max_in_flight),
        ] {
            if count == 0 {
                return Err(ClientError::Invalid(format!(
                    "{name} is 0; it must be at least 1"
                )));
            }
        }
        if self.heartbeat.is_zero() {
            return Err(ClientError::Invalid(
                "heartbeat is 0; it must be longer than 0".to_owned(),
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("endpoint", &self.endpoint)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_with_what_would_be_right() {
        let tcp: ServerEndpoint = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(tcp, ServerEndpoint::Tcp("127.0.0.1:8080".into()));
        let same: ServerEndpoint = "tcp://127.0.0.1:8080".parse().unwrap();
        assert_eq!(tcp, same);
        let ws: ServerEndpoint = "ws://[::1]:8081/ws".parse().unwrap();
        assert_eq!(ws, ServerEndpoint::Ws("ws://[::1]:8081/ws".into()));
        let wss: ServerEndpoint = "wss://chat.example.com/ws".parse().unwrap();
        assert_eq!(wss, ServerEndpoint::Ws("wss://chat.example.com/ws".into()));
        let tls: ServerEndpoint = "tls://chat.example.com:8443".parse().unwrap();
        assert_eq!(tls, ServerEndpoint::Tls("chat.example.com:8443".into()));
        for bad in [
            "",
            "localhost",
            "host:99999",
            "http://host:1/x",
            "host:",
            "wss://",
            "ws:///ws",
            "tls://host",
        ] {
            let error = bad.parse::<ServerEndpoint>().unwrap_err().to_string();
            assert!(error.contains("host:port"), "{error}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let who = DeviceCredentials {
            user_id: 1,
            device_id: 2,
            token: "secret".into(),
        };
        let options = ClientOptions::new(ServerEndpoint::Tcp("a:1".into()), who);
        assert!(!format!("{options:?}").contains("secret"));
        options.check().unwrap();
    }
}
