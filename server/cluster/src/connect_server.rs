//! `ConnectNode`: the connect role for other nodes, in front of the hub.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream;
use gimlet_core::gateway::ConnectGateway;
use gimlet_core::id::{Generation, NodeId};
use gimlet_proto::node;
use gimlet_proto::node::connect_node_server::ConnectNode;
use gimlet_proto::node::deliver_request::What;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::call::{ClusterId, check_caller};
use super::convert::{self, DecodeError};

/// Time limit for the first message of a stream, which names the sending node.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectServer {
    gateway: ConnectGateway,
    here: NodeId,
    cluster: ClusterId,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl ConnectServer {
    /// Serves the connections of this gateway until `stop`.
    #[must_use]
    pub const fn new(
        gateway: ConnectGateway,
        here: NodeId,
        cluster: ClusterId,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            gateway,
            here,
            cluster,
            tasks,
            stop,
        }
    }

    /// Hands delivery batches to the hub until the stream ends. If the stream breaks, pushes may be
    /// lost, so all heads are compared.
    async fn receive(self, mut requests: Streaming<node::DeliverRequest>, from: String) {
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                next = requests.message() => next,
            };
            match next {
                Ok(Some(request)) => match request.what {
                    Some(What::Parcels(parcels)) => self.deliver(parcels, &from),
                    Some(What::Missed(_)) => self.gateway.check_all(),
                    Some(What::Hello(_)) | None => {}
                },
                // An orderly end: the sender has written everything, so there is nothing to
                // compare.
                Ok(None) => return,
                Err(status) => {
                    let why = status.message();
                    gimlet_core::info_rated!(
                        from,
                        why,
                        "a node's stream of pushes broke, comparing heads"
                    );
                    self.gateway.check_all();
                    return;
                }
            }
        }
    }

    fn deliver(&self, parcels: node::Parcels, from: &str) {
        let mut read = Vec::with_capacity(parcels.parcels.len());
        for parcel in parcels.parcels {
            match convert::batch_in(parcel) {
                Ok(parcel) => read.push(parcel),
                Err(error) => {
                    gimlet_core::error_rated!(from, %error, "received an unreadable delivery batch from a node");
                    self.gateway.check_all();
                }
            }
        }
        self.gateway.hub().deliver(&read);
    }
}

fn invalid_argument(error: DecodeError) -> Status {
    Status::invalid_argument(error.to_string())
}

#[async_trait]
impl ConnectNode for ConnectServer {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<node::DeliverReply, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<node::DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        check_caller(request.metadata(), &self.cluster)?;
        let mut requests = request.into_inner();
        let first = timeout(HELLO_TIMEOUT, requests.message()).await;
        let first =
            first.map_err(|_| Status::deadline_exceeded("no hello was received in time"))??;
        let Some(What::Hello(hello)) = first.and_then(|it| it.what) else {
            return Err(Status::invalid_argument("a stream must begin with hello"));
        };
        // Routes of an earlier run of this node may still be in the store; pushes for them must not
        // reach the connections of this run.
        if hello.boot != self.here.boot {
            return Err(Status::not_found(
                "the addressed run of this node has ended",
            ));
        }
        // The reply stream says once that this stream was accepted. It ends with `word`, so the
        // caller also sees the end.
        let (word, mut words) = mpsc::channel(1);
        let accepted = word.try_send(node::DeliverReply {
            accepts_record: true,
        });
        debug_assert!(accepted.is_ok(), "a fresh channel has room for one");
        let server = self.clone();
        self.tasks.spawn(async move {
            server.receive(requests, hello.from).await;
            drop(word);
        });
        let words = stream::poll_fn(move |cx| words.poll_recv(cx).map(|it| it.map(Ok)));
        Ok(Response::new(Box::pin(words)))
    }

    async fn supersede(
        &self,
        request: Request<node::SupersedeRequest>,
    ) -> Result<Response<node::SupersedeReply>, Status> {
        check_caller(request.metadata(), &self.cluster)?;
        let request = request.into_inner();
        let device = convert::device(request.device).map_err(invalid_argument)?;
        let (hub, generation) = (self.gateway.hub(), Generation(request.generation));
        if request.user == 0 {
            for handle in hub.on_device(device) {
                hub.supersede(handle.identity().user, device, generation);
            }
        } else {
            let user = convert::user(request.user).map_err(invalid_argument)?;
            hub.supersede(user, device, generation);
        }
        Ok(Response::new(node::SupersedeReply {}))
    }

    async fn disconnect(
        &self,
        request: Request<node::DisconnectRequest>,
    ) -> Result<Response<node::DisconnectReply>, Status> {
        check_caller(request.metadata(), &self.cluster)?;
        let request = request.into_inner();
        let user = convert::user(request.user).map_err(invalid_argument)?;
        let device = match request.device {
            0 => None,
            device => Some(convert::device(device).map_err(invalid_argument)?),
        };
        self.gateway.hub().disconnect(user, device, &request.reason);
        Ok(Response::new(node::DisconnectReply {}))
    }
}
