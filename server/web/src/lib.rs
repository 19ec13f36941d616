//! HTTP in gimlet's server: what every HTTP listener does with a connection, the HTTP/JSON API on it,
//! the file service, health and metrics for operators, and the call to a code verifier.
//!
//! The rules for files are in `gimlet-files`. This crate reads requests, calls services, and writes
//! answers; it knows neither the configuration nor the roles.

pub mod api;
pub mod chat_page;
mod connection;
pub mod console_page;
mod cors;
pub mod descriptors;
pub mod disk_space;
mod event_stream;
pub mod files;
mod hand_off;
pub mod health;
mod histogram_text;
mod linger;
mod listener;
pub mod metrics;
mod min_rate;
pub mod operator_api;
pub mod ops;
mod page_files;
mod peer_addr;
pub mod process;
mod request_metrics;
mod stream_seat;
mod upload;
pub mod verifier;
mod web_socket;

pub use listener::{HttpServer, direct_only, serve};
pub use web_socket::{ServeSocket, UpgradedSocket, WebSocketCheck, WebSocketUpgrade};
