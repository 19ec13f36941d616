//! The services of each listener, built from the services of core, and their server.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use gimlet_cluster::{ApiServer, ConnectServer, LogicServer};
use gimlet_core::accounts::AccountService;
use gimlet_core::auth::{SharedSecret, TokenChecker};
use gimlet_core::gateway::ConnectGateway;
use gimlet_core::service::LogicService;
use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_listen::{ListenerEntrance, StopTokens};
use gimlet_proto::node::api_node_server::ApiNodeServer;
use gimlet_proto::node::connect_node_server::ConnectNodeServer;
use gimlet_proto::node::logic_node_server::LogicNodeServer;
use gimlet_proto::pb::business_ext_server::BusinessExtServer;
use gimlet_proto::pb::business_int_server::BusinessIntServer;
use gimlet_proto::pb::connect_int_server::ConnectIntServer;
use gimlet_proto::pb::logic_ext_server::LogicExtServer;
use gimlet_proto::pb::logic_int_server::LogicIntServer;
use gimlet_proto::pb::user_ext_server::UserExtServer;
use gimlet_proto::pb::user_int_server::UserIntServer;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tower::Layer as _;

use crate::accept;
use crate::business::BusinessService;
use crate::call_counter::CallCounter;
use crate::call_layer::WireLayer;
use crate::connect_int::ConnectIntService;
use crate::guard::{AuthGuard, CallAuth};
use crate::health::GrpcHealth;
use crate::logic_ext::LogicExtService;
use crate::logic_int::LogicIntService;
use crate::unimplemented::ServedServices;
use crate::unread_answers::ListenerUnread;

/// The largest request: the largest message with everything around it, and room to spare.
pub(crate) const REQUEST_MAX_BYTES: usize = 256 * 1024;
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
/// Largest number of streams that the library may reset because of a client's mistakes, over the
/// life of a connection: four times its default, because a proxy keeps a connection for weeks.
const MAX_LOCAL_RESETS: usize = 4_096;
/// Services that every gRPC listener has.
const HEALTH_AND_REFLECTION: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
/// The largest request of the HTTP API from another node: a body of 256 KiB with its headers.
const API_REQUEST_MAX_BYTES: usize = 512 << 10;
/// The largest item of a stream between nodes, in bytes.
const NODE_MESSAGE_MAX_BYTES: usize = 16 << 20;

/// Everything that the gRPC services are built from.
#[derive(Clone, Debug)]
pub struct GrpcServices {
    /// The logic role, if this process has it.
    pub logic: Option<LogicService>,
    /// The connect role, if this process has it.
    pub gateway: Option<ConnectGateway>,
    /// The logic role for other nodes.
    pub logic_node: Option<LogicServer>,
    /// The connect role for other nodes.
    pub connect_node: Option<ConnectServer>,
    /// The HTTP API for other nodes, if this process has the logic or the business role.
    pub api_node: Option<ApiServer>,
    /// `true` if calls that came through a proxy are refused.
    pub development: bool,
    /// The accounts, if this process has the business role.
    pub accounts: Option<AccountService>,
    /// Checks clients' tokens; `None` for a connect role alone, which serves clients no calls.
    pub tokens: Option<TokenChecker>,
    /// Proxies that may name a client's address.
    pub forwarding: ForwardedHeaders,
    /// Answers that clients have not read.
    pub unread: Arc<ListenerUnread>,
    /// Request counters.
    pub metrics: Arc<dyn CallCounter>,
    /// Health of the services.
    pub health: GrpcHealth,
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
pub struct ListenerServices {
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
    fn finish(mut self, health: &GrpcHealth) -> ListenerServices {
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
            .add_service(health.service())
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
pub enum CallerKind {
    /// Clients.
    Clients,
    /// Backends and other nodes.
    Internal,
}

impl GrpcServices {
    /// Returns the services for clients: the Ext services of this process's roles, health and
    /// reflection.
    #[must_use]
    pub fn clients(&self) -> ListenerServices {
        let mut listened = ListenerServicesBuilder::default();
        let Some(tokens) = self.tokens.clone() else {
            return listened.finish(&self.health);
        };
        let gate = CallAuth::Clients(tokens);
        if let Some(service) = self.logic.clone() {
            guarded!(
                listened,
                gate,
                REQUEST_MAX_BYTES,
                LogicExtServer(LogicExtService::new(service))
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
        listened.finish(&self.health)
    }

    /// Returns the services for backends and other nodes: the Int services of this process's roles,
    /// health and reflection.
    #[must_use]
    pub fn backends(&self, secret: Option<SharedSecret>) -> ListenerServices {
        let gate = CallAuth::Backends(secret);
        let mut listened = ListenerServicesBuilder::default();
        if let Some(service) = self.logic.clone() {
            let int = LogicIntService::new(service);
            guarded!(listened, gate, REQUEST_MAX_BYTES, LogicIntServer(int));
        }
        if let Some(gateway) = self.gateway.clone() {
            let int = ConnectIntService::new(gateway);
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
        if let Some(server) = self.logic_node.clone() {
            guarded!(
                listened,
                gate,
                NODE_MESSAGE_MAX_BYTES,
                LogicNodeServer(server)
            );
        }
        if let Some(server) = self.connect_node.clone() {
            guarded!(
                listened,
                gate,
                NODE_MESSAGE_MAX_BYTES,
                ConnectNodeServer(server)
            );
        }
        if let Some(server) = self.api_node.clone() {
            guarded!(listened, gate, API_REQUEST_MAX_BYTES, ApiNodeServer(server));
        }
        listened.finish(&self.health)
    }

    fn accounts(&self) -> Option<BusinessService> {
        self.accounts.clone().map(BusinessService::new)
    }

    /// Sets the answers of the health service.
    pub async fn set_serving(&self, is_serving: bool) {
        self.health.set(self.names(), is_serving).await;
    }

    /// Returns the names of the services that clients and backends find here.
    fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        if self.logic.is_some() {
            names.extend(["pb.LogicExt", "pb.LogicInt"]);
        }
        if self.gateway.is_some() {
            names.push("pb.ConnectInt");
        }
        if self.accounts.is_some() {
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
    /// `CLIENT_LEAVE_TIME`, or at `ends.force_close`. Accepted connections are tasks of `tasks`.
    pub async fn serve(
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
        let layer = WireLayer::new(Arc::clone(&self.metrics), self.development, served)
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
