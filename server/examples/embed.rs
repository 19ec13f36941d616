//! A whole server inside a program: in-memory storage, free ports, and two people who talk through
//! it with the client library. Your own test would do the same with its own client.
//!
//! `cargo run -p gimlet-server --no-default-features --example embed`

use gimlet_client::{
    ApiClient, Client, ClientEvent, ClientOptions, DeviceCredentials, MessageContent,
    MessageTarget, ServerEndpoint,
};
use gimlet_server::{Config, Server};

type ExampleResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExampleResult {
    let server = Server::start(Config::embedded()).await?;
    let tcp = server.addrs().tcp.ok_or("no TCP listener")?;
    let grpc = server.addrs().grpc.first().ok_or("no gRPC listener")?;
    println!("clients connect to {tcp} and call gRPC on {grpc}");

    let api = ApiClient::new(&format!("http://{grpc}"))?;
    let (alice, bob) = (
        sign_up(&api, "13800000001").await?,
        sign_up(&api, "13800000002").await?,
    );
    let bob_id = bob.user_id;
    let endpoint = ServerEndpoint::Tcp(tcp.to_string());
    let (bob, mut events) = Client::connect(ClientOptions::new(endpoint.clone(), bob)).await?;
    let (alice, _alice_events) = Client::connect(ClientOptions::new(endpoint, alice)).await?;
    let sent = alice
        .send(MessageTarget::User(bob_id), MessageContent::text("hi"))
        .await?;
    println!("Alice sent number {} of her inbox", sent.seq);
    while let Some(event) = events.next().await {
        if let ClientEvent::Message(message) = event
            && let MessageContent::Text(text) = message.content
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
async fn sign_up(api: &ApiClient, phone: &str) -> ExampleResult<DeviceCredentials> {
    let device_id = api.register_device("example").await?;
    let user = api.sign_in(phone, "000000", device_id).await?;
    Ok(DeviceCredentials {
        user_id: user.user_id,
        device_id,
        token: user.token,
    })
}
