//! gRPC: gim's services, on the clients' addresses and on the internal one.
//!
//! Each handler converts, calls core, and converts back. `call_layer` puts gim's status codes on
//! the wire, `guard` authenticates callers.

#[cfg(test)]
mod answer_bounds;
mod business;
mod call_layer;
mod connect_int;
mod convert;
mod guard;
mod list_pages;
mod logic_ext;
mod logic_int;
mod registrations;
mod status;
mod unimplemented;
pub(crate) mod unread_answers;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use gimlet_listen::ListenerEntrance;
use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_proto::node::connect_node_server::ConnectNodeServer;
use gimlet_proto::node::logic_node_server::LogicNodeServer;
use gimlet_proto::pb::business_ext_server::BusinessExtServer;
use gimlet_proto::pb::business_int_server::BusinessIntServer;
use gimlet_proto::pb::connect_int_server::ConnectIntServer;
use gimlet_proto::pb::logic_ext_server::LogicExtServer;
use gimlet_proto::pb::logic_int_server::LogicIntServer;
use gimlet_proto::pb::user_ext_server::UserExtServer;
use gimlet_proto::pb::user_int_server::UserIntServer;
use gimlet_transport::SignInFailures;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::Layer as _;

use crate::accept::{self, StopTokens};
use crate::config::SecretString;
use crate::metrics::ServerMetrics;
use crate::roles::RunningRoles;
use crate::tokens::TokenChecker;
use business::BusinessService;
use guard::{AuthGuard, CallAuth};
use registrations::RegistrationLimits;
use unimplemented::ServedServices;
use unread_answers::ListenerUnread;

/// The largest request: the largest message with everything around it, and room to spare.
const REQUEST_MAX_BYTES: usize = 256 * 1024;
/// An HTTP/2 connection that does not answer a ping within this time is dead.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Interval of pings on a quiet connection.
const PING_INTERVAL: Duration = Duration::from_mins(1);
/// Time for clients to leave by themselves after they were asked to.
const CLIENT_LEAVE_TIME: Duration = Duration::from_secs(3);
/// Concurrent calls of one connection: of a client, and of a node, which calls for many clients.
const MAX_CONCURRENT_CALLS: (u32, u32) = (256, 8_192);
/// HTTP/2 windows for nodes, in bytes: of one stream, and of one connection.
const NODE_WINDOW_BYTES: (u32, u32) = (1 << 20, 4 << 20);
/// Calls that a client may cancel before this process has looked at them. A proxy that carries many
/// clients cancels for all of them at once, and the library's default of 20 ended the connection
/// for all of its clients. One costs some hundred bytes.
const MAX_PENDING_RESETS: usize = 1_024;
/// Streams that the library may reset because of a client's mistakes, over the life of a
/// connection: four times its default, because a proxy keeps a connection for weeks.
const MAX_LOCAL_RESETS: usize = 4_096;
/// Services that every gRPC listener has.
const HEALTH_AND_REFLECTION: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
/// The largest item of a stream between nodes, in bytes.
const NODE_MESSAGE_MAX_BYTES: usize = 16 << 20;

/// Everything that the gRPC services are built from.
#[derive(Clone, Debug)]
pub(crate) struct GrpcServices {
    /// The roles of this process.
    pub(crate) roles: RunningRoles,
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
    pub(crate) failures: Arc<SignInFailures>,
    /// Proxies that may name a client's address.
    pub(crate) forwarding: ForwardedHeaders,
    /// Answers that clients have not read.
    pub(crate) unread: Arc<ListenerUnread>,
    /// Request counters.
    pub(crate) metrics: ServerMetrics,
}

