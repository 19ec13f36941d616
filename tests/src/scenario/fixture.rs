//! The fixture of a scenario: a server, the relay to it, and its users.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use gimlet_client::{ApiClient, ServerEndpoint, TrustedRoots};
use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::bridge::WireBridge;
use gimlet_kit::proxy::{FaultProxy, TargetChoice};
use gimlet_kit::wire::ByteStream;
use gimlet_server::config::{SecretString, StorageDurability, StorageKind};
use gimlet_server::{Config, ListenAddrs};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::GrpcServices;
use super::matrix::{ScenarioStore, ScenarioWire};
use super::servers::{ScenarioServers, ServerAddresses};
use super::tls::FixtureTls;

/// Time span over which a stopping server asks clients to spread their reconnects.
const COME_BACK: Duration = Duration::from_millis(50);

/// Number of telephone numbers reserved for one fixture.
const NUMBERS: u64 = 10_000;

/// Returns the first telephone number for the next fixture: fixtures may share a database, also
/// with those of other programs.
fn numbers() -> u64 {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    let first = || AtomicU64::new(100_000_000_000 * rand::random_range(1..1_000_000));
    NEXT.get_or_init(first)
        .fetch_add(NUMBERS, Ordering::Relaxed)
}

/// A server or a cluster, with its relay and its users. Clones share one fixture.
#[derive(Clone, Debug)]
pub struct ScenarioFixture(Arc<FixtureState>);

#[derive(Debug)]
struct FixtureState {
    store: ScenarioStore,
    wire: ScenarioWire,
    config: Config,
    /// Set on an encrypted wire.
    tls: Option<FixtureTls>,
    relay: FaultProxy,
    /// Set on a wire with JSON: it stands between the clients and the relay.
    bridge: Option<WireBridge>,
    servers: tokio::sync::Mutex<Option<ScenarioServers>>,
    addresses: Mutex<(ServerAddresses, Option<ApiClient>)>,
    /// Counts calls of [`ScenarioFixture::addrs`], so that all connect nodes are used.
    next_node: AtomicUsize,
    numbers: AtomicU64,
    _dir: Option<TempDir>,
}

impl ScenarioFixture {
    /// Starts the servers of this storage. Their files are always in a temporary folder, regardless
    /// of the configuration.
    pub async fn start(store: ScenarioStore, wire: ScenarioWire, mut config: Config) -> Self {
        let dir = match store {
            ScenarioStore::Memory => None,
            ScenarioStore::Sled => {
                let dir = tempfile::tempdir().expect("a temporary folder");
                config.data_dir = dir.path().join("data");
                config.storage.kind = StorageKind::Sled;
                // No scenario cuts the power, and a busy disk would make every scenario slow.
                config.storage.durability = StorageDurability::Process;
                Some(dir)
            }
            ScenarioStore::Cluster => {
                let servers = BackendAddresses::of_environment().expect("MySQL and Redis");
                let dir = tempfile::tempdir().expect("a temporary folder");
                config.data_dir = dir.path().join("data");
                config.storage.mysql_url = Some(SecretString::new(&servers.mysql));
                config.storage.redis_url = Some(SecretString::new(&servers.redis));
                let prefix = format!("gimlet-test-{:016x}:", rand::random::<u64>());
                config.storage.redis_prefix = prefix;
                config.storage.relaxed_durability = true;
                Some(dir)
            }
        };
        config.stop.come_back = COME_BACK;
        let tls = wire.is_encrypted().then(FixtureTls::new);
        if let Some(tls) = &tls {
            tls.configure(&mut config);
        }
        let relay = FaultProxy::balance(&[], TargetChoice::RoundRobin).await;
        let bridge = match wire.bridged() {
            Some(bridged) => Some(WireBridge::start(bridged, relay.address).await),
            None => None,
        };
        let world = Self(Arc::new(FixtureState {
            store,
            wire,
            config,
            tls,
            relay,
            bridge,
            servers: tokio::sync::Mutex::new(None),
            addresses: Mutex::default(),
            next_node: AtomicUsize::new(0),
            numbers: AtomicU64::new(numbers()),
            _dir: dir,
        }));
        world.start_servers().await;
        world
    }

    /// Starts the server over the existing data, on other ports, and directs the relay to it.
    pub async fn start_servers(&self) {
        let house = ScenarioServers::start(self.0.store, &self.0.config).await;
        *self.addresses() = (house.addresses.clone(), None);
        *self.0.servers.lock().await = Some(house);
        // Last: the relay's targets are read from the addresses stored above.
        self.0.relay.lead(&self.fronts());
    }

    /// Stops the server gracefully.
    pub async fn stops(&self) {
        let house = self.0.servers.lock().await.take();
        if let Some(house) = house {
            house.stop().await;
        }
    }

