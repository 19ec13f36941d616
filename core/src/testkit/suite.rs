//! Runs the cases against one backend, with the output of `cargo test`.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};

use super::case::{CaseRequirement, ContractCase};
use super::contract::CONTRACT;
use super::fixture::StoreFixture;

/// Time after which a case counts as hung.
const DEADLINE: Duration = Duration::from_mins(2);

/// A backend, or the reason it is missing.
#[derive(Debug)]
pub enum TestBackend<F> {
    /// Creates a fresh store.
    Ready(F),
    /// The missing requirement, and how to provide it.
    Missing(&'static str),
}

/// The contract suite as one backend runs it.
#[derive(Clone, Copy, Debug)]
pub struct ContractSuite {
    name: &'static str,
    reopens: bool,
    holds: bool,
}

impl ContractSuite {
    /// Starts with the cases that every backend runs; `name` prefixes the name of each case.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            reopens: false,
            holds: false,
        }
    }

    /// Also runs the cases about closing and opening; fixtures must set `reopen`.
    #[must_use]
    pub const fn reopens(mut self) -> Self {
        self.reopens = true;
        self
    }

    /// Also runs the cases about the durable flush; fixtures must set `hold`.
    #[must_use]
    pub const fn holds(mut self) -> Self {
        self.holds = true;
        self
    }

    fn has(self, need: CaseRequirement) -> bool {
        match need {
            CaseRequirement::Nothing => true,
            CaseRequirement::Reopen => self.reopens,
            CaseRequirement::Hold => self.holds,
        }
    }

    /// Runs the suite with the program's arguments, and returns the exit code.
    pub fn run<F, Fut>(self, backend: TestBackend<F>) -> ExitCode
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = StoreFixture> + Send,
    {
        let arguments = Arguments::from_args();
        let cases = CONTRACT.iter().filter(|case| self.has(case.need));
        let name = |case: &ContractCase| format!("{}::{}", self.name, case.name);
        match backend {
            TestBackend::Ready(make) => {
                let make = Arc::new(make);
                let trials = cases.map(|case| {
                    let make = Arc::clone(&make);
                    Trial::test(name(case), move || {
                        drive(case, &*make);
                        Ok(())
                    })
                });
                libtest_mimic::run(&arguments, trials.collect()).exit_code()
            }
            TestBackend::Missing(reason) => {
                // A run of the ignored cases must show them as failed, never as passed.
                let trials = cases.map(|case| {
                    Trial::test(name(case), move || Err(reason.into())).with_ignored_flag(true)
                });
                let shown = libtest_mimic::run(&arguments, trials.collect()).exit_code();
                eprintln!("{}: ignored, {reason}", self.name);
                if required() && !arguments.list {
                    eprintln!("{}: GIMLET_TEST_REQUIRE_BACKENDS=1 wants it", self.name);
                    return ExitCode::FAILURE;
                }
                shown
            }
        }
    }
}

/// Runs the suite for a backend that neither reopens nor lets its flush be held.
pub fn run<F, Fut>(name: &'static str, backend: TestBackend<F>) -> ExitCode
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = StoreFixture> + Send,
{
    ContractSuite::new(name).run(backend)
}

/// Returns true if a missing backend is a failure.
fn required() -> bool {
    std::env::var_os("GIMLET_TEST_REQUIRE_BACKENDS").is_some_and(|it| it == "1")
}

/// Runs one case with a store and a runtime of its own.
fn drive<Fut: Future<Output = StoreFixture>>(case: &ContractCase, make: impl Fn() -> Fut) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let body = (case.body)(make().await);
        assert!(
            tokio::time::timeout(DEADLINE, body).await.is_ok(),
            "the case did not end within {DEADLINE:?}"
        );
    });
}
