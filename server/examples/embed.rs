//! A whole server inside a program: in-memory storage, free ports, real clients.
//!
//! `cargo run -p gimlet-server --no-default-features --example embed`

use gimlet_server::{Config, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::start(Config::embedded()).await?;
    println!(
        "clients connect to {:?} and call gRPC on {:?}",
        server.addrs().tcp,
        server.addrs().grpc
    );
    // … your tests, with any client of gim or gimlet …
    server.stop().await?;
    Ok(())
}
