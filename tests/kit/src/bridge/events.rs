//! HTTP: a request for each packet of the client, and an event stream for what the server sends.
//!
//! A stream begins at the head of the inbox as of the sign-in. The entries before it are read by pages,
//! as SYNC asks for them; what the stream sends meanwhile is held back until the client has read up to
//! it. A stream also has the device's own sends, which no socket gets: they are left out here.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::future::pending;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use gimlet_proto::pb::{self, PackageType as Kind};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::event_stream::{EventStream, ServerEvent};
use super::fields::{integer, number};
use super::frames::{read_frame, untranslatable, write_packet};
use super::http::HttpRequest;
use super::packets::{close, draft, message, page, push, refusal, sent};
use crate::wire::ByteStream;

/// Entries of the stream that may wait for a SYNC.
const MAX_HELD: usize = 256;

/// Bytes of a page with several messages.
const MAX_PAGE_BYTES: usize = 60 * 1024;

/// Carries the packets of one client.
pub(super) async fn carry(client: impl ByteStream + 'static, server: SocketAddr) -> io::Result<()> {
    let (mut read, mut write) = split(client);
    let (frames, mut requests) = mpsc::channel(1);
    let mut reader = JoinSet::new();
    // A task, because a half-read frame must not be dropped when an event comes first.
    reader.spawn(async move {
        while let Ok(Some(frame)) = read_frame(&mut read).await {
            if frames.send(frame).await.is_err() {
                return;
            }
        }
    });
    let mut link = EventsLink::new(server);
    let outcome = link.serve(&mut requests, &mut write).await;
    write.shutdown().await?;
    outcome
}

/// The connection of one client.
struct EventsLink {
    server: SocketAddr,
    bearer: String,
    stream: Option<EventStream>,
    /// Seq of the stream's last entry.
    position: i64,
    /// Seq up to which the client has read its inbox; `None` before it has read up to its end.
    read_to: Option<i64>,
    /// Entries of the stream that the client may not have yet.
    held: VecDeque<pb::Message>,
    /// Seqs of the client's own sends.
    own: BTreeSet<i64>,
}

impl EventsLink {
    const fn new(server: SocketAddr) -> Self {
        Self {
            server,
            bearer: String::new(),
            stream: None,
            position: 0,
            read_to: None,
            held: VecDeque::new(),
            own: BTreeSet::new(),
        }
    }

