//! Tests links over loopback sockets, and the accept loop around them.
#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gimlet_listen::admission::ConnectionLimiter;
use gimlet_listen::pem::PemFile;
use gimlet_listen::tls::ServerFiles;
use gimlet_listen::{
    AdmittedConnection, AlpnProtocols, ClientStream, ListenerEntrance, ListenerTls, ServerTls,
    accept, socket,
};
use gimlet_transport::serve::{ServeLink, SessionProtocol};
use gimlet_transport::{FrameLink, LinkError, OpenedLink, SessionServer, WireFraming, WireKind};
use gimlet_transport_tcp::{TcpFrameListener, TcpLink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const LIMIT: usize = 65_535;

async fn pair(limit: usize) -> (TcpLink, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    (TcpLink::new(ClientStream::Plain(socket), limit), client)
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), body].concat()
}

#[tokio::test]
async fn frames_arrive_whole_wherever_the_network_cuts_them() {
    let (mut link, mut client) = pair(LIMIT).await;
    let bytes = [frame(b"one"), frame(b""), frame(&[7; 40])].concat();
    for cut in 0..=bytes.len() {
        client.write_all(&bytes[..cut]).await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(&bytes[cut..]).await.unwrap();
        for body in [&b"one"[..], b"", &[7; 40]] {
            assert_eq!(link.next().await.unwrap().unwrap(), body);
        }
    }
}

/// Over TCP a proxy names clients by a PROXY header only. One that sends none would otherwise be
/// counted for no address, and its clients would have no limit at all.
#[tokio::test]
async fn a_trusted_proxy_that_names_no_client_is_counted_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limiter = ConnectionLimiter::new(10, 1);
    let framing = TcpFrameListener::new(LIMIT);
    let open = async |peer: &str| {
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (_client, (socket, _)) = (client.unwrap(), accepted.unwrap());
        let permit = limiter.enter_uncounted().unwrap();
        let admitted = AdmittedConnection::plain(socket, peer.parse().unwrap(), permit);
        framing.open(admitted).await
    };
    let first = open("10.0.0.1:5000").await.unwrap();
    let refused = open("10.0.0.1:5001").await.unwrap_err();
    assert!(
        refused.to_string().contains("names no clients"),
        "{refused}"
    );
    let _other = open("10.0.0.2:5000").await.unwrap();
    drop(first);
    open("10.0.0.1:5002").await.unwrap();
}

/// Browsers, gRPC clients and TLS get an answer in their own protocol instead of 10 s of silence.
#[tokio::test]
async fn clients_of_other_protocols_get_the_right_ports() {
    for (request, answer) in [
        (
            &b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            "HTTP/1.1 400 Bad Request",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "gRPC on listen.grpc"),
        (
            &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00],
            "\u{15}\u{3}\u{1}",
        ),
    ] {
        let (mut link, mut client) = pair(LIMIT).await;
        // Cut in two: bytes that are not enough to recognise the protocol are kept.
        client.write_all(&request[..3]).await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(&request[3..]).await.unwrap();
        assert!(link.next().await.unwrap().is_err());
        assert!(link.next().await.is_none());
        drop(link);
        let mut got = Vec::new();
        // The rest of the request may arrive after the answer: the operating system then sends a
        // reset.
        let _ = client.read_to_end(&mut got).await;
        let got = String::from_utf8_lossy(&got);
        assert!(got.contains(answer), "{got}");
    }
}

#[tokio::test]
async fn what_comes_with_the_end_of_the_stream_is_read() {
    let (mut link, mut client) = pair(LIMIT).await;
    client
        .write_all(&[frame(b"last"), frame(b"words")].concat())
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(link.next().await.unwrap().unwrap(), "last");
    assert_eq!(link.next().await.unwrap().unwrap(), "words");
    assert!(link.next().await.is_none());
    assert!(link.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_frame_is_truncated() {
    for part in [&[0][..], &[0, 5], &[0, 5, 1, 2]] {
        let (mut link, mut client) = pair(LIMIT).await;
        client.write_all(part).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(matches!(link.next().await, Some(Err(LinkError::Truncated))));
        assert!(link.next().await.is_none());
    }
}

#[tokio::test]
async fn a_declared_length_over_the_limit_ends_the_link_and_the_goodbye_arrives() {
    let (mut link, mut client) = pair(100).await;
    let lie = [vec![0, 101], vec![1; 50_000]].concat();
    client.write_all(&lie).await.unwrap();
    let error = link.next().await.unwrap().unwrap_err();
    assert!(matches!(
        error,
        LinkError::TooLarge {
            declared: 101,
            limit: 100
        }
    ));
    assert!(link.next().await.is_none());
    link.start_send_unpin(Bytes::from_static(b"bye")).unwrap();
    let closing = TaskTracker::new().spawn(async move { link.close().await });
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, frame(b"bye"));
    drop(client);
    closing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slow_reader_gets_everything_and_little_is_held_for_it() {
    const FRAMES: usize = 400;
    let (mut link, mut client) = pair(LIMIT).await;
    let writing = TaskTracker::new().spawn(async move {
        for n in 0..FRAMES {
            let body = vec![u8::try_from(n % 251).unwrap(); 60_000];
            link.feed(body.into()).await.unwrap();
        }
        link.flush().await.unwrap();
        assert!(link.is_flushed());
        link
    });
    let mut length = [0; 2];
    let mut body = vec![0; 60_000];
    for n in 0..FRAMES {
        client.read_exact(&mut length).await.unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(length)), body.len());
        client.read_exact(&mut body).await.unwrap();
        assert!(body.iter().all(|byte| usize::from(*byte) == n % 251));
    }
    writing.await.unwrap();
}

