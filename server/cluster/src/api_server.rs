//! `ApiNode`: the HTTP API for nodes that lack the role for a request.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gimlet_proto::node;
use gimlet_proto::node::api_node_server::ApiNode;
use tonic::{Request, Response, Status, async_trait};

use super::call::{ClusterId, check_caller};

/// The answer to a request.
pub type ApiReplyFuture<'a> = Pin<Box<dyn Future<Output = node::ApiReply> + Send + 'a>>;

/// The API of this process.
pub trait ApiHandler: Debug + Send + Sync + 'static {
    /// Answers a request; a refusal is an answer, too.
    fn answer(&self, request: node::ApiRequest) -> ApiReplyFuture<'_>;
}

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiServer {
    handler: Arc<dyn ApiHandler>,
    cluster: ClusterId,
}

impl ApiServer {
    /// Serves this API to the nodes of a cluster.
    #[must_use]
    pub fn new(handler: Arc<dyn ApiHandler>, cluster: ClusterId) -> Self {
        Self { handler, cluster }
    }
}

#[async_trait]
impl ApiNode for ApiServer {
    async fn call(
        &self,
        request: Request<node::ApiRequest>,
    ) -> Result<Response<node::ApiReply>, Status> {
        check_caller(request.metadata(), &self.cluster)?;
        let reply = self.handler.answer(request.into_inner()).await;
        Ok(Response::new(reply))
    }
}
