//! `gimlet-load`: makes load, measures it, and judges whether every message arrived as it should.
//!
//! - [`target`]: the server under test, one it starts itself or an address, and what it uses;
//! - [`account`]: users made for a run;
//! - [`net`]: thousands of connections on one thread;
//! - [`attack`]: one abusive machine; [`judge`]: delivered once, in order, to the right connections;
//! - [`crowd`]: the members of rooms, who receive and judge;
//! - [`pace`]: when to send; [`latency`]: how long it took;
//! - [`scenario`]: what is done, one a file; [`limits`]: what the machine could do at most;
//! - [`curve`]: a scenario at one point after the other; [`goals`]: the shares to be reached;
//! - [`report`]: the figures as a table, JSON and a page.

pub mod account;
pub mod args;
pub mod attack;
pub mod clock;
pub mod crowd;
pub mod curve;
pub mod delay;
pub mod fault;
pub mod goals;
pub mod judge;
pub mod latency;
pub mod limits;
pub mod net;
pub mod pace;
pub mod part;
pub mod report;
pub mod scenario;
pub mod target;

pub use fault::Fault;
