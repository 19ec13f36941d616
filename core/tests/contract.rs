//! The contract suite over in-memory storage.

use std::process::ExitCode;

use gimlet_core::memory;
use gimlet_core::testkit::{Backend, Fixture, run};

fn main() -> ExitCode {
    let fresh = || async { Fixture::new(memory::stores(), ()) };
    run("memory", Backend::Ready(fresh))
}