    /// Stops and starts the server.
    pub async fn restarts(&self) {
        self.stops().await;
        self.start_servers().await;
    }

    /// Returns the wire of the clients.
    #[must_use]
    pub fn wire(&self) -> ScenarioWire {
        self.0.wire
    }

    /// Returns the relay between the client library and the server.
    #[must_use]
    pub fn cable(&self) -> &FaultProxy {
        &self.0.relay
    }

    fn addresses(&self) -> MutexGuard<'_, (ServerAddresses, Option<ApiClient>)> {
        self.0
            .addresses
            .lock()
            .expect("no holder of the lock panics")
    }

    /// Returns the addresses of the next connect node, round-robin, bypassing the relay.
    #[must_use]
    pub fn addrs(&self) -> ListenAddrs {
        let turn = self.0.next_node.fetch_add(1, Ordering::Relaxed);
        let addresses = &self.addresses().0;
        let some = addresses.connect.get(turn % addresses.connect.len().max(1));
        some.cloned().unwrap_or_default()
    }

    /// Returns the targets of the relay: the servers' ports for this wire.
    #[must_use]
    pub fn fronts(&self) -> Vec<SocketAddr> {
        let each = |addrs: &ListenAddrs| match self.0.wire {
            ScenarioWire::Tcp | ScenarioWire::Tls => addrs.tcp,
            ScenarioWire::Ws | ScenarioWire::Wss | ScenarioWire::Json => addrs.ws,
            ScenarioWire::Events => addrs.http,
        };
        self.addresses().0.connect.iter().filter_map(each).collect()
    }

    /// Returns a TCP address of the server, bypassing the relay.
    #[must_use]
    pub fn tcp(&self) -> SocketAddr {
        self.addrs().tcp.expect("embedded servers listen on it")
    }

    /// Returns the address for the client library.
    #[must_use]
    pub fn endpoint(&self) -> ServerEndpoint {
        let addr = self.0.relay.address;
        match self.0.wire {
            ScenarioWire::Tcp => ServerEndpoint::Tcp(addr.to_string()),
            ScenarioWire::Ws => ServerEndpoint::Ws(format!("ws://{addr}/ws")),
            ScenarioWire::Tls => ServerEndpoint::Tls(addr.to_string()),
            ScenarioWire::Wss => ServerEndpoint::Ws(format!("wss://{addr}/ws")),
            ScenarioWire::Json | ScenarioWire::Events => {
                let bridge = self.0.bridge.as_ref().expect("such a wire has a bridge");
                ServerEndpoint::Tcp(bridge.address.to_string())
            }
        }
    }

    /// Returns the authorities that clients trust, on an encrypted wire.
    #[must_use]
    pub fn trust(&self) -> Option<TrustedRoots> {
        self.0.tls.as_ref().map(FixtureTls::trust)
    }

    /// Connects a socket to the server, inside TLS on an encrypted wire.
    pub(crate) async fn connect(&self, addr: SocketAddr) -> Box<dyn ByteStream> {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        match &self.0.tls {
            Some(tls) => tls.connect(stream).await,
            None => Box::new(stream),
        }
    }

    /// Returns the gRPC services without credentials.
    #[must_use]
    pub fn api(&self) -> ApiClient {
        let mut kept = self.addresses();
        let (addresses, api) = &mut *kept;
        let at = |addrs: &ListenAddrs| {
            let addr = addrs.grpc.first().expect("embedded servers listen on it");
            format!("http://{addr}")
        };
        let new = || {
            let api = ApiClient::new(&at(&addresses.logic)).expect("a good address");
            api.with_business(&at(&addresses.business))
                .expect("a good address")
        };
        api.get_or_insert_with(new).clone()
    }

    /// Connects to the gRPC services directly, for calls that the client library does not offer.
    pub async fn calls(&self) -> GrpcServices {
        let addresses = self.addresses().0.clone();
        GrpcServices::to(&addresses.logic, &addresses.business).await
    }

    /// Returns an unused telephone number.
    pub(super) fn number(&self) -> String {
        self.0.numbers.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Creates users without devices of their own.
    pub async fn users_without_devices(&self, count: usize) -> Vec<i64> {
        let api = self.api();
        let device = api.register_device("kiosk").await.expect("a device");
        let mut users = Vec::with_capacity(count);
        while users.len() < count {
            let some = (count - users.len()).min(50);
            let sign_ins = (0..some).map(|_| {
                let (api, phone) = (api.clone(), self.number());
                async move { api.sign_in(&phone, "000000", device).await }
            });
            for signed_in in futures_util::future::join_all(sign_ins).await {
                users.push(signed_in.expect("a sign-in").user_id);
            }
        }
        users
    }
}
