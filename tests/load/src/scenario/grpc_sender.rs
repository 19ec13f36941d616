//! Sends by gRPC, as gim's clients do, for a thread that lives on sockets. Orders go in; outcomes
//! come out and wake the thread; each call is a task of its own.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gimlet_proto::pb;
use gimlet_proto::pb::logic_ext_client::LogicExtClient;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::LoadError;
use crate::judge::SendFailure;
use crate::net::DriveWaker;
use crate::test_account::TestAccount;

/// gRPC connections; each is one task of the client and one of the server.
const CONNECTIONS: usize = 8;

/// Timeout of a call.
const CALL: Duration = Duration::from_secs(10);

/// Send to make.
#[derive(Debug)]
pub(super) struct SendOrder {
    /// Number by which the sender knows the send.
    pub(super) slot: u32,
    /// Account of the sender.
    pub(super) account: Arc<TestAccount>,
    /// Request to send.
    pub(super) send: pb::SendMessageReq,
}

/// Outcome of a send: its slot, and the seq of the answer or the failure.
pub(super) type SendOutcome = (u32, Result<i64, (SendFailure, String)>);

/// Sending side of the gRPC calls.
#[derive(Debug)]
pub(super) struct GrpcSender {
    orders: mpsc::UnboundedSender<SendOrder>,
    outcomes: Arc<Mutex<Vec<SendOutcome>>>,
}

impl GrpcSender {
    /// Connects to `LogicExt`; `waker` wakes the thread that takes the outcomes. Must be called
    /// within a tokio runtime.
    pub(super) async fn connect(grpc: &str, waker: DriveWaker) -> Result<Self, LoadError> {
        let fault = |error: tonic::transport::Error| LoadError::new(grpc, error);
        let endpoint = Endpoint::from_shared(grpc.to_owned()).map_err(fault)?;
        let mut clients = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let channel = endpoint.connect().await.map_err(fault)?;
            clients.push(LogicExtClient::new(channel));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a sender waits for its answer, so as many wait as senders have under way"
        )]
        let (orders, mut inbox) = mpsc::unbounded_channel::<SendOrder>();
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let done = Arc::clone(&outcomes);
        let tracker = TaskTracker::new();
        let calls = tracker.clone();
        tracker.spawn(async move {
            let mut turn = 0_usize;
            while let Some(order) = inbox.recv().await {
                turn = turn.wrapping_add(1);
                let Some(client) = clients.get(turn % CONNECTIONS).cloned() else {
                    return;
                };
                let (done, waker) = (Arc::clone(&done), waker.clone());
                calls.spawn(async move {
                    let slot = order.slot;
                    let outcome = call(client, order).await;
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((slot, outcome));
                    // One wake is enough: the thread takes all outcomes at once.
                    if done.len() == 1 {
                        waker.wake();
                    }
                });
            }
        });
        Ok(Self { orders, outcomes })
    }

    /// Gives an order.
    pub(super) fn send(&self, order: SendOrder) {
        // Only a runtime that ends takes no orders; the send then stays unanswered, which is a
        // finding.
        let _ = self.orders.send(order);
    }

    /// Takes the outcomes since the last call.
    pub(super) fn outcomes(&self) -> Vec<SendOutcome> {
        let outcomes = self.outcomes.lock();
        mem::take(&mut *outcomes.unwrap_or_else(PoisonError::into_inner))
    }
}

async fn call(
    mut client: LogicExtClient<Channel>,
    order: SendOrder,
) -> Result<i64, (SendFailure, String)> {
    let mut request = Request::new(order.send);
    request.set_timeout(CALL);
    let metadata = request.metadata_mut();
    metadata.insert("user_id", order.account.user.into());
    metadata.insert("device_id", order.account.device.into());
    if let Ok(token) = MetadataValue::try_from(order.account.token.as_str()) {
        metadata.insert("token", token);
    }
    match client.send_message(request).await {
        Ok(answer) => Ok(answer.into_inner().seq),
        Err(status) => Err((fate(&status), status.to_string())),
    }
}

/// Sorts a failed call into refused or unknown. gim's own codes are refusals; tonic shows them as
/// unknown without a source.
fn fate(status: &Status) -> SendFailure {
    use std::error::Error as _;
    match (status.code(), status.source()) {
        (Code::DeadlineExceeded | Code::Cancelled, _) | (Code::Unknown, Some(_)) => {
            SendFailure::Unknown
        }
        _ => SendFailure::Refused,
    }
}
