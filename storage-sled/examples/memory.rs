//! Measures the memory that the storage takes while rows are stored:
//!
//! ```sh
//! cargo run --release -p gimlet-storage-sled --example memory -- --rows 10000000
//! ```
//!
//! Options: `--rows N` (10,000,000), `--cache BYTES` (268435456), `--load group|direct|bodies|trim`
//! (all), `--verbose`.

#[path = "../tests/loading/mod.rs"]
mod loading;

use std::process::ExitCode;

use loading::{LoadKind, LoadTask};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if let Some(code) = loading::loader() {
        return code;
    }
    let (mut rows, mut cache, mut loads, mut verbose) =
        (10_000_000, 256 << 20, LoadKind::ALL.to_vec(), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match name.as_str() {
            "--rows" => rows = value().parse().expect("a number of rows"),
            "--cache" => cache = value().parse().expect("a number of bytes"),
            "--load" => loads = vec![LoadKind::named(&value()).expect("a load")],
            "--verbose" => verbose = true,
            _ => panic!("{name} is not an option: see the top of this file"),
        }
    }
    for load in loads {
        let found = loading::measure(&LoadTask {
            load,
            rows,
            cache,
            verbose,
        });
        println!(
            "{}: {rows} rows, cache {} MiB: start {} MiB, peak {} MiB, end {} MiB, {} rows/s",
            load.name(),
            cache >> 20,
            found.start >> 20,
            found.peak >> 20,
            found.end >> 20,
            found.rate
        );
    }
    ExitCode::SUCCESS
}
