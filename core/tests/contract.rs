//! The contract suite over in-memory storage.

use std::process::ExitCode;

use gimlet_core::memory;
use gimlet_core::testkit::{StoreFixture, TestBackend, run};

fn main() -> ExitCode {
    let fresh = || async { StoreFixture::new(memory::stores(), ()) };
    run("memory", TestBackend::Ready(fresh))
}
