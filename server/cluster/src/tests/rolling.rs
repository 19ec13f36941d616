//! Messages between nodes of this release and of one that does not read records.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use gimlet_core::delivery::DeliveryBatch;
use gimlet_core::envelope::Envelope;
use gimlet_core::id::{MessageId, NodeId};
use gimlet_core::memory;
use gimlet_core::message::{Message, MessageContent, MessageDraft, MessageReceiver, UnknownFields};
use gimlet_core::peer::PeerNodes as _;
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::node;
use gimlet_proto::node::connect_node_server::ConnectNode;
use gimlet_proto::node::deliver_request::What;
use gimlet_proto::node::logic_node_client::LogicNodeClient;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::*;
use crate::RemotePeer;

const SOON: Duration = Duration::from_secs(10);

/// A connect node that says whether it reads records, and collects the delivery batches that it
/// gets.
struct RecordingPeer {
    accepts_record: bool,
    parcels: mpsc::Sender<node::Parcel>,
}

#[async_trait]
impl ConnectNode for RecordingPeer {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<node::DeliverReply, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<node::DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let parcels = self.parcels.clone();
        let first = node::DeliverReply {
            accepts_record: self.accepts_record,
        };
        // The stream back ends with the one of requests.
        let requests = request.into_inner().filter_map(move |request| {
            if let Ok(Some(What::Parcels(batch))) = request.map(|it| it.what) {
                for parcel in batch.parcels {
                    parcels.try_send(parcel).expect("each is taken at once");
                }
            }
            std::future::ready(None)
        });
        let replies = stream::once(std::future::ready(Ok(first))).chain(requests);
        Ok(Response::new(Box::pin(replies)))
    }

    async fn supersede(
        &self,
        _: Request<node::SupersedeRequest>,
    ) -> Result<Response<node::SupersedeReply>, Status> {
        Ok(Response::new(node::SupersedeReply {}))
    }

    async fn disconnect(
        &self,
        _: Request<node::DisconnectRequest>,
    ) -> Result<Response<node::DisconnectReply>, Status> {
        Ok(Response::new(node::DisconnectReply {}))
    }
}

/// A message with a field of a later release.
fn envelope() -> Arc<Envelope> {
    let message = Message {
        id: MessageId::generate(),
        sender: MessageSender::Business,
        receiver: MessageReceiver::Everyone,
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent::copied_from(b"hi"),
        sent_at: UnixTimestamp(5),
        unknown: UnknownFields::copied_from(b"\x58\x01"),
    };
    Arc::new(Envelope::new(Arc::new(message), Arc::default(), 7))
}

/// Delivers to such a node `most` times, or until it gets a record; returns the number of delivery
/// batches in the legacy form before, and the record.
async fn deliver_to(accepts_record: bool, most: usize) -> (usize, Option<node::Parcel>) {
    let (parcels, mut came) = mpsc::channel(8);
    let served = TestGrpcServer::routes(|_, _| {
        Routes::new(ConnectNodeServer::new(RecordingPeer {
            accepts_record,
            parcels,
        }))
    })
    .await;
    let stores = memory::stores();
    let (here, there) = (NodeId::boot("127.0.0.1:1"), NodeId::boot(served.address()));
    stores.route.renew(&there).await.unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let peer = RemotePeer::start(here, Arc::clone(&stores.route), caller(), &tasks, &stop);
    let (mut before, mut record) = (0, None);
    while before < most && record.is_none() {
        let envelope = envelope();
        assert!(
            peer.deliver(&there, vec![DeliveryBatch::Everyone { envelope }])
                .await
        );
        let parcel = timeout(SOON, came.recv()).await.unwrap().unwrap();
        if parcel.record.is_empty() {
            assert!(parcel.envelope.is_some(), "one of the two forms");
            before += 1;
        } else {
            assert_eq!(parcel.envelope, None, "not both forms");
            record = Some(parcel);
        }
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    served.stop().await;
    (before, record)
}

#[tokio::test]
async fn a_node_gets_records_once_it_has_said_that_it_reads_them() {
    let (before, record) = deliver_to(true, usize::MAX).await;
    assert!(before > 0, "nothing was known of the node");
    let read = gimlet_record::decode_envelope(&record.unwrap().record).unwrap();
    assert_eq!(read.message.unknown, envelope().message.unknown);
}

#[tokio::test]
async fn a_node_that_does_not_read_records_gets_the_legacy_form() {
    assert_eq!(deliver_to(false, 50).await, (50, None));
}

#[tokio::test]
async fn a_page_comes_in_the_form_that_the_caller_reads() {
    let stores = memory::stores();
    let node = node(&stores);
    let draft = MessageDraft::text(user(2), "hi");
    node.service().send(phone(1), draft).await.unwrap();
    let served = TestGrpcServer::logic(Arc::new(node.service().clone())).await;
    let channel = caller().channel(&served.address()).unwrap();
    let mut client = LogicNodeClient::new(channel);
    for accepts_record in [false, true] {
        let request = node::PageRequest {
            user: 2,
            after: 0,
            items: 10,
            bytes: 1_000,
            accepts_record,
        };
        let page = client.page(request).await.unwrap().into_inner();
        let [entry] = page.entries.as_slice() else {
            panic!("one entry: {page:?}");
        };
        assert_eq!(entry.envelope.is_none(), accepts_record);
        assert_eq!(entry.record.is_empty(), !accepts_record);
    }
    drop(client);
    served.stop().await;
    node.stop().await;
}
