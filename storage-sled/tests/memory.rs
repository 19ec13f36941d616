//! The storage's memory stays below a stated bound, whatever is stored: some hundred thousand rows
//! here, ten million by the example of the same name.

mod loading;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use loading::{LoadKind, LoadTask};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The smallest cache that may be configured.
const CACHE: u64 = 1 << 20;
/// Bytes that the storage takes besides its cache, at most (docs/operations.md), plus the bytes
/// that the allocator keeps.
const BOUND: u64 = 128 << 20;
/// Further bytes that waiting bodies take: 16 MiB each in the load, in the queue, and as rows.
const BODIES: u64 = 128 << 20;

/// Rows that are stored: without `garbage` the group's take 550 MiB. The others never took as much,
/// and are slower here, where the code is not optimized.
fn rows(load: LoadKind) -> u64 {
    match load {
        LoadKind::Group => 400_000,
        LoadKind::Trim => 50_000,
        LoadKind::Direct | LoadKind::Bodies => 10_000,
    }
}

/// Stores the rows of a load, and fails if they took more than the bound.
fn stays_below_the_bound(load: LoadKind) -> Result<(), Failed> {
    let task = LoadTask {
        load,
        rows: rows(load),
        cache: CACHE,
        verbose: false,
    };
    let found = loading::measure(&task);
    let bound = match load {
        LoadKind::Bodies => BOUND + BODIES,
        LoadKind::Group | LoadKind::Direct | LoadKind::Trim => BOUND,
    };
    if found.peak <= bound {
        return Ok(());
    }
    let (rows, peak, bound) = (task.rows, found.peak >> 20, bound >> 20);
    Err(format!("{rows} rows took {peak} MiB, and the bound is {bound} MiB").into())
}

fn group_stays_below_the_bound() -> Result<(), Failed> {
    stays_below_the_bound(LoadKind::Group)
}

fn direct_stays_below_the_bound() -> Result<(), Failed> {
    stays_below_the_bound(LoadKind::Direct)
}

fn bodies_stay_below_the_bound() -> Result<(), Failed> {
    stays_below_the_bound(LoadKind::Bodies)
}

fn trims_stay_below_the_bound() -> Result<(), Failed> {
    stays_below_the_bound(LoadKind::Trim)
}

fn main() -> ExitCode {
    if let Some(code) = loading::loader() {
        return code;
    }
    let trials = vec![
        Trial::test("group_stays_below_the_bound", group_stays_below_the_bound),
        Trial::test("direct_stays_below_the_bound", direct_stays_below_the_bound),
        Trial::test("bodies_stay_below_the_bound", bodies_stay_below_the_bound),
        Trial::test("trims_stay_below_the_bound", trims_stay_below_the_bound),
    ];
    // One after the other: a load measures its own process, and the machine has few cores.
    let arguments = Arguments {
        test_threads: Some(1),
        ..Arguments::from_args()
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}
