//! Whole-system tests of gimlet: real processes, real sockets, and a judge of every answered send.

// A whole server's start is one deeply nested future, whose auto traits the compiler works out here.
#![recursion_limit = "256"]

pub mod cluster;
pub mod fault;
pub mod ledger;
pub mod process;
pub mod raw;
pub mod scenario;
pub mod screen;
pub mod slow;
pub mod talk;
pub mod writers;
