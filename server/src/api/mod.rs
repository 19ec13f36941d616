//! gRPC: gim's services, on the clients' addresses and on the internal one.
//!
//! Each handler converts, calls core, and converts back. `wire` puts gim's status codes on the
//! wire, `guard` authenticates callers.

pub(crate) mod answers;
mod business;
mod connect_int;
mod convert;
mod elsewhere;
mod guard;
mod lists;
mod logic_ext;
mod logic_int;
mod registrations;
#[cfg(test)]
mod sizes;
mod status;
mod wire;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use gimlet_listen::Entrance;
use gimlet_listen::forwarded::Forwarding;
use gimlet_proto::node::connect_node_server::ConnectNodeServer;
use gimlet_proto::node::logic_node_server::LogicNodeServer;
use gimlet_proto::pb::business_ext_server::BusinessExtServer;
use gimlet_proto::pb::business_int_server::BusinessIntServer;
use gimlet_proto::pb::connect_int_server::ConnectIntServer;
use gimlet_proto::pb::logic_ext_server::LogicExtServer;
use gimlet_proto::pb::logic_int_server::LogicIntServer;
use gimlet_proto::pb::user_ext_server::UserExtServer;
use gimlet_proto::pb::user_int_server::UserIntServer;
use gimlet_transport::Failures;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::Layer as _;

use crate::accept::{self, Ends};
use crate::config::Secret;
use crate::metrics::Metrics;
use crate::roles::Roles;
use crate::tokens::Tokens;
use answers::Unread;
use business::Accounts;
use elsewhere::Served;
use guard::{Gate, Guard};
use registrations::Registrations;

/// The largest request: the largest message with everything around it, and room to spare.
const REQUEST_MAX: usize = 256 * 1024;
/// An HTTP/2 connection that does not answer a ping within this time is dead.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Interval of pings on a quiet connection.
const PING_EVERY: Duration = Duration::from_mins(1);
/// Time for clients to leave by themselves after they were told to.
const LEAVE: Duration = Duration::from_secs(3);
/// Concurrent calls of one connection: of a client, and of a node, which calls for many clients.
const CONCURRENT: (u32, u32) = (256, 8_192);
/// HTTP/2 windows for nodes, in bytes: of one stream, and of one connection.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);
/// Calls that a client may cancel before this process has looked at them. A proxy that carries many
/// clients cancels for all of them at once, and the library's default of 20 ended the connection
/// for all of its clients. One costs some hundred bytes.
const PENDING_RESETS: usize = 1_024;
/// Streams that the library may reset because of a client's mistakes, over the life of a
/// connection: four times its default, because a proxy keeps a connection for weeks.
const OWN_RESETS: usize = 4_096;
/// Services that every gRPC listener has.
const HEALTH_AND_REFLECTION: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
/// The largest item of a stream between nodes, in bytes.
const NODE_MAX: usize = 16 << 20;

/// Everything that the gRPC services are built from.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// The roles of this process.
    pub(crate) roles: Roles,
    /// Cancelled at the graceful stop.
    pub(crate) stop: CancellationToken,
    /// The longest content of a message, in bytes.
    pub(crate) content: usize,
    /// `true` if calls that came through a proxy are refused.
    pub(crate) development: bool,
    /// Devices that one address may register in a second; 0 means no limit.
    pub(crate) device_registrations: u32,
    /// Failed sign-ins that one address may have in a minute.
    pub(crate) failed_sign_ins: u32,
    /// Wrong tokens of the last minute.
    pub(crate) failures: Arc<Failures>,
    /// Proxies that may name a client's address.
    pub(crate) forwarding: Forwarding,
    /// Answers that clients have not read.
    pub(crate) unread: Arc<Unread>,
    /// Request counters.
    pub(crate) metrics: Metrics,
}

macro_rules! guarded {
    ($listened:ident, $gate:ident, $max:expr, $($server:ident($service:expr)),+ $(,)?) => {
        $({
            let service = $server::new($service).max_decoding_message_size($max);
            let service = Guard::new(service, $gate.clone());
            $listened.served.add(name_of(&service));
            $listened.routes.add_service(service);
        })+
    };
}

fn name_of<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

/// The services of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Listened {
    routes: Routes,
    served: Arc<Served>,
}

#[derive(Default)]
struct ListenedBuilder {
    routes: RoutesBuilder,
    served: Served,
}

impl ListenedBuilder {
    /// Adds health, and reflection that lists the services of this listener.
    fn finish(mut self, health: HealthServer<impl Health>) -> Listened {
        for name in HEALTH_AND_REFLECTION {
            self.served.add(name);
        }
        let reflection = || {
            let mut builder = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(gimlet_proto::DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
            for name in self.served.names() {
                builder = builder.with_service_name(name);
            }
            builder
        };
        let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
        let mut routes = self.routes;
        routes
            .add_service(health)
            .add_service(v1.expect("the build script wrote the set"))
            .add_service(v1alpha.expect("the build script wrote the set"));
        Listened {
            routes: routes.routes(),
            served: Arc::new(self.served),
        }
    }
}

/// The kind of callers of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Clients.
    Clients,
    /// Backends and other nodes.
    Internal,
}

