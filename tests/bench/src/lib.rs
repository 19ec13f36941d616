//! Runs one set of benchmark cases in two ways: criterion times them, and `tests/counts.py` counts
//! their instructions under valgrind. Knows nothing about the measured code.
//!
//! A benchmark's `main` only calls [`run`]. `cargo bench` times the cases; with `--count`, each
//! case runs a fixed number of times and prints its name on a line of its own. `tests/counts.py`
//! makes valgrind count the instructions inside `measured` and end a sum at each call of `mark`.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};

/// Number of counted runs of each case. Over 100 runs, the noise of a single run (a hash seed, a
/// growing table) is a small share of the sum.
const ROUNDS: u64 = 100;

/// Runner of a program's benchmark cases.
#[expect(missing_debug_implementations, reason = "criterion has none")]
pub struct BenchRunner {
    /// Criterion when the cases are timed; `None` when they are counted.
    timed: Option<Criterion>,
}

/// Group of cases about one subject, measured per element.
#[expect(missing_debug_implementations, reason = "criterion has none")]
pub struct CaseGroup<'a> {
    timed: Option<BenchmarkGroup<'a, WallTime>>,
    name: &'a str,
    elements: u64,
}

/// Times or counts the cases, as the program's arguments say.
pub fn run(cases: &[fn(&mut BenchRunner)]) {
    let counted = std::env::args().any(|argument| argument == "--count");
    let mut bench = BenchRunner {
        timed: (!counted).then(|| Criterion::default().configure_from_args()),
    };
    for case in cases {
        case(&mut bench);
    }
    if let Some(criterion) = bench.timed {
        criterion.final_summary();
    }
}

impl BenchRunner {
    /// Opens a group whose routines each process `elements` elements.
    pub fn group<'a>(&'a mut self, name: &'a str, elements: u64) -> CaseGroup<'a> {
        let timed = self.timed.as_mut().map(|criterion| {
            let mut group = criterion.benchmark_group(name);
            group.throughput(Throughput::Elements(elements));
            group
        });
        CaseGroup {
            timed,
            name,
            elements,
        }
    }
}

impl CaseGroup<'_> {
    /// Adds a routine that needs no new input to run again.
    pub fn case<O>(&mut self, name: &str, mut routine: impl FnMut() -> O) {
        match &mut self.timed {
            Some(group) => {
                group.bench_function(name, |b| b.iter(&mut routine));
            }
            None => self.count(name, || (), |()| routine()),
        }
    }

    /// Adds a routine that consumes its input; the input is made outside the measurement.
    pub fn fed<I, O>(
        &mut self,
        name: &str,
        mut input: impl FnMut() -> I,
        mut routine: impl FnMut(I) -> O,
    ) {
        match &mut self.timed {
            Some(group) => {
                group.bench_function(name, |b| {
                    b.iter_batched(&mut input, &mut routine, BatchSize::SmallInput);
                });
            }
            None => self.count(name, input, routine),
        }
    }

    fn count<I, O>(
        &self,
        name: &str,
        mut input: impl FnMut() -> I,
        mut routine: impl FnMut(I) -> O,
    ) {
        // The first run pays for everything that is initialised once, so it comes before the sum
        // begins.
        measured(&mut routine, input());
        mark();
        for _ in 0..ROUNDS {
            measured(&mut routine, input());
        }
        mark();
        println!("{}/{name}\t{}", self.name, ROUNDS * self.elements);
    }
}

/// Runs the routine and drops its result. Valgrind counts the instructions in here.
#[inline(never)]
fn measured<I, O>(routine: &mut impl FnMut(I) -> O, input: I) {
    drop(black_box(routine(black_box(input))));
}

/// Ends one sum of instructions and begins the next.
#[inline(never)]
fn mark() {
    black_box(());
}
