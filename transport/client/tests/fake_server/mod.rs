//! A server that a test controls frame by frame, over TCP or WebSocket.

#![expect(clippy::unwrap_used, reason = "a failed expectation should panic")]

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use gimlet_client::pb::PackageType as Kind;
use gimlet_client::{
    Client, ClientEvent, ClientOptions, DeviceCredentials, EventStream, MessageContent,
    ServerEndpoint, pb,
};
use prost::Message as _;
use std::pin::Pin;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_util::codec::LengthDelimitedCodec;

/// Longer than anything in these tests takes; only a failure waits for it.
const LIMIT: Duration = Duration::from_secs(10);

/// The epoch of the fake inbox.
pub(crate) const EPOCH: u64 = 7;

/// Waits for something that must happen.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(LIMIT, work)
        .await
        .expect("it should have come by now")
}

/// Returns options of user 1 on device 11 with short delays.
pub(crate) fn options(endpoint: ServerEndpoint) -> ClientOptions {
    let who = DeviceCredentials {
        user_id: 1,
        device_id: 11,
        token: "token".into(),
    };
    let mut options = ClientOptions::new(endpoint, who);
    options.backoff_base = Duration::from_millis(5);
    options.ack_every = Duration::from_millis(5);
    options
}

/// A listener.
pub(crate) struct FakeServer {
    listener: TcpListener,
    ws: bool,
}

impl FakeServer {
    pub(crate) async fn tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            listener,
            ws: false,
        }
    }

    pub(crate) async fn ws() -> Self {
        Self {
            ws: true,
            ..Self::tcp().await
        }
    }

    /// Returns options of a client of this server: user 1, device 11, with short delays.
    pub(crate) fn options(&self) -> ClientOptions {
        let address = self.listener.local_addr().unwrap();
        options(if self.ws {
            ServerEndpoint::Ws(format!("ws://{address}/ws"))
        } else {
            ServerEndpoint::Tcp(address.to_string())
        })
    }

    /// Accepts the next connection.
    pub(crate) async fn accept(&self) -> FakeConnection {
        let (socket, _) = soon(self.listener.accept()).await.unwrap();
        if self.ws {
            let (sink, stream) = tokio_tungstenite::accept_async(socket)
                .await
                .unwrap()
                .split();
            let stream = stream.filter_map(|frame| async { frame.ok().map(Frame::into_data) });
            let sink = sink.with(|bytes| async { Ok::<_, SocketError>(Frame::Binary(bytes)) });
            return FakeConnection {
                stream: Box::pin(stream),
                sink: Box::pin(sink.sink_map_err(drop)),
            };
        }
        let (sink, stream) = LengthDelimitedCodec::builder()
            .length_field_length(2)
            .new_framed(socket)
            .split();
        let stream = stream.filter_map(|frame| async { frame.ok().map(bytes::BytesMut::freeze) });
        FakeConnection {
            stream: Box::pin(stream),
            sink: Box::pin(sink.sink_map_err(drop)),
        }
    }

    /// Accepts the next connection, signs it in with an inbox up to `head`, and returns it with its
    /// SYNC.
    pub(crate) async fn welcome(&self, epoch: u64, head: i64) -> (FakeConnection, ReceivedRequest) {
        let mut conn = self.accept().await;
        let asked = conn.expect(Kind::PtSignIn).await;
        let who = pb::SignInInput::decode(asked.data.clone()).unwrap();
        assert_eq!((who.user_id, who.device_id, who.protocol), (1, 11, 1));
        conn.answer(&asked, &pb::SignInOutput { epoch, head }).await;
        let sync = conn.expect(Kind::PtSync).await;
        (conn, sync)
    }

    /// Returns a connection that is live with an empty inbox.
    pub(crate) async fn live(&self) -> FakeConnection {
        let (mut conn, sync) = self.welcome(EPOCH, 0).await;
        assert_eq!(sync.seq(), 0);
        conn.answer(&sync, &nothing()).await;
        conn
    }
}

type SocketError = tokio_tungstenite::tungstenite::Error;

/// One connection, from the server's side.
pub(crate) struct FakeConnection {
    stream: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    sink: Pin<Box<dyn Sink<Bytes, Error = ()> + Send>>,
}

/// A request of the client.
pub(crate) struct ReceivedRequest {
    pub(crate) kind: Kind,
    pub(crate) id: i64,
    pub(crate) data: Bytes,
}

impl ReceivedRequest {
    /// Returns the seq of a SYNC.
    pub(crate) fn seq(&self) -> i64 {
        assert_eq!(self.kind, Kind::PtSync);
        pb::SyncInput::decode(self.data.clone()).unwrap().seq
    }

    /// Returns the request of a send.
    pub(crate) fn send(&self) -> pb::SendMessageReq {
        assert_eq!(self.kind, Kind::PtSend);
        pb::SendMessageReq::decode(self.data.clone()).unwrap()
    }
}

