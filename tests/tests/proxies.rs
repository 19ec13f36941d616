//! The chat through nginx and `HAProxy` with TLS, configured with the files of `docs/proxies`.
#![expect(clippy::unwrap_used, reason = "a failed step should panic")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gimlet_kit::child::ChildProcess;
use gimlet_kit::server::{ServerPorts, ServerProcess, binary};

/// Longest wait for a proxy to listen.
const START: Duration = Duration::from_secs(20);

/// A private proxy, killed when dropped.
struct ProxyProcess(Child);

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        // nginx's master forwards SIGTERM to its worker; SIGKILL would leave the worker behind.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

/// Returns the path of an installed program; panics with the package to install.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut found = folders.map(|folder| folder.join(name));
    found
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed: apt-get install {name}"))
}

/// Creates a self-signed certificate for localhost, in the files for proxies and clients.
fn certificate(folder: &Path) {
    let status = Command::new(program("openssl"))
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            // Clients reject a CA certificate as a server's own.
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", "key.pem", "-out", "ca.pem"])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let both = ["ca.pem", "key.pem"].map(|file| fs::read_to_string(folder.join(file)).unwrap());
    fs::write(folder.join("both.pem"), both.concat()).unwrap();
}

/// Returns a configuration of the documentation, with the addresses and files of this test.
fn configuration(name: &str, changes: &[(&str, String)]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut text = fs::read_to_string(root.join("docs/proxies").join(name)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    text
}

/// Returns gimlet's ports as replacements for those of the configurations.
fn upstreams(ports: ServerPorts) -> [(&'static str, String); 4] {
    [
        ("127.0.0.1:8081", ports.ws.to_string()),
        ("127.0.0.1:50100", ports.grpc.to_string()),
        ("127.0.0.1:8085", ports.http.to_string()),
        ("chat.example.com", "localhost".to_owned()),
    ]
}

async fn listening(addr: SocketAddr) {
    let work = async {
        while tokio::net::TcpStream::connect(addr).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(START, work)
        .await
        .unwrap_or_else(|_| panic!("no program listens on {addr} after {START:?}"));
}

fn port_of(ports: ServerPorts) -> SocketAddr {
    ports.tcp
}

async fn nginx(folder: &Path, gimlet: ServerPorts, https: SocketAddr) -> ProxyProcess {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut changes = upstreams(gimlet).to_vec();
    // These replacements come first: the replacement of the host name would change their paths.
    changes.splice(
        0..0,
        [
            ("/etc/ssl/chat.example.com.pem", file("ca.pem")),
            ("/etc/ssl/chat.example.com.key", file("key.pem")),
            ("/run/nginx.pid", file("nginx.pid")),
            ("listen 443 ssl", format!("listen {https} ssl")),
            (
                "http {\n",
                format!(
                    "http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0}; \
             fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};\n",
                    file("temporary")
                ),
            ),
            (
                "worker_processes auto",
                "worker_processes 1; daemon off".to_owned(),
            ),
            (
                "worker_connections 20000",
                "worker_connections 200".to_owned(),
            ),
        ],
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, configuration("nginx.conf", &changes)).unwrap();
    let child = Command::new(program("nginx"))
        .arg("-c")
        .arg(&path)
        .arg("-e")
        .arg(folder.join("nginx.log"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let proxy = ProxyProcess(child);
    listening(https).await;
    proxy
}

async fn haproxy(
    folder: &Path,
    gimlet: ServerPorts,
    https: SocketAddr,
    tls: SocketAddr,
) -> ProxyProcess {
    let both = folder.join("both.pem").display().to_string();
    let mut changes = upstreams(gimlet).to_vec();
    changes.splice(
        0..0,
        [
            ("/etc/haproxy/chat.example.com.pem", both),
            ("bind :443", format!("bind {https}")),
            ("bind :8443", format!("bind {tls}")),
            (
                "check port 8086",
                format!("check port {}", gimlet.ops.port()),
            ),
            ("127.0.0.1:8080", gimlet.tcp.to_string()),
        ],
    );
    changes.retain(|(from, _)| *from != "chat.example.com");
    let text = configuration("haproxy.cfg", &changes);
    started_haproxy(folder, &text, [https, tls]).await
}

async fn started_haproxy(folder: &Path, text: &str, ports: [SocketAddr; 2]) -> ProxyProcess {
    let path = folder.join("haproxy.cfg");
    fs::write(&path, text).unwrap();
    let child = Command::new(program("haproxy"))
        .args(["-db", "-f"])
        .arg(&path)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let proxy = ProxyProcess(child);
    for port in ports {
        listening(port).await;
    }
    proxy
}

/// `HAProxy` that passes TLS through and names the client by the PROXY protocol.
async fn passing_haproxy(
    folder: &Path,
    gimlet: ServerPorts,
    ws: SocketAddr,
    tcp: SocketAddr,
) -> ProxyProcess {
    let changes = [
        ("bind :443", format!("bind {ws}")),
        ("bind :8443", format!("bind {tcp}")),
        (
            "check port 8086",
            format!("check port {}", gimlet.ops.port()),
        ),
        ("127.0.0.1:8081", gimlet.ws.to_string()),
        ("127.0.0.1:8080", gimlet.tcp.to_string()),
    ];
    let text = configuration("haproxy-pass-through.cfg", &changes);
    started_haproxy(folder, &text, [ws, tcp]).await
}

/// Starts a server with the settings that a deployment behind a proxy has, not as a development
/// run.
async fn gimlet(folder: &Path, ports: ServerPorts) -> ServerProcess {
    gimlet_with(folder, ports, &[]).await
}

async fn gimlet_with(folder: &Path, ports: ServerPorts, more: &[(&str, &str)]) -> ServerProcess {
    let binary = binary().unwrap_or_else(|error| panic!("{error}"));
    let mut env = vec![
        ("GIMLET_STORAGE__KIND", "memory"),
        ("GIMLET_BUSINESS__CODE_VERIFIER", "fixed:2468"),
        ("GIMLET_HTTP__ANONYMOUS_UPLOAD", "true"),
    ];
    env.extend(more);
    let mut process = ServerProcess::spawn(&binary, &folder.join("data"), ports, &env).unwrap();
    process.ready_to_serve().await.unwrap();
    process
}

/// Starts a chat with these addresses.
fn chat(
    folder: &Path,
    phone: &str,
    name: &str,
    server: &str,
    https: SocketAddr,
    ca: bool,
) -> ChildProcess {
    let mut command = Command::new(binary().unwrap());
    command
        .args([
            "chat",
            "--phone",
            phone,
            "--name",
            name,
            "--code",
            "2468",
            "--receipts",
        ])
        .args([
            "--server",
            server,
            "--grpc",
            &format!("https://localhost:{}", https.port()),
        ])
        .arg("--state")
        .arg(folder.join("home"));
    if ca {
        command.arg("--ca").arg(folder.join("ca.pem"));
    }
    ChildProcess::with_input(name, &mut command).unwrap()
}

async fn talk(mut alice: ChildProcess, mut bob: ChildProcess) {
    alice.wait_for_line("up to date").await;
    bob.wait_for_line("up to date").await;
    alice.says("/add bob");
    bob.wait_for_line("alice asks to be your friend").await;
    bob.says("/accept alice");
    alice.wait_for_line("bob is your friend now").await;
    let long = "0123456789".repeat(3_000);
    alice.says(&long);
    bob.wait_for_line(&long).await;
    bob.says("hello");
    alice.wait_for_line("bob: hello").await;
    for mut who in [alice, bob] {
        who.says("/quit");
        assert!(who.ends().await, "/quit ends the chat with success");
    }
}

/// Uploads a picture of 15 MiB through the proxy; returns the answer.
fn upload(folder: &Path, https: SocketAddr) -> String {
    upload_beginning(folder, https, b"\x89PNG\r\n\x1a\n")
}

/// Uploads a program of 15 MiB, which gimlet refuses by its first bytes. The refusal must reach the
/// client through the proxy: a reset of the upstream connection would make it a 502.
fn upload_is_refused(folder: &Path, https: SocketAddr) {
    let answer = upload_beginning(folder, https, b"MZ\0\0");
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    assert!(answer.contains("\"code\":1001"), "{answer}");
}

/// Uploads 15 MiB that begin like this, with the TLS client of OpenSSL; returns the answer.
fn upload_beginning(folder: &Path, https: SocketAddr, first: &[u8]) -> String {
    let picture = [first, &vec![7; 15 << 20]].concat();
    let head = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n";
    let body = [head.as_bytes(), &picture, b"\r\n--B--\r\n"].concat();
    let mut tls = Command::new(program("openssl"))
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-verify_quiet",
            "-CAfile",
            "ca.pem",
        ])
        .args(["-connect", &format!("localhost:{}", https.port())])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = format!(
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut input = tls.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        let _ = input
            .write_all(request.as_bytes())
            .and_then(|()| input.write_all(&body));
        // Closing the input would end s_client before the answer.
        input
    });
    let mut answer = String::new();
    tls.stdout
        .take()
        .unwrap()
        .read_to_string(&mut answer)
        .unwrap();
    drop(writing.join().unwrap());
    let _ = tls.wait();
    answer
}

fn stands(folder: &Path) {
    fs::create_dir_all(folder.join("temporary")).unwrap();
    certificate(folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_through_nginx_with_tls() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    stands(folder);
    let (ports, https) = (ServerPorts::free(), port_of(ServerPorts::free()));
    let _gimlet = gimlet(folder, ports).await;
    let _nginx = nginx(folder, ports, https).await;
    let wss = format!("wss://localhost:{}/ws", https.port());
    let alice = chat(folder, "13800000001", "alice", &wss, https, true);
    let bob = chat(folder, "13800000002", "bob", &wss, https, true);
    talk(alice, bob).await;
    let answer = upload(folder, https);
    assert!(answer.contains("\"code\":0"), "{answer}");
    upload_is_refused(folder, https);
    // A client that does not trust the certificate gets instructions.
    let mut eve = chat(folder, "13800000003", "eve", &wss, https, false);
    eve.wait_for_line("give the CA's certificate with --ca FILE")
        .await;
    assert!(!eve.ends().await);
}

/// An upload without a sign-in is refused before its body is read. If the upstream connection is
/// reset while nginx still writes the body, about half of the refusals become a 502.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_refusal_of_an_upload_reaches_the_client_through_nginx() {
    const UPLOADS: usize = 10;
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    stands(folder);
    let (ports, https) = (ServerPorts::free(), port_of(ServerPorts::free()));
    let signed_in_only = [("GIMLET_HTTP__ANONYMOUS_UPLOAD", "false")];
    let _gimlet = gimlet_with(folder, ports, &signed_in_only).await;
    let _nginx = nginx(folder, ports, https).await;
    for _ in 0..UPLOADS {
        let answer = upload(folder, https);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_through_haproxy_with_tls() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    stands(folder);
    let (ports, https, tls) = (
        ServerPorts::free(),
        port_of(ServerPorts::free()),
        port_of(ServerPorts::free()),
    );
    let _gimlet = gimlet(folder, ports).await;
    let _haproxy = haproxy(folder, ports, https, tls).await;
    let wss = format!("wss://localhost:{}/ws", https.port());
    let tcp = format!("tls://localhost:{}", tls.port());
    let alice = chat(folder, "13800000001", "alice", &wss, https, true);
    let bob = chat(folder, "13800000002", "bob", &tcp, https, true);
    talk(alice, bob).await;
    let answer = upload(folder, https);
    assert!(answer.contains("\"code\":0"), "{answer}");
    upload_is_refused(folder, https);
}

/// gimlet has the certificate itself; the proxy names the client by the PROXY protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_by_tls_of_gimlet_itself_through_haproxy() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    stands(folder);
    let (ports, ws, tcp) = (
        ServerPorts::free(),
        port_of(ServerPorts::free()),
        port_of(ServerPorts::free()),
    );
    let file = |name: &str| folder.join(name).display().to_string();
    let (cert, key) = (file("ca.pem"), file("key.pem"));
    let env = [
        ("GIMLET_TLS__CERT", cert.as_str()),
        ("GIMLET_TLS__KEY", key.as_str()),
        ("GIMLET_LISTEN__TRUSTED_PROXIES", "127.0.0.0/8"),
        ("GIMLET_LISTEN__PROXY_PROTOCOL", "tcp,ws"),
    ];
    let _gimlet = gimlet_with(folder, ports, &env).await;
    let _haproxy = passing_haproxy(folder, ports, ws, tcp).await;
    let wss = format!("wss://localhost:{}/ws", ws.port());
    let tls = format!("tls://localhost:{}", tcp.port());
    let alice = chat(folder, "13800000001", "alice", &wss, ports.grpc, true);
    let bob = chat(folder, "13800000002", "bob", &tls, ports.grpc, true);
    talk(alice, bob).await;
    // By OpenSSL's own client, to the files' port of gimlet itself.
    let answer = upload(folder, ports.http);
    assert!(answer.contains("\"code\":0"), "{answer}");
    upload_is_refused(folder, ports.http);
    // The proxy's network must begin with the PROXY header there.
    let mut direct = std::net::TcpStream::connect(ports.tcp).unwrap();
    direct.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    direct.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    direct.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("does not begin with a PROXY header"),
        "{answer}"
    );
}
