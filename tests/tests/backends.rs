//! Private servers of `tests/backends/with` do not disturb each other.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use gimlet_kit::backend::BackendAddresses;
use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

fn main() -> ExitCode {
    let case = Trial::test(
        "a_mariadb_that_starts_keeps_the_temporary_tables_of_others",
        keeps_what_is_not_its_own,
    );
    let missing = BackendAddresses::of_environment().is_none();
    libtest_mimic::run(
        &Arguments::from_args(),
        vec![case.with_ignored_flag(missing)],
    )
    .exit_code()
}

/// A starting MariaDB removes all temporary tables in its temporary folder. In a shared folder this
/// broke the installation of another MariaDB that ran at the same moment.
fn keeps_what_is_not_its_own() -> Result<(), Failed> {
    let shared = TempDir::new()?;
    let table = shared.path().join("#sql-temptable-1-1-1");
    fs::write(&table, "")?;
    let started = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("backends/with"))
        .arg("true")
        .env("TMPDIR", shared.path())
        .env_remove("GIMLET_TEST_MYSQL")
        .env_remove("GIMLET_TEST_PORTS")
        .status()?;
    assert!(started.success(), "tests/backends/with runs");
    assert!(table.exists(), "the other server's table still exists");
    Ok(())
}
