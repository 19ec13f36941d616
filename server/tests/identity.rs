//! Sign-ins that the backend decides: by JWTs that it signs, and by a business server over HTTP. The
//! programs of docs/business.md and docs/jwt.md are run unchanged.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gimlet_client::{
    Client, ClientError, ClientEvent, ClientOptions, DeviceCredentials, EventStream,
    MessageContent, MessageSender, MessageTarget,
};
use gimlet_proto::pb;
use gimlet_proto::pb::logic_ext_client::LogicExtClient;
use gimlet_server::config::{BusinessKind, NodeRole, NodeRoles, SecretString};
use gimlet_server::{Config, Server};
use prost::Message as _;
use tonic::transport::Channel;

/// The secret of the samples, which Node's `crypto` has signed.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Secret that signs questions.
const SIGNING: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// A century: the samples expire in 2100.
const SAMPLE_LIFETIME: Duration = Duration::from_hours(24 * 365 * 100);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .into()
}

fn sample(name: &str) -> String {
    let path = root().join("server/identity/tests/samples").join(name);
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn jwt_config() -> Config {
    let mut config = Config::embedded();
    let keys = ["rsa", "ec", "ed"].map(|it| format!("server/identity/tests/samples/{it}.pem"));
    let keys = keys.map(|it| root().join(it).display().to_string());
    config.auth.jwt_audience = Some("gimlet".into());
    config.auth.jwt_secrets = vec![SecretString::new(SECRET)];
    config.auth.jwt_public_keys = keys.to_vec();
    config.auth.jwt_max_lifetime = SAMPLE_LIFETIME;
    // Many wrong tokens come from one address here.
    config.limits.node.failed_sign_ins = 1_000;
    config
}

/// A user with a token.
#[derive(Clone)]
struct TokenHolder {
    user: i64,
    device: i64,
    token: String,
}

impl TokenHolder {
    fn new(user: i64, device: i64, token: &str) -> Self {
        Self {
            user,
            device,
            token: token.to_owned(),
        }
    }

    fn options(&self, server: &Server, is_ws: bool) -> ClientOptions {
        let addrs = server.addrs();
        let endpoint = if is_ws {
            format!("ws://{}/ws", addrs.ws.unwrap())
        } else {
            format!("tcp://{}", addrs.tcp.unwrap())
        };
        let who = DeviceCredentials {
            user_id: self.user,
            device_id: self.device,
            token: self.token.clone(),
        };
        ClientOptions::new(endpoint.parse().unwrap(), who)
    }

    /// Signs in and reads until everything is delivered.
    async fn connect(&self, server: &Server, is_ws: bool) -> (Client, EventStream) {
        let connected = Client::connect(self.options(server, is_ws)).await;
        let (client, mut events) = connected.unwrap();
        while !matches!(events.next().await.unwrap(), ClientEvent::CaughtUp { .. }) {}
        (client, events)
    }

    /// Signs in and returns code and text of the refusal.
    async fn is_refused(&self, server: &Server, is_ws: bool) -> (i32, String) {
        match Client::connect(self.options(server, is_ws)).await {
            Err(ClientError::Refused { code, message }) => (code, message),
            Err(error) => panic!("{error}"),
            Ok((_client, mut events)) => loop {
                match events.next().await.unwrap() {
                    ClientEvent::SignedOut { code, message } => break (code, message),
                    ClientEvent::CaughtUp { .. } => panic!("it is signed in"),
                    _ => {}
                }
            },
        }
    }

    /// Sends over gRPC; returns the code of a refusal, or 0.
    async fn sends_by_grpc(&self, server: &Server, to: i64, text: &str) -> i32 {
        let channel = Channel::from_shared(format!("http://{}", server.addrs().grpc[0])).unwrap();
        let mut logic = LogicExtClient::new(channel.connect().await.unwrap());
        let mut request = tonic::Request::new(pb::SendMessageReq {
            receiver_type: pb::ReceiverType::RtUser.into(),
            receiver_id: to,
            message_type: 1,
            message_content: pb::Text { text: text.into() }.encode_to_vec().into(),
            send_time: 1,
            is_persist: true,
            client_message_id: text.into(),
            ..pb::SendMessageReq::default()
        });
        let metadata = request.metadata_mut();
        metadata.insert("user_id", self.user.into());
        metadata.insert("device_id", self.device.into());
        metadata.insert("token", self.token.parse().unwrap());
        match logic.send_message(request).await {
            Ok(_) => 0,
            Err(status) => {
                let code = status.metadata().get("gimlet-code").unwrap();
                code.to_str().unwrap().parse().unwrap()
            }
        }
    }
}

/// Returns sender's name and text of the next message of somebody else.
async fn receives(events: &mut EventStream) -> (String, String) {
    loop {
        let ClientEvent::Message(message) = events.next().await.unwrap() else {
            continue;
        };
        let MessageContent::Text(text) = message.content else {
            continue;
        };
        if let MessageSender::User { nickname, .. } = message.sender
            && !message.own
        {
            return (nickname, text.clone());
        }
    }
}

#[tokio::test]
async fn a_jwt_signs_in_on_every_wire_and_names_its_user() {
    let server = Server::start(jwt_config()).await.unwrap();
    let bob = TokenHolder::new(6, 9, &sample("hs256_user6.jwt"));
    for (at, name) in ["hs256.jwt", "rs256.jwt", "es256.jwt", "eddsa.jwt"]
        .iter()
        .enumerate()
    {
        let zoe = TokenHolder::new(5, 7, &sample(name));
        let (client, mut events) = zoe.connect(&server, at % 2 == 0).await;
        let text = format!("for {name}");
        assert_eq!(bob.sends_by_grpc(&server, 5, &text).await, 0);
        assert_eq!(receives(&mut events).await, ("Bob".to_owned(), text));
        client.close().await;
    }
    let (client, _events) = bob.connect(&server, false).await;
    let sent = client.send(MessageTarget::User(5), MessageContent::Text("hi".into()));
    sent.await.unwrap();
    let unknown = MessageTarget::User(77);
    let sent = client
        .send(unknown, MessageContent::Text("hi".into()))
        .await;
    assert!(
        matches!(sent, Err(ClientError::Refused { code: 10_016, .. })),
        "no token has named it: {sent:?}"
    );
    client.close().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_jwt_is_refused_with_its_reason_on_every_wire() {
    let server = Server::start(jwt_config()).await.unwrap();
    let good = sample("hs256.jwt");
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    for (holder, why) in [
        (TokenHolder::new(6, 7, &good), "another user"),
        (TokenHolder::new(5, 8, &good), "another device"),
        (TokenHolder::new(5, 7, &forged), "signature"),
        (TokenHolder::new(5, 7, &sample("confused.jwt")), "signature"),
        (
            TokenHolder::new(5, 7, "eyJhbGciOiJub25lIn0.e30."),
            "HS256, RS256",
        ),
    ] {
        for is_ws in [false, true] {
            let (code, text) = holder.is_refused(&server, is_ws).await;
            assert_eq!(code, 10_000, "{text}");
            assert!(text.contains(why), "{why}: {text}");
        }
        assert_eq!(holder.sends_by_grpc(&server, 5, why).await, 10_000);
    }
    server.stop().await.unwrap();
    let mut short = jwt_config();
    short.auth.jwt_max_lifetime = Duration::from_hours(1);
    let server = Server::start(short).await.unwrap();
    let zoe = TokenHolder::new(5, 7, &good);
    let (_, text) = zoe.is_refused(&server, false).await;
    assert!(text.contains("auth.jwt_max_lifetime"), "{text}");
    server.stop().await.unwrap();
}

/// Returns the blocks of a language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let fence = format!("```{language}\n");
    let found = text.split(fence.as_str()).skip(1);
    found
        .map(|it| it.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// Runs the signing function of docs/jwt.md in this language.
fn signed_by_the_page(language: &str, user: i64) -> String {
    let program = blocks("docs/jwt.md", language).remove(0);
    let (command, file, call): (&[&str], _, _) = match language {
        "python" => (
            &["python3"],
            "sign.py",
            format!("print(sign_jwt({user}, 'Ada', '{SECRET}'))"),
        ),
        "js" => (
            &["node"],
            "sign.mjs",
            format!("console.log(signJwt({user}, 'Ada', '{SECRET}'));"),
        ),
        "php" => (
            &["php"],
            "sign.php",
            format!("echo sign_jwt({user}, 'Ada', '{SECRET}');"),
        ),
        _ => (
            &["go", "run"],
            "sign.go",
            format!("func main() {{ fmt.Println(signJWT({user}, \"Ada\", \"{SECRET}\")) }}"),
        ),
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file), format!("{program}\n{call}\n")).unwrap();
    let mut run = Command::new(command[0]);
    run.args(&command[1..]).arg(file).current_dir(folder.path());
    let output = run.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_token_of_the_page_signs_in() {
    let mut config = jwt_config();
    config.auth.jwt_max_lifetime = Duration::from_hours(2);
    let server = Server::start(config).await.unwrap();
    let ada = TokenHolder::new(8, 1, &signed_by_the_page("python", 8));
    let (client, mut events) = ada.connect(&server, false).await;
    for (at, language) in (9..).zip(["python", "js", "php", "go"]) {
        let eve = TokenHolder::new(at, 1, &signed_by_the_page(language, at));
        assert_eq!(eve.sends_by_grpc(&server, 8, language).await, 0);
        let want = ("Ada".to_owned(), language.to_owned());
        assert_eq!(receives(&mut events).await, want);
    }
    client.close().await;
    server.stop().await.unwrap();
}

/// A business server of docs/business.md; ends with its value.
struct PageServer {
    child: Child,
    port: String,
}

impl PageServer {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(args)
            .env("SIGNING_SECRET", SIGNING)
            .env("PORT", "0");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let port = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(line.starts_with("listening on"), "{line:?}");
        Self { child, port }
    }

    fn config(&self, secret: &str) -> Config {
        let mut config = Config::embedded();
        config.roles = NodeRoles(vec![NodeRole::Connect, NodeRole::Logic]);
        config.business.kind = BusinessKind::Http;
        config.business.url = Some(format!("http://127.0.0.1:{}/", self.port));
        config.business.secrets = vec![SecretString::new(secret)];
        config.outbound.allow = vec!["127.0.0.0/8".parse().unwrap()];
        config
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_business_servers_of_the_page_sign_users_in() {
    let python = blocks("docs/business.md", "python");
    let python = python.iter().find(|it| it.contains("whsec_")).unwrap();
    let node = blocks("docs/business.md", "javascript").remove(0);
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("server.mjs");
    std::fs::write(&module, node).unwrap();
    let module = module.display().to_string();
    for (program, args) in [
        ("python3", vec!["-c", python.as_str()]),
        ("node", vec![module.as_str()]),
    ] {
        let business = PageServer::start(program, &args);
        let server = Server::start(business.config(SIGNING)).await.unwrap();
        let ada = TokenHolder::new(1001, 7, "ada-phone");
        let (client, mut events) = ada.connect(&server, false).await;
        let other = TokenHolder::new(1001, 8, "ada-phone");
        assert_eq!(other.sends_by_grpc(&server, 1001, "to myself").await, 0);
        let own = loop {
            if let ClientEvent::Message(message) = events.next().await.unwrap() {
                break message;
            }
        };
        assert!(
            matches!(&own.sender, MessageSender::User { nickname, .. } if nickname == "Ada"),
            "{program}: {own:?}"
        );
        let wrong = TokenHolder::new(1001, 7, "guess");
        assert_eq!(wrong.is_refused(&server, true).await.0, 10_000, "{program}");
        assert_eq!(
            ada.sends_by_grpc(&server, 1002, "nobody").await,
            10_016,
            "{program}"
        );
        client.close().await;
        server.stop().await.unwrap();
        // A server that does not know the secret says nothing about tokens.
        let stranger = "whsec_HR4fAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxw=";
        let server = Server::start(business.config(stranger)).await.unwrap();
        assert_eq!(
            ada.sends_by_grpc(&server, 1001, "again").await,
            14,
            "{program}"
        );
        server.stop().await.unwrap();
    }
}
