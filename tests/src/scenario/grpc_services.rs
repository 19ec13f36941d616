//! Direct gRPC calls: those that the client library does not offer, and those of business servers.
//! Error codes are the numbers on the wire.

use std::net::SocketAddr;

use gimlet_client::raw::{RawStatus, api_error};
use gimlet_client::{ApiError, DeviceCredentials, pb};
use gimlet_server::ListenAddrs;
use pb::business_ext_client::BusinessExtClient;
use pb::logic_ext_client::LogicExtClient;
use pb::logic_int_client::LogicIntClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// The gRPC services of one fixture.
#[derive(Clone, Debug)]
pub struct GrpcServices {
    /// The logic service for clients.
    pub logic: LogicExtClient<RawStatus>,
    /// The account service for clients.
    pub business: BusinessExtClient<RawStatus>,
    /// The logic service for business servers.
    pub backend: LogicIntClient<RawStatus>,
}

impl GrpcServices {
    /// Connects to the servers with these roles; they may be one server.
    pub async fn to(logic: &ListenAddrs, business: &ListenAddrs) -> Self {
        let front = async |addrs: &ListenAddrs| {
            let addr = addrs.grpc.first().expect("embedded servers listen on it");
            RawStatus(connect(addr).await)
        };
        let back = logic.internal.expect("embedded servers listen on it");
        Self {
            logic: LogicExtClient::new(front(logic).await),
            business: BusinessExtClient::new(front(business).await),
            backend: LogicIntClient::new(RawStatus(connect(&back).await)),
        }
    }

    /// Connects to the logic service for clients at one address.
    pub async fn logic_at(addr: SocketAddr) -> LogicExtClient<RawStatus> {
        LogicExtClient::new(RawStatus(connect(&addr).await))
    }

    /// Returns a request with the metadata of `who`.
    #[must_use]
    pub fn signed<T>(who: &DeviceCredentials, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("user_id", who.user_id.into());
        metadata.insert("device_id", who.device_id.into());
        let token = who.token.parse().expect("a token is plain ASCII");
        metadata.insert("token", token);
        request
    }

    /// Returns the answer, or the error with its code.
    pub fn answer<T>(answered: Result<Response<T>, Status>) -> Result<T, ApiError> {
        answered
            .map(Response::into_inner)
            .map_err(|status| api_error(&status))
    }
}

async fn connect(addr: &SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("a good address");
    endpoint.connect().await.expect("the server listens")
}
