//! Values of settings: the types that have names of their own in the configuration.

use gimlet_core::events::EventKind;

use crate::secret::SecretString;

/// A role that a process can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// Holds clients' connections.
    Connect,
    /// Sends, syncs, groups.
    Logic,
    /// Accounts.
    Business,
}

impl NodeRole {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Logic, Self::Business];

    /// Returns the name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Logic => "logic",
            Self::Business => "business",
        }
    }
}

/// The roles of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRoles(pub Vec<NodeRole>);

impl Default for NodeRoles {
    fn default() -> Self {
        Self(vec![NodeRole::Connect, NodeRole::Logic, NodeRole::Business])
    }
}

impl NodeRoles {
    /// Returns whether this role is one of them.
    #[must_use]
    pub fn has(&self, role: NodeRole) -> bool {
        self.0.contains(&role)
    }

    /// Returns whether all three roles run here.
    #[must_use]
    pub fn all(&self) -> bool {
        NodeRole::ALL.iter().all(|role| self.0.contains(role))
    }
}

/// Storage engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageKind {
    /// In this process; lost when it ends.
    Memory,
    /// Embedded, under the data directory.
    Sled,
    /// MySQL and Redis.
    Mysql,
}

/// Places of uploaded files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStoreKind {
    /// A folder of the data directory.
    Folder,
    /// A bucket of an S3-compatible store.
    S3,
}

/// Failures that an answered send survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageDurability {
    /// A loss of power.
    Power,
    /// A killed process.
    Process,
}

/// The business service of a process without the role business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusinessKind {
    /// Servers over gRPC: `cluster.business`.
    Grpc,
    /// A server over HTTP: `business.url`.
    Http,
}

/// The checker of verification codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeVerifier {
    /// Not set: allowed only in a run without any configuration.
    Unset,
    /// Development on one machine: the code 000000, uploads without a sign-in.
    Development,
    /// One code for everyone.
    Fixed(SecretString),
    /// An HTTP address that checks each code.
    Http(String),
}

/// Users who may write to a user directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectPolicy {
    /// Everybody.
    Anyone,
    /// Friends.
    Friends,
}

/// Users who may add a user to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupAdd {
    /// Every user.
    Anyone,
    /// Its friends.
    Friends,
}

/// Senders that may push to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomPush {
    /// Everybody.
    Anyone,
    /// The business backend.
    Business,
}

/// Start of a SYNC from seq 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFromZero {
    /// Everything that is kept.
    All,
    /// The ack of this device.
    DeviceAck,
    /// The highest ack of the user's devices, as gim did.
    UserAck,
}

/// An event that a webhook can get, or the question that it can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookEvent {
    /// An event.
    Event(EventKind),
    /// `message.before_send`: the program decides about a message before it is accepted.
    BeforeSend,
}

/// A kind of receiver whose messages a webhook gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookReceiver {
    /// Users.
    User,
    /// Groups.
    Group,
}

/// The decision about a message when the program of `message.before_send` gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookFailure {
    /// The message is sent.
    Open,
    /// The message is refused.
    Closed,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A listener of this process that can speak TLS by `[tls]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerName {
    /// `listen.tcp`.
    Tcp,
    /// `listen.ws`.
    Ws,
    /// `listen.http`.
    Http,
    /// `listen.grpc`.
    Grpc,
    /// `listen.ops`.
    Ops,
}

impl ListenerName {
    /// Returns the key of its address.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tcp => "listen.tcp",
            Self::Ws => "listen.ws",
            Self::Http => "listen.http",
            Self::Grpc => "listen.grpc",
            Self::Ops => "listen.ops",
        }
    }
}
