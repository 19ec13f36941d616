//! A cluster of real processes on this machine: connect, logic and business nodes over the MySQL
//! and Redis that the environment names.

#![expect(
    clippy::missing_panics_doc,
    reason = "whatever does not go as told panics: that is what a test is for"
)]

use std::io;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use gimlet_client::{
    ApiClient, Client, ClientEvent, ClientOptions, DeviceCredentials, EventStream, MemoryCursor,
    MessageContent, MessageDraft, MessageTarget, ReceivedMessage, SendReceipt, ServerEndpoint,
};
use gimlet_kit::backend::{BackendAddresses, redis_command, variable};
use gimlet_kit::server::{ServerPorts, ServerProcess, binary};
use gimlet_kit::{random_phone, sign_in};
use tempfile::TempDir;

use crate::waiting::soon;

/// Shared secret of the nodes of a test cluster.
const SECRET: &str = "between-us";

/// Role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// Holds client connections.
    Connect,
    /// Handles sends and syncs.
    Logic,
    /// Manages accounts.
    Business,
    /// All three roles.
    Whole,
}

/// A node: a process that can be killed and started again at the same ports.
#[derive(Debug)]
pub struct ClusterNode {
    role: NodeRole,
    ports: ServerPorts,
    process: Option<ServerProcess>,
}

/// Nodes over the same servers. Dropping the cluster kills them.
#[derive(Debug)]
pub struct NodeCluster {
    /// Connect nodes, or nodes with all roles.
    pub connect: Vec<ClusterNode>,
    /// Logic nodes.
    pub logic: Vec<ClusterNode>,
    /// Business nodes.
    pub business: Vec<ClusterNode>,
    environment: Vec<(String, String)>,
    binary: PathBuf,
    dir: TempDir,
}

impl NodeCluster {
    /// Starts this many nodes of each role and waits until all are ready; without logic and
    /// business nodes, the first ones are nodes with all roles.
    ///
    /// # Errors
    /// A node did not start.
    pub async fn of(servers: &BackendAddresses, shape: [usize; 3]) -> io::Result<Self> {
        Self::with(servers, shape, &[]).await
    }

    /// Does the same, with additional variables in the nodes' environment.
    ///
    /// # Errors
    /// A node did not start.
    pub async fn with(
        servers: &BackendAddresses,
        shape: [usize; 3],
        more: &[(&str, &str)],
    ) -> io::Result<Self> {
        Self::of_binary(binary()?, servers, shape, more).await
    }

