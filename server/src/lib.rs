//! The gimlet server: configuration, roles, gRPC, HTTP, life, and the built-in business service.
//!
//! It is the binary `gimlet`, and a whole server inside another program, for its tests above all.
//! With the default features off it has in-memory storage and nothing else:
//!
//! ```
//! use gimlet_server::{Config, Server};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::start(Config::embedded()).await?;
//! let tcp = server.addrs().tcp.ok_or("no TCP listener")?;
//! let grpc = server.addrs().grpc.first().ok_or("no gRPC listener")?;
//! println!("clients connect to {tcp} and call gRPC on {grpc}");
//! server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The stages are `Config` → [`build`] (binds, opens) → [`BuiltServer`] (addresses) →
//! [`BuiltServer::run`]. This is the only crate that names both a storage engine and a wire.

mod app;
mod call_counter;
mod certificates;
pub mod config;
#[cfg(all(unix, feature = "sled"))]
mod control;
mod dependencies;
#[cfg(feature = "cli")]
pub mod doctor;
mod entrances;
mod files;
mod hook_metrics;
mod identity;
mod lifecycle;
mod listener_limits;
mod listeners;
mod operator_access;
mod private_dir;
mod push_metrics;
mod roles;
mod secret;
mod server;
mod start_error;
mod storage;
pub mod tools;
#[cfg(all(unix, feature = "sled"))]
mod uploaded_files;
#[cfg(feature = "ws")]
mod web_socket;

pub use app::{BuiltServer, build};
pub use certificates::CertificateFiles;
pub use config::Config;
pub use gimlet_web::health::ServerPhase;
pub use lifecycle::RunError;
pub use listeners::ListenAddrs;
pub use server::Server;
pub use start_error::StartError;
#[cfg(feature = "mysql")]
pub use storage::migrate;
