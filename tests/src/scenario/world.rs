//! A server, the cable to it, and the people who use it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimlet_client::{Api, Endpoint};
use gimlet_server::config::{Durability, StorageKind};
use gimlet_server::{Addrs, Config, Server};
use tempfile::TempDir;

use super::{Bare, Calls, Person, Relay, Store, Wire, soon};

/// How long clients are asked to spread their return over.
const COME_BACK: Duration = Duration::from_millis(50);

/// One server and all around it. Clones are the same world.
#[derive(Clone, Debug)]
pub struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wire: Wire,
    config: Config,
    relay: Relay,
    server: tokio::sync::Mutex<Option<Server>>,
    addrs: Mutex<(Addrs, Option<Api>)>,
    people: AtomicU64,
    _dir: Option<TempDir>,
}

impl World {
    /// Starts a server. Whatever the configuration says, its files are in a temporary folder.
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
        };
        config.stop.come_back = COME_BACK;
        let world = Self(Arc::new(Inner {
            wire,
            config,
            relay: Relay::start().await,
            server: tokio::sync::Mutex::new(None),
            addrs: Mutex::default(),
            people: AtomicU64::new(1),
            _dir: dir,
        }));
        world.starts().await;
        world
    }

    /// Starts the server over what is there, on other ports; the cable leads to it.
    pub async fn starts(&self) {
        let started = soon("the start", Server::start(self.0.config.clone())).await;
        let server = started.unwrap_or_else(|error| panic!("the server does not start: {error}"));
        let addrs = server.addrs().clone();
        *self.0.server.lock().await = Some(server);
        *self.0.addrs.lock().expect("nobody panics with it") = (addrs, None);
        self.0.relay.lead(self.front());
    }

    /// Stops the server in order.
    pub async fn stops(&self) {
        let server = self.0.server.lock().await.take();
        if let Some(server) = server {
            let stopped = soon("the stop", server.stop()).await;
            stopped.unwrap_or_else(|error| panic!("the server does not stop well: {error}"));
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

    /// Where the server listens, past the cable.
    #[must_use]
    pub fn addrs(&self) -> Addrs {
        self.0
            .addrs
            .lock()
            .expect("nobody panics with it")
            .0
            .clone()
    }

    /// Where the cable leads: the server's port for this wire.
    #[must_use]
    pub fn front(&self) -> Option<SocketAddr> {
        let addrs = self.addrs();
        match self.0.wire {
            Wire::Tcp => addrs.tcp,
            Wire::Ws => addrs.ws,
        }
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
        let mut kept = self.0.addrs.lock().expect("nobody panics with it");
        let (addrs, api) = &mut *kept;
        let addr = addrs.grpc.first().expect("embedded servers listen on it");
        let new = || Api::new(&format!("http://{addr}")).expect("a good address");
        api.get_or_insert_with(new).clone()
    }

    /// The gRPC services by hand, for what the client library does not offer.
    pub async fn calls(&self) -> Calls {
        Calls::to(&self.addrs()).await
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
        let number = self.0.people.fetch_add(1, Ordering::Relaxed);
        Person::new(self, name, format!("{}", 13_800_000_000 + number)).await
    }

    /// Users who exist and have no device of their own.
    pub async fn crowd(&self, count: usize) -> Vec<i64> {
        let api = self.api();
        let device = api.register_device("kiosk").await.expect("a device");
        let mut users = Vec::with_capacity(count);
        while users.len() < count {
            let some = (count - users.len()).min(50);
            let sign_ins = (0..some).map(|_| {
                let number = self.0.people.fetch_add(1, Ordering::Relaxed);
                let (api, phone) = (api.clone(), format!("{}", 13_800_000_000 + number));
                async move { api.sign_in(&phone, "000000", device).await }
            });
            for signed_in in futures_util::future::join_all(sign_ins).await {
                users.push(signed_in.expect("a sign-in").user_id);
            }
        }
        users
    }
}