impl FakeConnection {
    /// Returns the next packet of any kind; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<ReceivedRequest> {
        let input = pb::Input::decode(soon(self.stream.next()).await?).unwrap();
        Some(ReceivedRequest {
            kind: input.r#type(),
            id: input.request_id,
            data: input.data,
        })
    }

    /// Returns the next packet of `kind`; acks are skipped unless they are wanted.
    pub(crate) async fn expect(&mut self, kind: Kind) -> ReceivedRequest {
        loop {
            let asked = self.next().await.expect("a packet");
            if asked.kind == kind {
                return asked;
            }
            assert_eq!(asked.kind, Kind::PtMessage, "while waiting for {kind:?}");
        }
    }

    /// Waits until the client has acknowledged `seq`.
    pub(crate) async fn acked(&mut self, seq: i64) {
        loop {
            let asked = self.expect(Kind::PtMessage).await;
            let ack = pb::MessageAck::decode(asked.data).unwrap().device_ack;
            assert!(ack <= seq, "{ack} was acknowledged before {seq}");
            if ack == seq {
                return;
            }
        }
    }

    pub(crate) async fn answer(&mut self, asked: &ReceivedRequest, data: &impl prost::Message) {
        self.output(asked.kind, asked.id, 0, "", data).await;
    }

    pub(crate) async fn refuse(&mut self, asked: &ReceivedRequest, code: i32, text: &str) {
        self.output(asked.kind, asked.id, code, text, &()).await;
    }

    pub(crate) async fn push(&mut self, message: pb::Message) {
        let push = pb::MessageSend {
            message: Some(message),
        };
        self.output(Kind::PtMessage, 0, 0, "", &push).await;
    }

    pub(crate) async fn close(&mut self, code: pb::CloseCode, come_back: pb::ComeBack) {
        let close = pb::CloseOutput {
            code: code.into(),
            message: "bye".into(),
            come_back: come_back.into(),
            after_ms: 1,
        };
        self.output(Kind::PtClose, 0, 0, "", &close).await;
    }

    async fn output(
        &mut self,
        kind: Kind,
        id: i64,
        code: i32,
        text: &str,
        data: &impl prost::Message,
    ) {
        let output = pb::Output {
            r#type: kind.into(),
            request_id: id,
            code,
            message: text.into(),
            data: data.encode_to_vec().into(),
            // Code 8 is a refusal that time mends; the shortest wait keeps the test fast.
            retry_after_ms: i64::from(code == 8),
        };
        self.sink.send(output.encode_to_vec().into()).await.unwrap();
    }
}

/// Returns entry `seq` of the inbox: "hi `seq`" from user 2.
pub(crate) fn entry(seq: i64) -> pb::Message {
    let text = pb::Text {
        text: format!("hi {seq}"),
    };
    pb::Message {
        sender: Some(pb::Sender {
            sender_type: pb::SenderType::StUser.into(),
            sender_id: 2,
            ..pb::Sender::default()
        }),
        receiver_type: pb::ReceiverType::RtUser.into(),
        receiver_id: 1,
        message_type: pb::MessageType::MtText.into(),
        message_content: text.encode_to_vec().into(),
        seq,
        send_time: seq,
        ..pb::Message::default()
    }
}

/// Returns message `seq` of room 5.
pub(crate) fn in_room(seq: i64) -> pb::Message {
    pb::Message {
        receiver_type: pb::ReceiverType::RtRoom.into(),
        receiver_id: 5,
        ..entry(seq)
    }
}

/// Returns a page of the inbox.
pub(crate) fn page(seqs: std::ops::RangeInclusive<i64>, has_more: bool) -> pb::SyncOutput {
    pb::SyncOutput {
        head: *seqs.end(),
        messages: seqs.map(entry).collect(),
        has_more,
        epoch: EPOCH,
        floor: 0,
    }
}

/// Returns the page of an empty inbox.
pub(crate) fn nothing() -> pb::SyncOutput {
    pb::SyncOutput {
        epoch: EPOCH,
        ..pb::SyncOutput::default()
    }
}

/// Returns the answer to a send.
pub(crate) fn stored(seq: i64, repeated: bool) -> pb::SendMessageResp {
    pb::SendMessageResp {
        seq,
        message_id: Bytes::from_static(&[9; 16]),
        repeated,
    }
}

/// Starts a client.
pub(crate) async fn client(options: ClientOptions) -> (Client, EventStream) {
    Client::connect(options).await.unwrap()
}

/// Returns the next event.
pub(crate) async fn next(events: &mut EventStream) -> ClientEvent {
    soon(events.next()).await.expect("an event")
}

/// Takes events up to the inbox entry `last`; checks their texts and returns the seqs.
pub(crate) async fn seqs_until(events: &mut EventStream, last: i64) -> Vec<i64> {
    let mut seqs = Vec::new();
    while seqs.last() != Some(&last) {
        if let ClientEvent::Message(message) = next(events).await {
            assert_eq!(
                message.content,
                MessageContent::text(format!("hi {}", message.seq))
            );
            seqs.push(message.seq);
        }
    }
    seqs
}

/// Waits for an event that `fits`, skipping others.
pub(crate) async fn until(
    events: &mut EventStream,
    fits: impl Fn(&ClientEvent) -> bool,
) -> ClientEvent {
    loop {
        let event = next(events).await;
        if fits(&event) {
            return event;
        }
    }
}
