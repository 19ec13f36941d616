//! Law 1 in full: a commit that is not durable is neither answered nor shown, so a reader never
//! sees entries that a killed server has lost.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation should panic"
)]

use std::net::SocketAddr;
use std::process::Command;

use gimlet_client::{
    ApiClient, Client, ClientEvent, ClientOptions, DeviceCredentials, EventStream, MessageContent,
    MessageTarget, ServerEndpoint,
};
use gimlet_kit::child::ChildProcess;
use gimlet_kit::sign_in;
use gimlet_kit::wire::RawClient;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, timeout};

/// The child process and its addresses.
struct HeldServer {
    talk: ChildProcess,
    tcp: SocketAddr,
    grpc: String,
}

impl HeldServer {
    async fn start(data: &TempDir) -> Self {
        let binary = env!("CARGO_BIN_EXE_gimlet-held");
        let mut command = Command::new(binary);
        let mut talk = ChildProcess::with_input("gimlet-held", command.arg(data.path())).unwrap();
        let line = talk.wait_for_line("127.0.0.1:").await;
        let words: Vec<&str> = line.split(' ').collect();
        Self {
            talk,
            tcp: words[0].parse().unwrap(),
            grpc: format!("http://{}", words[2]),
        }
    }

    async fn does(&mut self, command: &str) {
        self.talk.says(command);
        self.talk.wait_for_line("done").await;
    }

    async fn user(&self, phone: &str) -> DeviceCredentials {
        let api = ApiClient::new(&self.grpc).unwrap();
        sign_in(&api, phone).await.unwrap()
    }

    async fn client(&self, who: &DeviceCredentials) -> (Client, EventStream) {
        let endpoint = ServerEndpoint::Tcp(self.tcp.to_string());
        let (client, mut events) = Client::connect(ClientOptions::new(endpoint, who.clone()))
            .await
            .unwrap();
        while !matches!(events.next().await, Some(ClientEvent::CaughtUp { .. })) {}
        (client, events)
    }

    async fn raw(&self, who: &DeviceCredentials) -> RawClient {
        RawClient::sign_in(self.tcp, who).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_answered_or_shown_before_it_is_durable() {
    let data = tempfile::tempdir().unwrap();
    let mut server = HeldServer::start(&data).await;
    let alice = server.user("13800000001").await;
    let bob = server.user("13800000002").await;
    let bobs_tablet = server.user("13800000002").await;
    let to = MessageTarget::User(bob.user_id);
    let (sender, _events) = server.client(&alice).await;
    let (_live, mut shown_live) = server.client(&bob).await;
    let mut poller = server.raw(&bobs_tablet).await;
    for n in 0..10 {
        sender
            .send(to, MessageContent::text(format!("{n}")))
            .await
            .unwrap();
    }
    for _ in 0..10 {
        assert!(matches!(
            shown_live.next().await,
            Some(ClientEvent::Message(_))
        ));
    }

    server.does("hold").await;
    let sends = (10..30).map(|n| sender.send(to, MessageContent::text(format!("{n}"))));
    let mut sends = Box::pin(futures_util::future::select_all(sends.map(Box::pin)));
    // The sends are written, and their batch waits at the gate.
    tokio::select! {
        (answered, ..) = &mut sends => panic!("answered while the flush was held: {answered:?}"),
        () = server.does("reached") => {}
    }
    // For the longest duration of a send, neither reader may be shown any of them.
    let until = Instant::now() + Duration::from_millis(700);
    while Instant::now() < until {
        let page = poller.sync(0).await.unwrap();
        assert_eq!(page.len(), 10, "SYNC shows what is not durable");
        tokio::select! {
            biased;
            (answered, ..) = &mut sends => panic!("answered while held: {answered:?}"),
            shown = timeout(Duration::from_millis(1), shown_live.next()) => {
                assert!(shown.is_err(), "pushed while held: {shown:?}");
            }
        }
    }
    drop(sends);
    server.talk.kill().unwrap();

    let server = HeldServer::start(&data).await;
    let mut again = server.raw(&bob).await;
    let kept = again.sync(0).await.unwrap();
    assert!(
        kept.len() >= 10,
        "answered sends survive the kill: {} entries",
        kept.len()
    );
    let seqs: Vec<i64> = kept.iter().map(|message| message.seq).collect();
    let counted: Vec<i64> = (1..).take(kept.len()).collect();
    assert_eq!(
        seqs, counted,
        "the entries keep the seqs that the readers were shown"
    );
    let (sender, _events) = server.client(&alice).await;
    let sent = sender
        .send(to, MessageContent::text("after"))
        .await
        .unwrap();
    let head = i64::try_from(kept.len()).unwrap();
    assert!(sent.seq >= 11 && again.sync(head).await.unwrap().len() == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_is_answered_and_shown_when_it_is_durable() {
    let data = tempfile::tempdir().unwrap();
    let mut server = HeldServer::start(&data).await;
    let alice = server.user("13800000001").await;
    let bob = server.user("13800000002").await;
    let (sender, _events) = server.client(&alice).await;
    let (_live, mut shown) = server.client(&bob).await;
    server.does("hold").await;
    let sending = sender.send(
        MessageTarget::User(bob.user_id),
        MessageContent::text("held"),
    );
    let mut sending = Box::pin(sending);
    tokio::select! {
        answered = &mut sending => panic!("answered while held: {answered:?}"),
        () = server.does("reached") => {}
    }
    let (sent, ()) = tokio::join!(sending, server.does("release"));
    assert_eq!(sent.unwrap().seq, 1);
    let Some(ClientEvent::Message(message)) = shown.next().await else {
        panic!("a message")
    };
    assert_eq!(
        (message.seq, message.content),
        (1, MessageContent::text("held"))
    );
    assert!(server.talk.ends().await, "the server stops gracefully");
}
