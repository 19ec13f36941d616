//! Sends over gRPC, as from a business server or a client: one attempt at a time, at any logic
//! node.

use std::net::SocketAddr;
use std::time::Duration;

use gimlet_client::raw::{RawStatus, api_error};
use gimlet_client::{ApiError, DeviceCredentials};
use gimlet_proto::pb;
use pb::logic_ext_client::LogicExtClient;
use tonic::Request;
use tonic::transport::Endpoint;

/// Timeout of an attempt: longer than a logic node takes to answer, in any state of its storage.
const ATTEMPT: Duration = Duration::from_secs(4);

/// A user with a gRPC channel to each of several logic nodes.
#[derive(Clone, Debug)]
pub struct GrpcSender {
    nodes: Vec<RawStatus>,
    who: DeviceCredentials,
}

impl GrpcSender {
    /// Creates channels for this user to the gRPC addresses of these nodes.
    #[must_use]
    pub fn new(nodes: &[SocketAddr], who: &DeviceCredentials) -> Self {
        let channel = |node: &SocketAddr| {
            let endpoint = Endpoint::from_shared(format!("http://{node}")).expect("an address");
            let endpoint = endpoint.connect_timeout(ATTEMPT).timeout(ATTEMPT);
            RawStatus(endpoint.connect_lazy())
        };
        Self {
            nodes: nodes.iter().map(channel).collect(),
            who: who.clone(),
        }
    }

    /// Returns the user's credentials.
    #[must_use]
    pub const fn credentials(&self) -> &DeviceCredentials {
        &self.who
    }

    /// Makes one attempt at the node of this index, modulo the number of nodes.
    ///
    /// # Errors
    /// The code and text of the refusal.
    pub async fn send(
        &self,
        at: usize,
        message: &pb::SendMessageReq,
    ) -> Result<pb::SendMessageResp, ApiError> {
        let node = self
            .nodes
            .get(at % self.nodes.len())
            .expect("counted round");
        let mut request = Request::new(message.clone());
        let metadata = request.metadata_mut();
        metadata.insert("user_id", self.who.user_id.into());
        metadata.insert("device_id", self.who.device_id.into());
        metadata.insert("token", self.who.token.parse().expect("an ASCII token"));
        let mut logic = LogicExtClient::new(node.clone());
        match logic.send_message(request).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(api_error(&status)),
        }
    }
}