impl Api {
    /// Returns the services for clients: the Ext services of this process's roles, health and
    /// reflection.
    pub(crate) fn clients(&self, health: HealthServer<impl Health>) -> Listened {
        let mut listened = ListenedBuilder::default();
        let Some(business) = self.roles.business.clone() else {
            return listened.finish(health);
        };
        let gate = Gate::Clients(Tokens::new(business, Arc::clone(&self.failures)));
        if let Some(service) = self.roles.service.clone() {
            let registrations = Registrations::new(self.device_registrations, self.development);
            guarded!(
                listened,
                gate,
                REQUEST_MAX,
                LogicExtServer(logic_ext::Ext::new(service, registrations))
            );
        }
        if let Some(accounts) = self.accounts() {
            guarded!(
                listened,
                gate,
                REQUEST_MAX,
                BusinessExtServer(accounts.clone()),
                UserExtServer(accounts),
            );
        }
        listened.finish(health)
    }

    /// Returns the services for backends and other nodes: the Int services of this process's roles,
    /// health and reflection.
    pub(crate) fn backends(
        &self,
        secret: Option<Secret>,
        health: HealthServer<impl Health>,
    ) -> Listened {
        let gate = Gate::Backends(secret);
        let mut listened = ListenedBuilder::default();
        let roles = &self.roles;
        if let Some(service) = roles.service.clone() {
            let int = logic_int::Int::new(service);
            guarded!(listened, gate, REQUEST_MAX, LogicIntServer(int));
        }
        if let (Some(gateway), Some(logic)) = (roles.gateway.clone(), roles.logic.clone()) {
            let int = connect_int::Connect::new(gateway, logic, self.content);
            guarded!(listened, gate, REQUEST_MAX, ConnectIntServer(int));
        }
        if let Some(accounts) = self.accounts() {
            guarded!(
                listened,
                gate,
                REQUEST_MAX,
                BusinessIntServer(accounts.clone()),
                UserIntServer(accounts),
            );
        }
        if let Some(server) = roles.logic_server(&self.stop) {
            guarded!(listened, gate, NODE_MAX, LogicNodeServer(server));
        }
        if let Some(server) = roles.connect_server(&self.stop) {
            guarded!(listened, gate, NODE_MAX, ConnectNodeServer(server));
        }
        listened.finish(health)
    }

    fn accounts(&self) -> Option<Accounts> {
        let builtin = self.roles.builtin.clone()?;
        let directory = self.roles.service.as_ref();
        let directory = directory.map(|service| service.directory().clone());
        let fanout = self.roles.fanout.clone();
        Some(Accounts::new(
            builtin,
            directory,
            fanout,
            self.failed_sign_ins,
            Arc::clone(&self.failures),
        ))
    }

    /// Returns the names of the services that clients and backends find here.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let roles = &self.roles;
        let mut names = Vec::new();
        if roles.service.is_some() {
            names.extend(["pb.LogicExt", "pb.LogicInt"]);
        }
        if roles.gateway.is_some() {
            names.push("pb.ConnectInt");
        }
        if roles.builtin.is_some() {
            names.extend([
                "pb.BusinessExt",
                "pb.UserExt",
                "pb.BusinessInt",
                "pb.UserInt",
            ]);
        }
        names
    }

    /// Serves until `ends.stop`, then lets calls in progress finish. The rest is broken off after
    /// `LEAVE`, or at `ends.cut`. Accepted connections are tasks of `tasks`.
    pub(crate) async fn serve(
        &self,
        entrance: Entrance,
        services: Listened,
        callers: Callers,
        tasks: &TaskTracker,
        ends: Ends,
    ) -> Result<(), tonic::transport::Error> {
        let nodes = callers == Callers::Internal;
        let (stop, cut) = (ends.stop.clone(), ends.cut.child_token());
        let ends = Ends {
            cut: cut.clone(),
            ..ends
        };
        let incoming = accept::incoming(entrance, tasks, ends, Arc::clone(&self.unread));
        let served = services.served;
        // Nodes and backends call for themselves: what they forward is no client's address.
        let forwarding = match callers {
            Callers::Clients => self.forwarding.clone(),
            Callers::Internal => Forwarding::default(),
        };
        let layer = wire::WireLayer::new(self.metrics.clone(), self.development, served)
            .forwarding(forwarding);
        let served = Server::builder()
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .max_concurrent_streams(if nodes { CONCURRENT.1 } else { CONCURRENT.0 })
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
            .http2_max_local_error_reset_streams(Some(OWN_RESETS))
            .initial_stream_window_size(nodes.then_some(WINDOWS.0))
            .initial_connection_window_size(nodes.then_some(WINDOWS.1))
            .layer(tower::layer::layer_fn(move |inner| layer.layer(inner)))
            .add_routes(services.routes)
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        // Two stages: `stop` makes tonic send GOAWAY and finish calls; `LEAVE` later this
        // listener's own `cut` breaks off connections that stayed. `cut` is a child token, so that
        // it leaves the other listeners alone.
        let mut served = pin!(served);
        let left = async {
            stop.cancelled().await;
            tokio::time::sleep(LEAVE).await;
        };
        tokio::select! {
            served = served.as_mut() => return served,
            () = left => cut.cancel(),
        }
        served.await
    }
}