    async fn serve(
        &mut self,
        requests: &mut mpsc::Receiver<Bytes>,
        write: &mut (impl AsyncWrite + Send + Unpin),
    ) -> io::Result<()> {
        loop {
            let may_hold = self.held.len() < MAX_HELD;
            let stream = &mut self.stream;
            let event = async {
                match stream {
                    Some(stream) => stream.next().await,
                    None => pending().await,
                }
            };
            let output = tokio::select! {
                biased;
                event = event, if may_hold => match event {
                    Some(event) => self.event(&event)?,
                    None => return Ok(()),
                },
                frame = requests.recv() => match frame {
                    Some(frame) => self.request(pb::Input::decode(frame)?).await?,
                    None => return Ok(()),
                },
            };
            let is_close = output
                .as_ref()
                .is_some_and(|it| it.r#type() == Kind::PtClose);
            if let Some(output) = output {
                write_packet(write, &output).await?;
            }
            if is_close {
                return Ok(());
            }
            while let Some(entry) = self.released() {
                write_packet(write, &push(entry)).await?;
            }
        }
    }

    /// Returns the next entry that the client gets as a push.
    fn released(&mut self) -> Option<pb::Message> {
        let read_to = self.read_to.as_mut()?;
        while let Some(entry) = self.held.pop_front() {
            if entry.seq > *read_to {
                *read_to = entry.seq;
                return Some(entry);
            }
        }
        None
    }

    /// Handles an event of the stream.
    fn event(&mut self, event: &ServerEvent) -> io::Result<Option<pb::Output>> {
        let ServerEvent { name, data } = event;
        match &**name {
            "message" => {
                let entry = message(data)?;
                self.position = entry.seq;
                if !self.own.remove(&entry.seq) {
                    self.held.push_back(entry);
                }
                Ok(None)
            }
            "live" | "room" => Ok(Some(push(message(data)?))),
            "close" => {
                let come_back = match integer(data, "code") / 100 {
                    40 => pb::ComeBack::NowWithJitter,
                    42 => pb::ComeBack::SignInAgain,
                    43 => pb::ComeBack::Never,
                    _ => pb::ComeBack::Backoff,
                };
                Ok(Some(close(data, come_back)))
            }
            _ => Err(untranslatable(format!("the event {name}"))),
        }
    }

    /// Performs a request of the client; acks have no answer.
    async fn request(&mut self, input: pb::Input) -> io::Result<Option<pb::Output>> {
        let pb::Input {
            r#type: kind,
            request_id: id,
            data,
        } = input;
        let done = match Kind::try_from(kind) {
            Ok(Kind::PtSignIn) => self.sign_in(pb::SignInInput::decode(data)?).await?,
            Ok(Kind::PtSync) => self.sync(pb::SyncInput::decode(data)?.seq).await?,
            Ok(Kind::PtHeartbeat) => self.heartbeat().await?,
            Ok(Kind::PtSubscribeRoom) => {
                self.subscribe(pb::SubscribeRoomInput::decode(data)?)
                    .await?
            }
            Ok(Kind::PtSend) => self.send(pb::SendMessageReq::decode(data)?).await?,
            Ok(Kind::PtMessage) => {
                let seq = pb::MessageAck::decode(data)?.device_ack.to_string();
                let body = json!({"seq": seq});
                // A wrong ack has no effect and no answer.
                drop(self.call("POST /v1/inbox/ack", None, body).await?);
                return Ok(None);
            }
            Ok(Kind::PtUnknown | Kind::PtClose) | Err(_) => return Err(untranslatable(kind)),
        };
        Ok(Some(match done {
            Ok(data) => pb::Output {
                r#type: kind,
                request_id: id,
                data: data.into(),
                ..pb::Output::default()
            },
            Err(problem) => refusal(kind, id, &problem),
        }))
    }

    async fn call(
        &self,
        target: impl Into<String> + Send,
        key: Option<&str>,
        body: Value,
    ) -> io::Result<Result<Value, Value>> {
        let request = HttpRequest {
            bearer: &self.bearer,
            target: target.into(),
            key,
            body,
        };
        request.call(self.server).await
    }

    /// Opens a stream in place of the one before; returns the data of its first event.
    async fn open(&mut self, query: &str) -> io::Result<Result<Value, Value>> {
        self.stream = None;
        let request = HttpRequest {
            bearer: &self.bearer,
            target: format!("GET /v1/inbox/events?{query}"),
            key: None,
            body: Value::Null,
        };
        Ok(match EventStream::open(&request, self.server).await? {
            Ok((start, stream)) => {
                self.stream = Some(stream);
                Ok(start)
            }
            Err(problem) => Err(problem),
        })
    }

    async fn sign_in(&mut self, input: pb::SignInInput) -> io::Result<Result<Vec<u8>, Value>> {
        self.bearer = format!("{}.{}.{}", input.user_id, input.device_id, input.token);
        let start = match self.open("after=head").await? {
            Ok(start) => start,
            Err(problem) => return Ok(Err(problem)),
        };
        self.position = number(&start, "head")?;
        (self.read_to, self.held, self.own) = (None, VecDeque::new(), BTreeSet::new());
        let output = pb::SignInOutput {
            epoch: number(&start, "epoch")?.cast_unsigned(),
            head: self.position,
        };
        Ok(Ok(output.encode_to_vec()))
    }

    async fn sync(&mut self, seq: i64) -> io::Result<Result<Vec<u8>, Value>> {
        let read = self.call(format!("GET /v1/inbox?after={seq}"), None, Value::Null);
        let mut output = match read.await? {
            Ok(read) => page(&read)?,
            Err(problem) => return Ok(Err(problem)),
        };
        // A page of HTTP may be longer than a frame.
        while output.encoded_len() > MAX_PAGE_BYTES && output.messages.len() > 1 {
            output.messages.pop();
            output.has_more = true;
        }
        if !output.has_more {
            let last = output.messages.last().map(|it| it.seq);
            let reached = last.unwrap_or(seq.min(output.head));
            self.read_to = self.read_to.max(Some(reached));
        }
        Ok(Ok(output.encode_to_vec()))
    }

    async fn heartbeat(&self) -> io::Result<Result<Vec<u8>, Value>> {
        let target = "GET /v1/inbox?after=0&limit=1";
        Ok(match self.call(target, None, Value::Null).await? {
            Ok(read) => {
                let output = pb::HeartbeatOutput {
                    epoch: number(&read, "epoch")?.cast_unsigned(),
                    head: number(&read, "head")?,
                };
                Ok(output.encode_to_vec())
            }
            Err(problem) => Err(problem),
        })
    }

    async fn subscribe(
        &mut self,
        input: pb::SubscribeRoomInput,
    ) -> io::Result<Result<Vec<u8>, Value>> {
        let mut query = format!("after={}", self.position);
        if input.room_id != 0 {
            let _ = write!(query, "&room={}", input.room_id);
        }
        if input.seq != 0 {
            let _ = write!(query, "&room_from={}", input.seq);
        }
        Ok(self.open(&query).await?.map(|_| Vec::new()))
    }

    async fn send(&mut self, input: pb::SendMessageReq) -> io::Result<Result<Vec<u8>, Value>> {
        let key = Some(&*input.client_message_id).filter(|it| !it.is_empty());
        let body = Value::Object(draft(&input)?);
        let output = match self.call("POST /v1/messages", key, body).await? {
            Ok(answered) => sent(&answered)?,
            Err(problem) => return Ok(Err(problem)),
        };
        if output.seq > self.position {
            self.own.insert(output.seq);
        }
        Ok(Ok(output.encode_to_vec()))
    }
}
