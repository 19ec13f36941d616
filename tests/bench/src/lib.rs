//! One description of a workload for two judges: criterion, which times it, and `tests/counts.py`,
//! which has valgrind count its instructions. Knows nothing of what is measured.
//!
//! A benchmark's `main` calls [`run`] and nothing else. `cargo bench` times; with `--count` every case
//! is run a fixed number of times and named on a line of its own. `tests/counts.py` tells valgrind to
//! look for `measured`, in which instructions count, and `mark`, where one sum ends.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};

/// How often a case is run when it is counted: what chance adds to one run (a hash seed, a table that
/// grows) is a small share of the sum.
const ROUNDS: u64 = 100;

/// The judge of a program's cases.
#[expect(missing_debug_implementations, reason = "criterion has none")]
pub struct Bench {
    /// Or else the cases are counted.
    timed: Option<Criterion>,
}

/// Cases about one thing, judged per element.
#[expect(missing_debug_implementations, reason = "criterion has none")]
pub struct Group<'a> {
    timed: Option<BenchmarkGroup<'a, WallTime>>,
    name: &'a str,
    elements: u64,
}

/// Has the cases timed or counted, as the program's arguments say.
pub fn run(cases: &[fn(&mut Bench)]) {
    let counted = std::env::args().any(|argument| argument == "--count");
    let mut bench = Bench {
        timed: (!counted).then(|| Criterion::default().configure_from_args()),
    };
    for case in cases {
        case(&mut bench);
    }
    if let Some(criterion) = bench.timed {
        criterion.final_summary();
    }
}

impl Bench {
    /// Opens a group whose routines each go through so many elements.
    pub fn group<'a>(&'a mut self, name: &'a str, elements: u64) -> Group<'a> {
        let timed = self.timed.as_mut().map(|criterion| {
            let mut group = criterion.benchmark_group(name);
            group.throughput(Throughput::Elements(elements));
            group
        });
        Group {
            timed,
            name,
            elements,
        }
    }
}

impl Group<'_> {
    /// A routine that needs nothing new to run again.
    pub fn case<O>(&mut self, name: &str, mut routine: impl FnMut() -> O) {
        match &mut self.timed {
            Some(group) => {
                group.bench_function(name, |b| b.iter(&mut routine));
            }
            None => self.count(name, || (), |()| routine()),
        }
    }

    /// A routine that uses up its input, which is made outside of what is measured.
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
        // What is done once is done before the sum begins.
        measured(&mut routine, input());
        mark();
        for _ in 0..ROUNDS {
            measured(&mut routine, input());
        }
        mark();
        println!("{}/{name}\t{}", self.name, ROUNDS * self.elements);
    }
}

/// What is counted: the routine, and dropping what it made.
#[inline(never)]
fn measured<I, O>(routine: &mut impl FnMut(I) -> O, input: I) {
    drop(black_box(routine(black_box(input))));
}

/// Where one sum ends and the next begins.
#[inline(never)]
fn mark() {
    black_box(());
}
