//! A whole gimlet inside another program: in-memory storage, every port free, gone at the end.

use gimlet_server::{Config, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let started = tokio::time::Instant::now();
    let server = Server::start(Config::embedded()).await?;
    println!("up in {:?}: {:#?}", started.elapsed(), server.addrs());
    server.stop().await?;
    Ok(())
}
