//! The seams between nodes across loopback, both ends in one process.

mod api;
mod business;
mod logic;
mod peer;
mod rolling;

use std::net::SocketAddr;
use std::sync::Arc;

use gimlet_core::business::OpenBusiness;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::message::MessageSender;
use gimlet_core::node::{NodeBuilder, RunningNode};
use gimlet_core::store::StoreSet;
use gimlet_proto::node::connect_node_server::ConnectNodeServer;
use gimlet_proto::node::logic_node_server::LogicNodeServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::{ClusterId, ConnectServer, LogicServer, NodeCredentials};

fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

fn device(n: u64) -> DeviceId {
    DeviceId::new(n).unwrap()
}

fn phone(n: u64) -> MessageSender {
    MessageSender::User {
        user: user(n),
        device: DeviceId::new(n * 10),
    }
}

fn caller() -> NodeCredentials {
    NodeCredentials::new(None, ClusterId::default()).unwrap()
}

/// A whole node over these stores.
fn node(stores: &StoreSet) -> RunningNode {
    NodeBuilder::new(stores.clone(), Arc::new(OpenBusiness)).start()
}

/// A gRPC server that can be stopped.
struct TestGrpcServer {
    addr: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl TestGrpcServer {
    async fn routes(make: impl FnOnce(&TaskTracker, &CancellationToken) -> Routes) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), make).await
    }

    async fn at(
        addr: SocketAddr,
        make: impl FnOnce(&TaskTracker, &CancellationToken) -> Routes,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let routes = make(&tasks, &stop);
        let ended = stop.clone();
        tasks.spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let served = Server::builder().add_routes(routes);
            let served = served.serve_with_incoming_shutdown(incoming, ended.cancelled_owned());
            served.await.unwrap();
        });
        Self { addr, tasks, stop }
    }

    async fn logic(logic: Arc<dyn gimlet_core::logic::LogicRole>) -> Self {
        Self::routes(|tasks, stop| {
            let server = LogicServer::new(logic, ClusterId::default(), tasks.clone(), stop.clone());
            Routes::new(LogicNodeServer::new(server))
        })
        .await
    }

    fn address(&self) -> String {
        self.addr.to_string()
    }

    /// Stops in order, and returns when everything is answered.
    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
