//! Answers the packets of a client.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use futures_util::SinkExt as _;
use gimlet_core::error::RequestRefusal;
use gimlet_core::frame_form::FrameForm;
use gimlet_core::gateway::{ClientConnection, SignInRequest, was_displaced};
use gimlet_core::id::{Epoch, UserId};
use gimlet_core::send_future::{SendFuture, SendReceipt};
use gimlet_core::seq::Seq;
use gimlet_core::trace::{self, RequestTrace};
use gimlet_proto::pb::{self, CloseCode, PackageType};
use tokio::time::Instant;

use super::{ConnectionSession, FramePacing, RequestFuture, SessionEnd, SessionPhase, throttle};
use crate::close::SUPERSEDED;
use crate::codec;
use crate::convert::{self, SignInCredentials};
use crate::dispatch::{ClientPacket, ClientRequest};
use crate::link::{FrameCodec, FrameLink, UrlSignIn, WireKind};

impl<L: FrameLink> ConnectionSession<'_, L> {
    /// Answers a packet at once, or returns a future that answers it.
    pub(super) fn handle(
        &mut self,
        packet: ClientPacket,
    ) -> Result<Option<RequestFuture<'_>>, SessionEnd> {
        let (kind, id) = (packet.kind, packet.request_id);
        let request = packet.into_request();
        let user = match (&request, &self.connection) {
            (Ok(ClientRequest::SignIn(input)), _) => UserId::from_wire(input.user_id),
            (_, connection) => connection.as_ref().map(|it| it.identity().user),
        };
        let trace = user.and_then(|user| RequestTrace::begin(user, kind, id));
        let slow = match (request, self.connection.clone()) {
            (Ok(ClientRequest::SignIn(input)), _) => {
                GatewayRequest::SignIn(convert::credentials(input))
            }
            (Err(refusal), None) if kind == PackageType::PtSignIn as i32 => {
                self.refuse(kind, id, &refusal)?;
                return Ok(None);
            }
            // Acks are never answered; `step` handles them as it reads packets.
            (Ok(ClientRequest::Ack(_)), _) => return Ok(None),
            (_, None) => {
                let refusal = RequestRefusal::Unauthorized("this connection is not signed in");
                self.refuse(kind, id, &refusal)?;
                return Ok(None);
            }
            (Ok(ClientRequest::Sync(input)), Some(connection)) => {
                GatewayRequest::Sync(input, connection)
            }
            (Ok(ClientRequest::Subscribe(input)), Some(connection)) => {
                GatewayRequest::Subscribe(input, connection)
            }
            (Ok(ClientRequest::Heartbeat), Some(connection)) => {
                RequestTrace::run(trace, || self.heartbeat(id, &connection))?;
                return Ok(None);
            }
            (Ok(ClientRequest::Send(request)), Some(connection)) => {
                self.send(id, request, &connection, trace);
                return Ok(None);
            }
            (Err(refusal), Some(_)) => {
                self.refuse(kind, id, &refusal)?;
                return Ok(None);
            }
        };
        // Boxed: a request that is awaited only occasionally must not enlarge every connection's
        // future.
        let answer = self.ask(kind, id, slow);
        Ok(Some(match trace {
            Some(trace) => Box::pin(trace.follow(answer)),
            None => Box::pin(answer),
        }))
    }

    /// Answers a request that needs the gateway. Meanwhile `step` does not run, so two things must
    /// happen first. Pending output is written: nothing else would flush it before the answer. A
    /// read of the inbox is dropped: nothing would poll it, while it holds one of the node's read
    /// permits, for which a SYNC has to wait as well.
    async fn ask(&mut self, kind: i32, id: i64, asked: GatewayRequest) -> Result<(), SessionEnd> {
        self.flush_now().await;
        if let Some(backlog) = self.backlog.as_mut() {
            backlog.give_up_read();
        }
        let answered = match asked {
            GatewayRequest::SignIn(credentials) => self.sign_in(id, credentials).await,
            GatewayRequest::Sync(input, connection) => self.sync(id, input.seq, connection).await,
            GatewayRequest::Subscribe(input, connection) => {
                self.subscribe(id, input, connection).await
            }
        };
        match answered {
            Ok(()) => Ok(()),
            Err(RequestFailure::Refused(refusal)) => self.refuse(kind, id, &refusal),
            Err(RequestFailure::End(end)) => Err(end),
        }
    }

    /// Signs in with the data of the URL. Such clients expect no answer on success; a refusal is
    /// sent.
    pub(super) async fn sign_in_by_url(&mut self, url: UrlSignIn) -> Result<(), SessionEnd> {
        let (id, credentials) = convert::url_credentials(url);
        match self.admit(credentials).await {
            Ok(_) => self.stopping(),
            Err(refusal) => self.refuse(PackageType::PtSignIn.into(), id, &refusal),
        }
    }

    async fn sign_in(
        &mut self,
        id: i64,
        credentials: Result<SignInCredentials, RequestRefusal>,
    ) -> Result<(), RequestFailure> {
        let knows_closes = self.link.codec() == FrameCodec::Json
            || credentials.as_ref().is_ok_and(|it| it.protocol > 0);
        let connection = match self.admit(credentials).await {
            // The token is valid: a refusal would have the client ask its user to sign in again.
            Err(refusal) if knows_closes && was_displaced(&refusal) => {
                self.extension_client = true;
                return Err(SessionEnd::close(CloseCode::Superseded, SUPERSEDED).into());
            }
            admitted => admitted?,
        };
        let (epoch, head) = connection.head();
        self.write(codec::signed_in(self.form(), id, epoch, head))?;
        Ok(self.stopping()?)
    }

    /// Signs the connection in as that device, in place of its previous identity.
    async fn admit(
        &mut self,
        credentials: Result<SignInCredentials, RequestRefusal>,
    ) -> Result<Arc<ClientConnection>, RequestRefusal> {
        if self.phase == SessionPhase::AwaitingSignIn {
            self.phase = SessionPhase::Open;
            self.last_activity = Instant::now();
        }
        let SignInCredentials {
            user,
            device,
            token,
            protocol,
        } = credentials?;
        // The sign-in of a URL names no version; a client of JSON always knows the extension.
        let protocol = match self.link.codec() {
            FrameCodec::Json => protocol.max(1),
            FrameCodec::Protobuf => protocol,
        };
        let settings = &self.shared.settings;
        let legacy = protocol == 0 && self.link.wire() == WireKind::Tcp && settings.pace;
        let request = SignInRequest {
            user,
            device,
            token,
            client: Some(self.addr),
            protocol,
            legacy,
            echo: false,
            resume_after: Seq::ZERO,
        };
        let (gateway, failures) = (&self.shared.gateway, &self.shared.failures);
        let signed_in = gateway.sign_in_limited(failures, request).await;
        let connection = Arc::new(signed_in.inspect_err(|refusal| {
            tracing::debug!(%user, %device, %refusal, "sign-in refused");
        })?);
        if let Some(span) = &self.span {
            span.record("conn", tracing::field::display(connection.identity().conn));
            span.record("user", tracing::field::display(user));
            span.record("device", tracing::field::display(device));
        }
        tracing::debug!(protocol, "signed in");
        // Pushes that were taken for the previous identity must not reach the new one.
        self.backlog = None;
        self.stop = None;
        self.extension_client = protocol > 0;
        let pacing = || Box::new(FramePacing::new(settings.pace_wait, Instant::now()));
        self.pacing = legacy.then(pacing);
        self.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Closes a connection that signed in while the server was stopping: the hub closed its
    /// connections before this one was among them.
    fn stopping(&self) -> Result<(), SessionEnd> {
        if self.shared.stop.is_cancelled() {
            return Err(SessionEnd::close(
                CloseCode::ShuttingDown,
                "the server is shutting down",
            ));
        }
        Ok(())
    }

    async fn sync(
        &mut self,
        id: i64,
        asked: i64,
        connection: Arc<ClientConnection>,
    ) -> Result<(), RequestFailure> {
        let asked = convert::seq("seq", asked)?;
        let page = connection.sync(asked).await?;
        // The device may have signed in elsewhere while the page was read: this connection must not
        // show it any more.
        if connection.handle().is_superseded() {
            return Err(RequestRefusal::Unauthorized(
                "this connection does not own its device any more",
            )
            .into());
        }
        let answer = codec::page(self.form(), &page, id, self.pacing.is_some());
        // The page is queued before `synced` makes the connection live, so that pushes come after
        // it; pushes that were already taken from the hub and are in the page are dropped.
        match answer.last {
            Some(seq) => self.write_acked(answer.frame, seq)?,
            None => self.write(answer.frame)?,
        }
        connection.synced(page.from, answer.upto, answer.more);
        if let Some(backlog) = self.backlog.as_mut() {
            backlog.forget(answer.upto);
        }
        Ok(())
    }

    async fn subscribe(
        &mut self,
        id: i64,
        input: pb::SubscribeRoomInput,
        connection: Arc<ClientConnection>,
    ) -> Result<(), RequestFailure> {
        let (room, from) = convert::subscription(&input)?;
        connection.subscribe(room, from).await?;
        Ok(self.write(codec::subscribed(self.form(), id))?)
    }

    fn heartbeat(&mut self, id: i64, connection: &ClientConnection) -> Result<(), SessionEnd> {
        let (epoch, head) = match connection.heartbeat() {
            Ok(known) => known,
            Err(refusal) => return self.refuse(PackageType::PtHeartbeat.into(), id, &refusal),
        };
        if let Some(pacing) = self.pacing.as_mut()
            && pacing.awaits_ack(Instant::now())
        {
            // The heartbeat crossed a push: its answer must not catch up with that push.
            pacing.heartbeat = Some(id);
            return Ok(());
        }
        self.write(codec::heartbeat(self.form(), id, epoch, head))
    }

    /// Writes the answer to a heartbeat that was delayed until a push was acked.
    pub(super) fn write_heartbeat(&mut self) -> Result<(), SessionEnd> {
        let Some(id) = self.pacing.as_mut().and_then(|it| it.heartbeat.take()) else {
            return Ok(());
        };
        // Only clients of gim are paced, and their answer is empty.
        let answer = codec::heartbeat(FrameForm::Legacy, id, Epoch(0), Seq::ZERO);
        self.write(answer)
    }

    /// Starts a send; answers are written in the order of the packets.
    fn send(
        &mut self,
        id: i64,
        request: pb::SendMessageReq,
        connection: &ClientConnection,
        trace: Option<Box<RequestTrace>>,
    ) {
        let backlog = self.backlog.get_or_insert_default();
        backlog.send(id, || match convert::draft(request) {
            Ok(draft) => connection.send(draft),
            Err(refusal) => SendFuture::done(Err(refusal)),
        });
        backlog.trace_last(trace);
    }

    /// Encodes the answer to a send.
    pub(super) fn sent(&mut self, id: i64, sent: Result<SendReceipt, RequestRefusal>) -> Bytes {
        let form = self.form();
        match sent {
            Ok(sent) => {
                if self.throttle.as_mut().is_some_and(|it| it.accepted()) {
                    self.throttle = None;
                }
                self.shared.stats.sends.fetch_add(1, Ordering::Relaxed);
                codec::sent(form, id, &sent)
            }
            Err(refusal) => {
                self.count_refusal(&refusal);
                codec::refusal(form, PackageType::PtSend.into(), id, &refusal)
            }
        }
    }

    fn refuse(&mut self, kind: i32, id: i64, refusal: &RequestRefusal) -> Result<(), SessionEnd> {
        self.count_refusal(refusal);
        trace::note_code(refusal);
        self.write(codec::refusal(self.form(), kind, id, refusal))
    }

    /// Counts a refusal, also against a client that goes on in spite of its rate.
    fn count_refusal(&mut self, refusal: &RequestRefusal) {
        self.shared.stats.refuse(refusal);
        if let Some(retry_after) = throttle::retry_after(refusal) {
            let throttle = self.throttle.get_or_insert_default();
            throttle.refused(retry_after, Instant::now());
        }
    }

    /// Writes as much pending output as the socket takes, without waiting.
    async fn flush_now(&mut self) {
        poll_fn(|cx| {
            // Ignored: the error occurs again at the next flush.
            let _ = self.link.poll_flush_unpin(cx);
            Poll::Ready(())
        })
        .await;
    }
}

/// A request that needs the gateway.
enum GatewayRequest {
    SignIn(Result<SignInCredentials, RequestRefusal>),
    Sync(pb::SyncInput, Arc<ClientConnection>),
    Subscribe(pb::SubscribeRoomInput, Arc<ClientConnection>),
}

/// A packet that could not be answered.
enum RequestFailure {
    Refused(RequestRefusal),
    End(SessionEnd),
}

impl From<RequestRefusal> for RequestFailure {
    fn from(refusal: RequestRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<SessionEnd> for RequestFailure {
    fn from(end: SessionEnd) -> Self {
        Self::End(end)
    }
}
