//! The command-line arguments.

use std::path::PathBuf;

use gimlet_client::{ServerEndpoint, TrustedRoots};

use crate::result::ChatResult;

/// Chat in the terminal. Type /help once it runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Your phone number: it is your account. A new one is created at the first sign-in.
    #[arg(long)]
    pub(crate) phone: String,
    /// Your name, as others see it; stays as it is if not given.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The verification code; a server in a development run accepts 000000.
    #[arg(long, default_value = "000000")]
    pub(crate) code: String,
    /// Use WebSocket instead of TCP.
    #[arg(long)]
    pub(crate) ws: bool,
    /// The server's address, for TCP or WebSocket.
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "The server's address: host:port, tls://host:port, ws://host:port/ws or \
                wss://host/ws [default: 127.0.0.1:8080, with --ws 127.0.0.1:8081]"
    )]
    pub(crate) server: Option<String>,
    /// The server's gRPC address.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "http://127.0.0.1:50100",
        help = "The server's gRPC address: http://host:port or https://host"
    )]
    pub(crate) grpc: String,
    /// The gRPC address of a cluster's business node, where that is apart from --grpc.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) business: Option<String>,
    /// A file with the certificate of an authority to trust besides the public ones (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Folder that keeps your device, your token and your place in the inbox [default:
    /// ~/.gimlet-chat].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Print a line for each message that the server has stored.
    #[arg(long)]
    pub(crate) receipts: bool,
}

impl Args {
    /// Returns the server's address.
    pub(crate) fn endpoint(&self) -> Result<ServerEndpoint, gimlet_client::ClientError> {
        let port = if self.ws { 8081 } else { 8080 };
        let local = format!("127.0.0.1:{port}");
        let address: ServerEndpoint = self.server.as_deref().unwrap_or(&local).parse()?;
        Ok(match address {
            ServerEndpoint::Tcp(address) if self.ws => {
                ServerEndpoint::Ws(format!("ws://{address}/ws"))
            }
            other => other,
        })
    }

    /// Returns the certificate authorities to trust.
    pub(crate) fn trust(&self) -> ChatResult<TrustedRoots> {
        let Some(path) = &self.ca else {
            return Ok(TrustedRoots::public());
        };
        let pem = std::fs::read(path)
            .map_err(|error| format!("--ca: cannot read {}: {error}", path.display()))?;
        let trust = TrustedRoots::with_pem(&pem);
        Ok(trust.map_err(|error| format!("--ca {}: {error}", path.display()))?)
    }

    /// Returns the folder of the state.
    pub(crate) fn folder(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| {
            let home = std::env::home_dir().unwrap_or_else(std::env::temp_dir);
            home.join(".gimlet-chat")
        })
    }
}
