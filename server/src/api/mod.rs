//! gRPC: gim's services, on the clients' addresses and on the internal one.
//!
//! Each handler converts, calls core, converts back. `wire` puts gim's status codes on the wire,
//! `guard` says who may call.

mod business;
mod connect_int;
mod convert;
mod guard;
mod logic_ext;
mod logic_int;
mod status;
mod wire;

use std::time::Duration;

use gimlet_core::business::Builtin;
use gimlet_core::node::Node;
use gimlet_proto::pb::business_ext_server::BusinessExtServer;
use gimlet_proto::pb::business_int_server::BusinessIntServer;
use gimlet_proto::pb::connect_int_server::ConnectIntServer;
use gimlet_proto::pb::logic_ext_server::LogicExtServer;
use gimlet_proto::pb::logic_int_server::LogicIntServer;
use gimlet_proto::pb::user_ext_server::UserExtServer;
use gimlet_proto::pb::user_int_server::UserIntServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::Layer as _;

use crate::config::Secret;
use crate::metrics::Metrics;
use business::Accounts;
use guard::{Gate, Guard};

/// The largest request: the largest message with everything around it, and room to spare.
const REQUEST_MAX: usize = 256 * 1024;
/// An HTTP/2 connection that does not answer a ping within this is dead.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a quiet connection is pinged.
const PING_EVERY: Duration = Duration::from_mins(1);
/// Calls of one connection at a time.
const CONCURRENT: u32 = 256;

/// What the services are made of.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// The node.
    pub(crate) node: Node,
    /// The built-in business service.
    pub(crate) builtin: Builtin,
    /// Counts requests.
    pub(crate) metrics: Metrics,
}

macro_rules! guarded {
    ($routes:ident, $gate:ident, $($server:ident($service:expr)),+ $(,)?) => {
        $($routes.add_service(Guard::new(
            $server::new($service).max_decoding_message_size(REQUEST_MAX),
            $gate.clone(),
        ));)+
    };
}

impl Api {
    /// What clients reach: the Ext services under both names, health and reflection.
    pub(crate) fn clients(&self, health: HealthServer<impl Health>) -> Routes {
        let gate = Gate::Clients(self.node.service().clone());
        let accounts = self.accounts();
        let mut routes = builder(health);
        guarded!(
            routes,
            gate,
            LogicExtServer(logic_ext::Ext(self.node.service().clone())),
            BusinessExtServer(accounts.clone()),
            UserExtServer(accounts),
        );
        routes.routes()
    }

    /// What backends reach: the Int services under both names, health and reflection.
    pub(crate) fn backends(
        &self,
        secret: Option<Secret>,
        health: HealthServer<impl Health>,
    ) -> Routes {
        let gate = Gate::Backends(secret);
        let accounts = self.accounts();
        let mut routes = builder(health);
        guarded!(
            routes,
            gate,
            LogicIntServer(logic_int::Int(self.node.clone())),
            ConnectIntServer(connect_int::Connect(self.node.clone())),
            BusinessIntServer(accounts.clone()),
            UserIntServer(accounts),
        );
        routes.routes()
    }

    fn accounts(&self) -> Accounts {
        Accounts::new(self.builtin.clone(), self.node.service().clone())
    }

    /// Serves routes until `stop`, then lets calls in progress finish.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        routes: Routes,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let layer = wire::WireLayer::new(self.metrics.clone());
        Server::builder()
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .max_concurrent_streams(CONCURRENT)
            .layer(tower::layer::layer_fn(move |inner| layer.layer(inner)))
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stop.cancelled_owned(),
            )
            .await
    }
}

fn builder(health: HealthServer<impl Health>) -> RoutesBuilder {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(gimlet_proto::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::builder();
    routes
        .add_service(health)
        .add_service(
            reflection()
                .build_v1()
                .expect("the build script wrote the set"),
        )
        .add_service(
            reflection()
                .build_v1alpha()
                .expect("the build script wrote the set"),
        );
    routes
}