/// Sends every frame back.
#[derive(Debug)]
struct EchoService;

impl<L: FrameLink> ServeLink<L> for EchoService {
    async fn serve(&self, opened: OpenedLink<L>, _addr: SocketAddr) {
        let mut link = opened.link;
        assert_eq!(link.wire(), WireKind::Tcp);
        while let Some(Ok(frame)) = link.next().await {
            if link.send(frame).await.is_err() {
                return;
            }
        }
    }
}

struct RunningServer {
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

async fn echo(connections: usize) -> RunningServer {
    echo_with(connections, None).await
}

async fn echo_with(connections: usize, tls: Option<ListenerTls>) -> RunningServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    socket::bound_buffers(&listener, 16 << 10).unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let entrance = ListenerEntrance {
        tls,
        ..ListenerEntrance::plain(listener, ConnectionLimiter::new(connections, 1000))
    };
    tasks.spawn(accept(
        entrance,
        SessionProtocol::new(TcpFrameListener::new(LIMIT), Arc::new(EchoService)),
        tasks.clone(),
        stop.clone(),
    ));
    RunningServer { addr, stop, tasks }
}

async fn echoes(client: &mut TcpStream) -> bool {
    let sent = frame(b"hello");
    let mut got = vec![0; sent.len()];
    client.write_all(&sent).await.is_ok()
        && client.read_exact(&mut got).await.is_ok()
        && got == sent
}

#[tokio::test]
async fn a_connection_over_the_limit_is_rejected_until_a_permit_is_free() {
    let served = echo(1).await;
    let mut first = TcpStream::connect(served.addr).await.unwrap();
    assert!(echoes(&mut first).await);
    let mut second = TcpStream::connect(served.addr).await.unwrap();
    assert!(!echoes(&mut second).await);
    assert!(
        echoes(&mut first).await,
        "the first connection is not affected"
    );
    drop(first);
    let mut again = TcpStream::connect(served.addr).await.unwrap();
    while !echoes(&mut again).await {
        again = TcpStream::connect(served.addr).await.unwrap();
    }
}

#[tokio::test]
async fn rejected_clients_that_stay_connected_do_not_block_others() {
    let served = echo(1).await;
    let mut first = TcpStream::connect(served.addr).await.unwrap();
    assert!(echoes(&mut first).await);
    // More clients than can be rejected with an answer at a time; none of them disconnects.
    let mut connected = Vec::new();
    for _ in 0..100 {
        connected.push(TcpStream::connect(served.addr).await.unwrap());
    }
    drop(first);
    let soon = async {
        loop {
            let mut again = TcpStream::connect(served.addr).await.unwrap();
            if echoes(&mut again).await {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(2), soon);
    assert!(
        in_time.await.is_ok(),
        "the rejected clients blocked the others"
    );
}

#[tokio::test]
async fn the_accept_loop_stops_and_connections_are_waited_for() {
    let served = echo(10).await;
    let mut client = TcpStream::connect(served.addr).await.unwrap();
    assert!(echoes(&mut client).await);
    served.stop.cancel();
    served.tasks.close();
    while TcpStream::connect(served.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(
        echoes(&mut client).await,
        "open connections are still served"
    );
    drop(client);
    served.tasks.wait().await;
}

/// Bytes that TLS has taken and the socket has not wait inside: only a flush moves them on.
#[tokio::test]
async fn a_slow_reader_gets_everything_over_tls_too() {
    const FRAMES: usize = 10;
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |setting, name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        PemFile { setting, path }
    };
    let files = ServerFiles {
        cert: file("tls.cert", "cert.pem", made.cert.pem()),
        key: file("tls.key", "key.pem", made.signing_key.serialize_pem()),
        client_ca: None,
    };
    let tls = ServerTls::load(files)
        .unwrap()
        .listener(AlpnProtocols::Frames);
    let served = echo_with(1, Some(tls)).await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(gimlet_listen::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Small buffers of the system: most of the answers wait in the server.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let socket = socket.connect(served.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, socket).await.unwrap();
    let body = |number: usize| vec![u8::try_from(number).unwrap(); 40_000];
    for number in 0..FRAMES {
        stream.write_all(&frame(&body(number))).await.unwrap();
    }
    stream.flush().await.unwrap();
    let reading = async {
        let mut got = vec![0; 40_002];
        for number in 0..FRAMES {
            stream.read_exact(&mut got).await.unwrap();
            assert_eq!(got, frame(&body(number)), "frame {number}");
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(20), reading);
    assert!(all.await.is_ok(), "the last bytes were never flushed");
}

#[test]
fn an_idle_connections_task_is_small() {
    fn size<'a, F>(_: impl Fn(&'a SessionServer, OpenedLink<TcpLink>, SocketAddr) -> F) -> usize {
        size_of::<F>()
    }
    let size = size(<SessionServer as ServeLink<TcpLink>>::serve);
    println!(
        "the task of a TCP session takes {size} bytes, its link {}",
        size_of::<TcpLink>()
    );
    assert!(size <= 500, "{size}");
}
