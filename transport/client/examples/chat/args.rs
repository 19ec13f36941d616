//! The command line.

use std::path::PathBuf;

use clap::Parser;
use gimlet_client::Endpoint;

/// Chat in the terminal. Type /help once it runs.
#[derive(Debug, Parser)]
#[command(name = "chat")]
pub(crate) struct Args {
    /// Your phone number: your account. A new one is created at the first sign-in.
    #[arg(long)]
    pub(crate) phone: String,
    /// Your name, as others see it; left as it is if not given.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The verification code; a server on this machine accepts 000000.
    #[arg(long, default_value = "000000")]
    pub(crate) code: String,
    /// Use WebSocket instead of TCP.
    #[arg(long)]
    pub(crate) ws: bool,
    /// The server's host:port [default: 127.0.0.1:8080, with --ws 127.0.0.1:8081].
    #[arg(long)]
    pub(crate) server: Option<String>,
    /// The server's gRPC address.
    #[arg(long, default_value = "http://127.0.0.1:50100")]
    pub(crate) grpc: String,
    /// The gRPC address of a cluster's business node, where that is apart from --grpc.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) business: Option<String>,
    /// Where your device, token and place in the inbox are kept [default: ~/.gimlet-chat].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Print a line for each message that the server has stored.
    #[arg(long)]
    pub(crate) receipts: bool,
}

impl Args {
    /// Where to connect.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, gimlet_client::Error> {
        let port = if self.ws { 8081 } else { 8080 };
        let local = format!("127.0.0.1:{port}");
        let address: Endpoint = self.server.as_deref().unwrap_or(&local).parse()?;
        Ok(match address {
            Endpoint::Tcp(address) if self.ws => Endpoint::Ws(format!("ws://{address}/ws")),
            other => other,
        })
    }

    /// The folder of the state.
    pub(crate) fn folder(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| {
            let home = std::env::home_dir().unwrap_or_else(std::env::temp_dir);
            home.join(".gimlet-chat")
        })
    }
}
