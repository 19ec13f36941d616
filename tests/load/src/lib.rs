//! `gimlet-load`: makes load, measures it, and checks that every message arrived as it should.
//!
//! - [`target`]: the server under test, started here or at an address, and its resource usage;
//! - [`account`]: users created for a run;
//! - [`net`]: thousands of connections on one thread;
//! - [`attack`]: one abusive machine; [`judge`]: delivered once, in order, to the right
//!   connections;
//! - [`room_subscribers`]: subscribers of rooms that receive and check;
//! - [`pace`]: send times; [`latency`]: measured times;
//! - [`scenario`]: the scenarios, one per file; [`limits`]: what the machine does at most;
//! - [`curve`]: a scenario at one point after another; [`targets`]: the targets;
//! - [`report`]: the figures as a table, JSON and a page.

pub mod account;
pub mod args;
pub mod attack;
pub mod client_process;
pub mod clock;
mod connection_users;
pub mod cpu;
pub mod curve;
pub mod delay;
mod echo_client;
mod hook_sink;
pub mod latency;
pub mod limits;
pub mod load_error;
pub mod measured_limit;
pub mod net;
pub mod pace;
pub mod report;
pub mod room_subscribers;
pub mod scenario;
mod simulated_users;
mod slots;
pub mod target;
pub mod targets;
pub mod test_account;

pub use gimlet_judge as judge;

pub use load_error::LoadError;
