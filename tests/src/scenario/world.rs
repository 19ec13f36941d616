//! A server, the cable to it, and the people who use it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use gimlet_client::{Api, Endpoint};
use gimlet_server::config::{Durability, Secret, StorageKind};
use gimlet_server::{Addrs, Config};
use tempfile::TempDir;

use super::house::{Doors, House};
use super::{Bare, Calls, Person, Relay, Store, Wire};
use crate::cluster::Servers;

/// How long clients are asked to spread their return over.
const COME_BACK: Duration = Duration::from_millis(50);

/// Telephone numbers of one world.
const NUMBERS: u64 = 10_000;

/// Where the numbers of the next world begin: worlds may share a database, also with those of other
/// programs.
fn numbers() -> u64 {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    let first = || AtomicU64::new(100_000_000_000 * rand::random_range(1..1_000_000));
    NEXT.get_or_init(first)
        .fetch_add(NUMBERS, Ordering::Relaxed)
}

/// A server, or a cluster of them, and all around it. Clones are the same world.
#[derive(Clone, Debug)]
pub struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    wire: Wire,
    config: Config,
    relay: Relay,
    house: tokio::sync::Mutex<Option<House>>,
    doors: Mutex<(Doors, Option<Api>)>,
    /// Counts who came in, so that all doors are used.
    turn: AtomicUsize,
    numbers: AtomicU64,
    _dir: Option<TempDir>,
}

impl World {
    /// Starts what the store stands for. Whatever the configuration says, its files are in a
    /// temporary folder.
    pub async fn start(store: Store, wire: Wire, mut config: Config) -> Self {
        let dir = match store {
            Store::Memory => None,
            Store::Sled => {
                let dir = tempfile::tempdir().expect("a temporary folder");
                config.data_dir = dir.path().join("data");
                config.storage.kind = StorageKind::Sled;
                // No story cuts the power, and a busy disk would make all of them slow.
                config.storage.durability = Durability::Process;
                Some(dir)
            }
            Store::Cluster => {
                let servers = Servers::of_environment().expect("MySQL and Redis");
                let dir = tempfile::tempdir().expect("a temporary folder");
                config.data_dir = dir.path().join("data");
                config.storage.mysql_url = Some(Secret::new(&servers.mysql));
                config.storage.redis_url = Some(Secret::new(&servers.redis));
                let prefix = format!("gimlet-test-{:016x}:", rand::random::<u64>());
                config.storage.redis_prefix = prefix;
                config.storage.relaxed_durability = true;
                Some(dir)
            }
        };
        config.stop.come_back = COME_BACK;
        let world = Self(Arc::new(Inner {
            store,
            wire,
            config,
            relay: Relay::start().await,
            house: tokio::sync::Mutex::new(None),
            doors: Mutex::default(),
            turn: AtomicUsize::new(0),
            numbers: AtomicU64::new(numbers()),
            _dir: dir,
        }));
        world.starts().await;
        world
    }

    /// Starts the server over what is there, on other ports; the cable leads to it.
    pub async fn starts(&self) {
        let house = House::start(self.0.store, &self.0.config).await;
        *self.doors() = (house.doors.clone(), None);
        *self.0.house.lock().await = Some(house);
        self.0.relay.lead(self.fronts());
    }

    /// Stops the server in order.
    pub async fn stops(&self) {
        let house = self.0.house.lock().await.take();
        if let Some(house) = house {
            house.stop().await;
        }
    }

    /// Stops and starts the server.
    pub async fn restarts(&self) {
        self.stops().await;
        self.starts().await;
    }

    /// The wire that clients use.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.0.wire
    }

    /// The cable between the client library and the server.
    #[must_use]
    pub fn cable(&self) -> &Relay {
        &self.0.relay
    }

    fn doors(&self) -> MutexGuard<'_, (Doors, Option<Api>)> {
        self.0.doors.lock().expect("nobody panics with it")
    }

    /// Where clients connect past the cable: one of its servers after the other.
    #[must_use]
    pub fn addrs(&self) -> Addrs {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let doors = &self.doors().0;
        let some = doors.connect.get(turn % doors.connect.len().max(1));
        some.cloned().unwrap_or_default()
    }

    /// Where the cable leads: the servers' ports for this wire.
    #[must_use]
    pub fn fronts(&self) -> Vec<SocketAddr> {
        let each = |addrs: &Addrs| match self.0.wire {
            Wire::Tcp => addrs.tcp,
            Wire::Ws => addrs.ws,
        };
        self.doors().0.connect.iter().filter_map(each).collect()
    }

    /// The server's TCP port, past the cable.
    #[must_use]
    pub fn tcp(&self) -> SocketAddr {
        self.addrs().tcp.expect("embedded servers listen on it")
    }

    /// Where the client library connects.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        let addr = self.0.relay.addr();
        match self.0.wire {
            Wire::Tcp => Endpoint::Tcp(addr.to_string()),
            Wire::Ws => Endpoint::Ws(format!("ws://{addr}/ws")),
        }
    }

    /// The gRPC services as nobody.
    #[must_use]
    pub fn api(&self) -> Api {
        let mut kept = self.doors();
        let (doors, api) = &mut *kept;
        let at = |addrs: &Addrs| {
            let addr = addrs.grpc.first().expect("embedded servers listen on it");
            format!("http://{addr}")
        };
        let new = || {
            let api = Api::new(&at(&doors.logic)).expect("a good address");
            api.with_business(&at(&doors.business))
                .expect("a good address")
        };
        api.get_or_insert_with(new).clone()
    }

    /// The gRPC services by hand, for what the client library does not offer.
    pub async fn calls(&self) -> Calls {
        let doors = self.doors().0.clone();
        Calls::to(&doors.logic, &doors.business).await
    }

    /// A bare connection over this cell's wire.
    pub async fn bare(&self) -> Bare {
        Bare::connect(self).await
    }

    /// Somebody new, with a phone that is online.
    pub async fn person(&self, name: &str) -> Person {
        let person = self.absent(name).await;
        person.phone.comes_back().await;
        person
    }

    /// Somebody new, with a phone that is switched off.
    pub async fn absent(&self, name: &str) -> Person {
        Person::new(self, name, self.number()).await
    }

    /// A telephone number that nobody has.
    fn number(&self) -> String {
        self.0.numbers.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Users who exist and have no device of their own.
    pub async fn crowd(&self, count: usize) -> Vec<i64> {
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
