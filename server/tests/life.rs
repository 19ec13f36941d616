//! A server's life as its clients see it: the close at a stop, and disconnects by a backend.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

use std::net::SocketAddr;

use gimlet_client::ApiClient;
use gimlet_kit::server::get;
use gimlet_kit::sign_in;
use gimlet_kit::wire::{self, RawClient};
use gimlet_proto::pb;
use gimlet_proto::pb::connect_int_client::ConnectIntClient;
use gimlet_proto::pb::logic_ext_client::LogicExtClient;
use gimlet_proto::pb::logic_int_client::LogicIntClient;
use gimlet_server::{Config, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

type LifeTestResult = Result<(), Box<dyn std::error::Error>>;

/// A live connection that speaks our extension.
struct SocketConnection {
    raw: RawClient,
    local: SocketAddr,
    user_id: i64,
    device_id: i64,
}

impl SocketConnection {
    async fn open(server: &Server, phone: &str) -> Self {
        let api = ApiClient::new(&format!("http://{}", server.addrs().grpc[0])).unwrap();
        let who = sign_in(&api, phone).await.unwrap();
        let stream = TcpStream::connect(server.addrs().tcp.unwrap());
        let stream = stream.await.unwrap();
        let local = stream.local_addr().unwrap();
        let mut raw = RawClient::over(stream);
        let packet = wire::sign_in(&who, 1);
        raw.ask(pb::PackageType::PtSignIn, 1, &packet)
            .await
            .unwrap();
        raw.page(0).await.unwrap();
        Self {
            raw,
            local,
            user_id: who.user_id,
            device_id: who.device_id,
        }
    }

    async fn read_close(&mut self) -> pb::CloseOutput {
        let told = self.raw.next().await.unwrap();
        assert_eq!(told.r#type(), pb::PackageType::PtClose);
        assert!(self.raw.next().await.is_err(), "and then it is closed");
        self.raw.close.clone().unwrap()
    }
}

#[tokio::test]
async fn a_stop_tells_clients_when_to_come_back_and_frees_the_ports() -> LifeTestResult {
    let server = Server::start(Config::embedded()).await?;
    let tcp = server.addrs().tcp.unwrap();
    let mut connection = SocketConnection::open(&server, "13800000001").await;
    let (stopped, close) = tokio::join!(server.stop(), connection.read_close());
    stopped?;
    assert_eq!(close.code(), pb::CloseCode::ShuttingDown);
    assert_eq!(close.come_back(), pb::ComeBack::NowWithJitter);
    assert!((0..=3_000).contains(&close.after_ms), "{}", close.after_ms);
    assert!(TcpStream::connect(tcp).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_stop_does_not_wait_for_who_does_not_go() -> LifeTestResult {
    let server = Server::start(Config::embedded()).await?;
    let mut idle = TcpStream::connect(server.addrs().grpc[0]).await?;
    // The preface and empty settings; the ping that asks it to leave is never answered.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    idle.write_all(hello).await?;
    idle.read_u8().await?;
    let begun = tokio::time::Instant::now();
    server.stop().await?;
    assert!(begun.elapsed().as_secs() < 6, "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_dropped_server_stops_too() -> LifeTestResult {
    let server = Server::start(Config::embedded()).await?;
    let mut connection = SocketConnection::open(&server, "13800000001").await;
    drop(server);
    assert_eq!(
        connection.read_close().await.code(),
        pb::CloseCode::ShuttingDown
    );
    Ok(())
}

#[tokio::test]
async fn a_backend_disconnects_a_user() -> LifeTestResult {
    let server = Server::start(Config::embedded()).await?;
    let internal = format!("http://{}", server.addrs().internal.unwrap());
    let mut backend = LogicIntClient::connect(internal).await?;
    for whole_user in [false, true] {
        let mut connection = SocketConnection::open(&server, "13800000001").await;
        let device = pb::GetDeviceReq {
            device_id: connection.device_id,
        };
        let device = backend
            .get_device(device)
            .await?
            .into_inner()
            .device
            .unwrap();
        assert_eq!((device.user_id, device.status), (connection.user_id, 1));
        assert_eq!(device.client_addr, connection.local.to_string());
        let request = pb::DisconnectReq {
            user_id: connection.user_id,
            device_id: if whole_user { 0 } else { connection.device_id },
            reason: "banned".into(),
        };
        backend.disconnect(request).await?;
        let close = connection.read_close().await;
        assert!(close.message.contains("banned"), "{}", close.message);
    }
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_delivery_with_a_seq_is_a_hint_and_never_content() -> LifeTestResult {
    let server = Server::start(Config::embedded()).await?;
    let mut connection = SocketConnection::open(&server, "13800000001").await;
    let internal = format!("http://{}", server.addrs().internal.unwrap());
    let mut backend = ConnectIntClient::connect(internal).await?;
    let deliver = |seq, words: &'static str| pb::DeliverMessageReq {
        user_id: 0,
        device_id: connection.device_id,
        message_send: Some(pb::MessageSend {
            message: Some(pb::Message {
                receiver_type: pb::ReceiverType::RtUser.into(),
                receiver_id: connection.user_id,
                message_content: words.into(),
                seq,
                ..Default::default()
            }),
        }),
    };
    let mut large = deliver(0, "");
    if let Some(message) = large.message_send.as_mut().and_then(|m| m.message.as_mut()) {
        message.message_content = vec![0; 60 * 1024 + 1].into();
    }
    let refused = backend.deliver_message(large).await.unwrap_err();
    assert!(refused.message().contains("message_content"), "{refused}");
    let mut other = SocketConnection::open(&server, "13800000001").await;
    let (forged, live) = (deliver(1_000, "forged"), deliver(0, "live"));
    backend.deliver_message(forged).await?;
    backend.deliver_message(live).await?;
    let push = connection.raw.next_push().await?;
    assert_eq!((&*push.message_content, push.seq), (b"live".as_slice(), 0));
    let stopping = async {
        server.stop().await.unwrap();
    };
    let ((), close) = tokio::join!(stopping, other.read_close());
    assert_eq!(
        close.code(),
        pb::CloseCode::ShuttingDown,
        "and no other device saw it"
    );
    Ok(())
}

/// A load balancer sees the 503 before clients are sent away.
#[tokio::test]
async fn before_it_stops_accepting_it_serves_on_for_the_delay() -> LifeTestResult {
    let mut config = Config::embedded();
    // Longer than the test, which ends by dropping the server.
    config.stop.delay = std::time::Duration::from_mins(10);
    let server = Server::start(config).await?;
    let (tcp, ops, grpc) = (
        server.addrs().tcp.unwrap(),
        server.addrs().ops.unwrap(),
        server.addrs().grpc[0],
    );
    let probes = async {
        while readyz(ops).await != 503 {
            tokio::task::yield_now().await;
        }
        TcpStream::connect(tcp).await?;
        let mut logic = LogicExtClient::connect(format!("http://{grpc}")).await?;
        let refused = logic
            .register_device(pb::RegisterDeviceReq::default())
            .await;
        assert_ne!(refused.unwrap_err().code(), tonic::Code::Unavailable);
        Ok(())
    };
    tokio::select! {
        biased;
        stopped = server.stop() => panic!("it stopped at once: {stopped:?}"),
        outcome = probes => outcome,
    }
}

/// Sends over sockets are counted, and the process is measured.
#[tokio::test]
async fn metrics_tell_of_sends_over_sockets_and_of_the_process() -> LifeTestResult {
    let server = Server::start(Config::embedded()).await?;
    let ops = server.addrs().ops.unwrap();
    let mut connection = SocketConnection::open(&server, "13800000001").await;
    let send = pb::SendMessageReq {
        receiver_type: pb::ReceiverType::RtUser.into(),
        receiver_id: connection.user_id,
        message_type: pb::MessageType::MtText.into(),
        is_persist: true,
        send_time: 1,
        client_message_id: "1".into(),
        ..pb::SendMessageReq::default()
    };
    let kind = pb::PackageType::PtSend;
    connection.raw.ask(kind, 1, &send).await?;
    let text = get(ops, "/metrics").await?;
    assert!(text.contains("\ngimlet_socket_sends_total 1\n"), "{text}");
    if cfg!(target_os = "linux") {
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_threads",
        ] {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let value: f64 = line.unwrap().trim().parse()?;
            assert!(value > 0.0, "{name} {value}");
        }
    }
    server.stop().await?;
    Ok(())
}

async fn readyz(ops: SocketAddr) -> u16 {
    let answer = get(ops, "/readyz").await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
