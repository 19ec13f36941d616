//! A backend's or a client's sends over gRPC, one attempt at a time, at whichever logic node.

use std::net::SocketAddr;
use std::time::Duration;

use gimlet_client::raw::{RawStatus, api_error};
use gimlet_client::{ApiError, Credentials};
use gimlet_proto::pb;
use pb::logic_ext_client::LogicExtClient;
use tonic::Request;
use tonic::transport::Endpoint;

/// Longer than a logic node takes to answer, whatever its storage does.
const ATTEMPT: Duration = Duration::from_secs(4);

/// A user at some logic nodes.
#[derive(Clone, Debug)]
pub struct Caller {
    nodes: Vec<RawStatus>,
    who: Credentials,
}

impl Caller {
    /// This user at these nodes' gRPC.
    #[must_use]
    pub fn new(nodes: &[SocketAddr], who: &Credentials) -> Self {
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

    /// One attempt at one node, counted round.
    ///
    /// # Errors
    /// The number and text of the refusal.
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