    /// Does the same with this program.
    ///
    /// # Errors
    /// A node did not start.
    pub async fn of_binary(
        binary: PathBuf,
        servers: &BackendAddresses,
        [connect, logic, business]: [usize; 3],
        more: &[(&str, &str)],
    ) -> io::Result<Self> {
        let nodes = |role, count| {
            (0..count)
                .map(|_| ClusterNode::new(role))
                .collect::<Vec<_>>()
        };
        let apart = logic + business > 0;
        let first = if apart {
            NodeRole::Connect
        } else {
            NodeRole::Whole
        };
        let mut cluster = Self {
            connect: nodes(first, connect),
            logic: nodes(NodeRole::Logic, logic),
            business: nodes(NodeRole::Business, business),
            environment: Vec::new(),
            binary,
            dir: tempfile::tempdir()?,
        };
        let list = |nodes: &[ClusterNode]| {
            let addresses = nodes.iter().map(|node| node.ports.internal.to_string());
            addresses.collect::<Vec<_>>().join(",")
        };
        let prefix = format!("gimlet-test-{:016x}:", rand::random::<u64>());
        let environment = [
            ("GIMLET_STORAGE__KIND", "mysql".to_owned()),
            ("GIMLET_STORAGE__MYSQL_URL", servers.mysql.clone()),
            ("GIMLET_STORAGE__REDIS_URL", servers.redis.clone()),
            ("GIMLET_STORAGE__REDIS_PREFIX", prefix),
            ("GIMLET_STORAGE__RELAXED_DURABILITY", "true".to_owned()),
            ("GIMLET_CLUSTER__LOGIC", list(&cluster.logic)),
            ("GIMLET_CLUSTER__BUSINESS", list(&cluster.business)),
            ("GIMLET_CLUSTER__SECRET", SECRET.to_owned()),
            ("GIMLET_STOP__COME_BACK", "200ms".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        cluster.environment = environment.into_iter().chain(more).collect();
        // All are started before any is awaited: nodes wait for each other, and the first one
        // creates the tables.
        for node in cluster.nodes() {
            let (role, ports) = (node.role, node.ports);
            let process = cluster.spawn(role, ports)?;
            cluster.node(ports).process = Some(process);
        }
        for node in cluster.all() {
            node.ready().await?;
        }
        Ok(cluster)
    }

    fn nodes(&self) -> Vec<ClusterNode> {
        let all = self.business.iter().chain(&self.logic).chain(&self.connect);
        all.map(|node| ClusterNode {
            role: node.role,
            ports: node.ports,
            process: None,
        })
        .collect()
    }

    fn all(&mut self) -> impl Iterator<Item = &mut ClusterNode> {
        let (connect, logic) = (self.connect.iter_mut(), self.logic.iter_mut());
        self.business.iter_mut().chain(logic).chain(connect)
    }

    fn node(&mut self, ports: ServerPorts) -> &mut ClusterNode {
        let same = |node: &&mut ClusterNode| node.ports.internal == ports.internal;
        self.all().find(same).expect("a node of this cluster")
    }

    fn spawn(&self, role: NodeRole, ports: ServerPorts) -> io::Result<ServerProcess> {
        let internal = ports.internal.to_string();
        let role = match role {
            NodeRole::Connect => "connect",
            NodeRole::Logic => "logic",
            NodeRole::Business => "business",
            NodeRole::Whole => "connect,logic,business",
        };
        let mut extra = vec![
            ("GIMLET_ROLES", role),
            ("GIMLET_CLUSTER__ADVERTISE", internal.as_str()),
        ];
        let common = self.environment.iter();
        extra.extend(common.map(|(name, value)| (name.as_str(), value.as_str())));
        let log = variable("GIMLET_TEST_LOG");
        extra.extend(log.iter().map(|log| ("GIMLET_LOG__LEVEL", log.as_str())));
        ServerProcess::spawn(&self.binary, self.dir.path(), ports, &extra)
    }

    /// Runs a command of the program on the storage of the nodes.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn command(&self, args: &[&str]) -> io::Result<Output> {
        let mut command = Command::new(&self.binary);
        let environment = self.environment.iter();
        command.envs(environment.map(|(name, value)| (name.as_str(), value.as_str())));
        command.args(args).output()
    }

    /// Starts nodes with this program from now on.
    pub fn use_binary(&mut self, binary: PathBuf) {
        self.binary = binary;
    }

    /// Stops a node gracefully and waits for its exit.
    ///
    /// # Errors
    /// The node did not exit with success.
    pub async fn stop(&mut self, role: NodeRole, at: usize) -> io::Result<()> {
        let nodes = match role {
            NodeRole::Connect | NodeRole::Whole => &mut self.connect,
            NodeRole::Logic => &mut self.logic,
            NodeRole::Business => &mut self.business,
        };
        let node = nodes.get_mut(at).expect("a node of this cluster");
        node.stop().await
    }

    /// Restarts a node that was killed or stopped, at the same ports, and waits until it is ready.
    ///
    /// # Errors
    /// The node does not start.
    pub async fn restart(&mut self, role: NodeRole, at: usize) -> io::Result<()> {
        let nodes = match role {
            NodeRole::Connect | NodeRole::Whole => &self.connect,
            NodeRole::Logic => &self.logic,
            NodeRole::Business => &self.business,
        };
        let ports = nodes.get(at).expect("a node of this cluster").ports;
        let process = self.spawn(role, ports)?;
        let node = self.node(ports);
        node.process = Some(process);
        node.ready().await
    }

    /// Returns the services of a logic node (or of a node with all roles), with accounts at the
    /// first business node.
    #[must_use]
    pub fn api(&self, logic: usize) -> ApiClient {
        let at = |nodes: &[ClusterNode], at: usize| {
            let whole = self.connect.get(at);
            let node = nodes.get(at).or(whole).expect("a node of this cluster");
            format!("http://{}", node.ports.grpc)
        };
        let api = ApiClient::new(&at(&self.logic, logic)).expect("a good address");
        let business = api.with_business(&at(&self.business, 0));
        business.expect("a good address")
    }

    /// Removes a device's route from Redis, as if it had been lost.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub fn loses_the_route(&self, who: &DeviceCredentials) -> io::Result<()> {
        let setting = |name: &str| {
            let mut all = self.environment.iter().rev();
            let found = all.find(|(key, _)| key == name);
            found.map_or("", |(_, value)| value.as_str())
        };
        let prefix = setting("GIMLET_STORAGE__REDIS_PREFIX");
        let (user, device) = (who.user_id, who.device_id);
        let command = format!("HDEL {prefix}{{u:{user}}}:routes {device}");
        let answer = redis_command(setting("GIMLET_STORAGE__REDIS_URL"), &command, 4)?;
        assert_eq!(answer, b":1\r\n", "the device has a route");
        Ok(())
    }

    /// Creates a new user with a new device.
    pub async fn sign_up(&self) -> DeviceCredentials {
        self.sign_in(&random_phone()).await
    }

    /// Signs in one more device of a user.
    pub async fn sign_in(&self, number: &str) -> DeviceCredentials {
        let signed_in = sign_in(&self.api(0), number).await;
        signed_in.unwrap_or_else(|error| panic!("no sign-in: {error}"))
    }

    /// Connects this device to a connect node and waits until it is up to date.
    pub async fn phone(&self, who: &DeviceCredentials, connect: usize) -> ClusterDevice {
        let mut phone = ClusterDevice::new(who, self.endpoint(connect)).await;
        phone.is_up_to_date().await;
        phone
    }

    /// Returns the client address of a connect node.
    #[must_use]
    pub fn endpoint(&self, connect: usize) -> ServerEndpoint {
        let node = self.connect.get(connect).expect("a node of this cluster");
        ServerEndpoint::Tcp(node.ports.tcp.to_string())
    }
}

