//! Whole-system tests of gimlet: real processes, real sockets, and a judge of every answered send.

// Starting a whole server is one deeply nested future, whose auto traits the compiler derives here.
#![recursion_limit = "256"]

pub mod certificates;
pub mod cluster;
pub mod fault;
pub mod http_api;
pub mod http_stories;
pub mod judging;
pub mod jwt;
pub mod scenario;
pub mod slow_reader;
pub mod source_code;
pub mod stalled_streams;
pub mod terminal;
pub mod waiting;
pub mod writers;