macro_rules! guarded {
    ($listened:ident, $gate:ident, $max:expr, $($server:ident($service:expr)),+ $(,)?) => {
        $({
            let service = $server::new($service).max_decoding_message_size($max);
            let service = AuthGuard::new(service, $gate.clone());
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
pub(crate) struct ListenerServices {
    routes: Routes,
    served: Arc<ServedServices>,
}

#[derive(Default)]
struct ListenerServicesBuilder {
    routes: RoutesBuilder,
    served: ServedServices,
}

impl ListenerServicesBuilder {
    /// Adds health, and reflection that lists the services of this listener.
    fn finish(mut self, health: HealthServer<impl Health>) -> ListenerServices {
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
        ListenerServices {
            routes: routes.routes(),
            served: Arc::new(self.served),
        }
    }
}

/// The kind of callers of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallerKind {
    /// Clients.
    Clients,
    /// Backends and other nodes.
    Internal,
}

impl GrpcServices {
    /// Returns the services for clients: the Ext services of this process's roles, health and
    /// reflection.
    pub(crate) fn clients(&self, health: HealthServer<impl Health>) -> ListenerServices {
        let mut listened = ListenerServicesBuilder::default();
        let Some(business) = self.roles.business.clone() else {
            return listened.finish(health);
        };
        let gate = CallAuth::Clients(TokenChecker::new(business, Arc::clone(&self.failures)));
        if let Some(service) = self.roles.service.clone() {
            let registrations =
                RegistrationLimits::new(self.device_registrations, self.development);
            guarded!(
                listened,
                gate,
                REQUEST_MAX_BYTES,
                LogicExtServer(logic_ext::LogicExtService::new(service, registrations))
            );
        }
        if let Some(accounts) = self.accounts() {
            guarded!(
                listened,
                gate,
                REQUEST_MAX_BYTES,
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
        secret: Option<SecretString>,
        health: HealthServer<impl Health>,
    ) -> ListenerServices {
        let gate = CallAuth::Backends(secret);
        let mut listened = ListenerServicesBuilder::default();
        let roles = &self.roles;
        if let Some(service) = roles.service.clone() {
            let int = logic_int::LogicIntService::new(service);
            guarded!(listened, gate, REQUEST_MAX_BYTES, LogicIntServer(int));
        }
        if let (Some(gateway), Some(logic)) = (roles.gateway.clone(), roles.logic.clone()) {
            let int = connect_int::ConnectIntService::new(gateway, logic, self.content);
            guarded!(listened, gate, REQUEST_MAX_BYTES, ConnectIntServer(int));
        }
        if let Some(accounts) = self.accounts() {
            guarded!(
                listened,
                gate,
                REQUEST_MAX_BYTES,
                BusinessIntServer(accounts.clone()),
                UserIntServer(accounts),
            );
        }
        if let Some(server) = roles.logic_server(&self.stop) {
            guarded!(
                listened,
                gate,
                NODE_MESSAGE_MAX_BYTES,
                LogicNodeServer(server)
            );
        }
        if let Some(server) = roles.connect_server(&self.stop) {
            guarded!(
                listened,
                gate,
                NODE_MESSAGE_MAX_BYTES,
                ConnectNodeServer(server)
            );
        }
        listened.finish(health)
    }

    fn accounts(&self) -> Option<BusinessService> {
        let builtin = self.roles.builtin.clone()?;
        let directory = self.roles.service.as_ref();
        let directory = directory.map(|service| service.directory().clone());
        let fanout = self.roles.fanout.clone();
        Some(BusinessService::new(
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
    /// `CLIENT_LEAVE_TIME`, or at `ends.cut`. Accepted connections are tasks of `tasks`.
    pub(crate) async fn serve(
        &self,
        entrance: ListenerEntrance,
        services: ListenerServices,
        callers: CallerKind,
        tasks: &TaskTracker,
        ends: StopTokens,
    ) -> Result<(), tonic::transport::Error> {
        let nodes = callers == CallerKind::Internal;
        let (stop, cut) = (ends.stop.clone(), ends.force_close.child_token());
        let ends = StopTokens {
            force_close: cut.clone(),
            ..ends
        };
        let incoming = accept::incoming(entrance, tasks, ends, Arc::clone(&self.unread));
        let served = services.served;
        // Nodes and backends call on their own behalf, so a forwarded header of theirs names no
        // client.
        let forwarding = match callers {
            CallerKind::Clients => self.forwarding.clone(),
            CallerKind::Internal => ForwardedHeaders::default(),
        };
        let layer = call_layer::WireLayer::new(self.metrics.clone(), self.development, served)
            .forwarding(forwarding);
        let served = Server::builder()
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .max_concurrent_streams(if nodes {
                MAX_CONCURRENT_CALLS.1
            } else {
                MAX_CONCURRENT_CALLS.0
            })
            .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
            .http2_max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
            .initial_stream_window_size(nodes.then_some(NODE_WINDOW_BYTES.0))
            .initial_connection_window_size(nodes.then_some(NODE_WINDOW_BYTES.1))
            .layer(tower::layer::layer_fn(move |inner| layer.layer(inner)))
            .add_routes(services.routes)
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        // Two stages: `stop` makes tonic send GOAWAY and finish calls; `CLIENT_LEAVE_TIME` later
        // this listener's own `cut` breaks off connections that stayed. `cut` is a child token, so
        // that it leaves the other listeners alone.
        let mut served = pin!(served);
        let left = async {
            stop.cancelled().await;
            tokio::time::sleep(CLIENT_LEAVE_TIME).await;
        };
        tokio::select! {
            served = served.as_mut() => return served,
            () = left => cut.cancel(),
        }
        served.await
    }
}