impl ClusterNode {
    fn new(role: NodeRole) -> Self {
        Self {
            role,
            ports: ServerPorts::free(),
            process: None,
        }
    }

    /// Returns the ports that the node listens on.
    #[must_use]
    pub const fn ports(&self) -> ServerPorts {
        self.ports
    }

    fn process(&mut self) -> &mut ServerProcess {
        self.process.as_mut().expect("the node runs")
    }

    async fn ready(&mut self) -> io::Result<()> {
        self.process().ready_to_serve().await
    }

    /// Kills the node with `kill -9`.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process().kill()
    }

    /// Freezes the node: it keeps its sockets and does nothing.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn freeze(&mut self) -> io::Result<()> {
        self.process().signal("STOP")
    }

    /// Resumes a frozen node.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn thaw(&mut self) -> io::Result<()> {
        self.process().signal("CONT")
    }

    /// Stops the node gracefully and waits for its exit.
    ///
    /// # Errors
    /// The node did not exit with success.
    pub async fn stop(&mut self) -> io::Result<()> {
        self.process().stop().await
    }
}

/// A device online: a client of the library and the events that it receives.
#[derive(Debug)]
pub struct ClusterDevice {
    /// Credentials of the device.
    pub who: DeviceCredentials,
    /// The client.
    pub client: Client,
    events: EventStream,
}

impl ClusterDevice {
    /// Connects, with a cursor of its own.
    pub async fn new(who: &DeviceCredentials, endpoint: ServerEndpoint) -> Self {
        Self::with_cursor(who, endpoint, Arc::default()).await
    }

    /// Connects with this cursor, which may know what an earlier connection was shown.
    pub async fn with_cursor(
        who: &DeviceCredentials,
        endpoint: ServerEndpoint,
        cursor: Arc<MemoryCursor>,
    ) -> Self {
        let mut options = ClientOptions::new(endpoint, who.clone());
        options.cursor = Some(cursor);
        options.backoff_base = Duration::from_millis(20);
        options.backoff_cap = Duration::from_millis(300);
        let connected = soon("a connection", Client::connect(options)).await;
        let (client, events) = connected.unwrap_or_else(|error| panic!("no connection: {error}"));
        Self {
            who: who.clone(),
            client,
            events,
        }
    }

    /// Sends a text; a failure panics.
    pub async fn sends(&self, text: &str, to: MessageTarget) -> SendReceipt {
        let sent = self.tries(text, to).await;
        sent.unwrap_or_else(|error| panic!("{text:?} is not sent: {error}"))
    }

    /// Sends a text and returns the result.
    ///
    /// # Errors
    /// The send was refused, or not answered in time.
    pub async fn tries(
        &self,
        text: &str,
        to: MessageTarget,
    ) -> Result<SendReceipt, gimlet_client::ClientError> {
        let draft = MessageDraft::new(to, MessageContent::text(text));
        soon("an answer", self.client.send_draft(draft)).await
    }

    /// Waits for the next event that `pick` accepts; other events are skipped.
    pub async fn next<T>(
        &mut self,
        what: &str,
        pick: impl Fn(ClientEvent) -> Option<T> + Send + Sync,
    ) -> T {
        soon(what, async {
            loop {
                let event = self.events.next().await;
                let event = event.unwrap_or_else(|| panic!("{what}: the client has ended"));
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        })
        .await
    }

    /// Waits for the next message of the inbox, which must be this text with this seq.
    pub async fn receives(&mut self, text: &str, seq: i64) -> ReceivedMessage {
        let what = format!("{text:?} with seq {seq}");
        let message = |event| match event {
            ClientEvent::Message(inbound) => Some(inbound),
            _ => None,
        };
        let inbound = self.next(&what, message).await;
        assert_eq!(
            (&inbound.content, inbound.seq),
            (&MessageContent::text(text), seq),
            "{inbound:?}"
        );
        inbound
    }

    /// Waits for the next message of its room, which must be this text.
    pub async fn expect_room_message(&mut self, text: &str) -> ReceivedMessage {
        let room = |event| match event {
            ClientEvent::Room(inbound) => Some(inbound),
            _ => None,
        };
        let inbound = self.next(&format!("{text:?} in the room"), room).await;
        assert_eq!(inbound.content, MessageContent::text(text), "{inbound:?}");
        inbound
    }

    /// Waits until the client has received everything.
    pub async fn is_up_to_date(&mut self) {
        self.next("up to date", |event| {
            matches!(event, ClientEvent::CaughtUp { .. }).then_some(())
        })
        .await;
    }

    /// Waits for the event that ends the session; no message may come before it.
    pub async fn expect_session_end(&mut self) -> ClientEvent {
        self.next("the end", |event| match event {
            ClientEvent::Message(inbound) => {
                panic!("it got {inbound:?} although it was superseded")
            }
            ClientEvent::Superseded
            | ClientEvent::SignedOut { .. }
            | ClientEvent::TurnedAway { .. } => Some(event),
            _ => None,
        })
        .await
    }
}
