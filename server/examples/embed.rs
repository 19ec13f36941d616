//! A whole server inside a program: in-memory storage, free ports, and two people who talk through
//! it with the client library. Your own test would do the same with its own client.
//!
//! `cargo run -p gimlet-server --no-default-features --example embed`

use gimlet_client::{Api, Client, Content, Credentials, Endpoint, Event, Options, Receiver};
use gimlet_server::{Config, Server};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let server = Server::start(Config::embedded()).await?;
    let tcp = server.addrs().tcp.ok_or("no TCP listener")?;
    let grpc = server.addrs().grpc.first().ok_or("no gRPC listener")?;
    println!("clients connect to {tcp} and call gRPC on {grpc}");

    let api = Api::new(&format!("http://{grpc}"))?;
    let (alice, bob) = (
        sign_up(&api, "13800000001").await?,
        sign_up(&api, "13800000002").await?,
    );
    let bob_id = bob.user_id;
    let endpoint = Endpoint::Tcp(tcp.to_string());
    let (bob, mut events) = Client::connect(Options::new(endpoint.clone(), bob)).await?;
    let (alice, _alice_events) = Client::connect(Options::new(endpoint, alice)).await?;
    let sent = alice
        .send(Receiver::User(bob_id), Content::text("hi"))
        .await?;
    println!("Alice sent number {} of her inbox", sent.seq);
    while let Some(event) = events.next().await {
        if let Event::Message(message) = event
            && let Content::Text(text) = message.content
        {
            println!("Bob reads number {} of his: {text}", message.seq);
            break;
        }
    }
    bob.close().await;
    alice.close().await;
    server.stop().await?;
    Ok(())
}

/// Registers a device and signs its user in, as a phone does at its first start.
async fn sign_up(api: &Api, phone: &str) -> Outcome<Credentials> {
    let device_id = api.register_device("example").await?;
    let user = api.sign_in(phone, "000000", device_id).await?;
    Ok(Credentials {
        user_id: user.user_id,
        device_id,
        token: user.token,
    })
}
