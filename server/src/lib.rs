//! The gimlet server: configuration, roles, gRPC, HTTP, lifecycle and the built-in business service

mod api;
pub mod config;
mod health;
mod http;
mod metrics;
mod ops;
