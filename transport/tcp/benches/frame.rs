//! Measures taking frames out of a stream and putting them into one.
//!
//! Run with `cargo bench -p gimlet-transport-tcp --bench frame`. The measured module is compiled
//! into this program from its source file, because the crate does not export it.

#[path = "../src/frame.rs"]
#[expect(dead_code, reason = "the part that is measured is used")]
mod frame;

use std::hint::black_box;

use bytes::BytesMut;
use gimlet_bench::BenchRunner;

/// Frames of one read.
const FRAMES_PER_READ: u64 = 16;

fn stream() -> BytesMut {
    let mut buffer = BytesMut::new();
    for _ in 0..FRAMES_PER_READ {
        frame::put(&mut buffer, &[7; 120]).expect("a frame that fits");
    }
    buffer
}

fn frames(bench: &mut BenchRunner) {
    let mut group = bench.group("frame", FRAMES_PER_READ);
    group.fed("taken", stream, |mut buffer| {
        while let Ok(Some(frame)) = frame::take(&mut buffer, frame::MAX_FRAME_LEN) {
            black_box(frame);
        }
    });
    group.case("put", stream);
}

fn main() {
    gimlet_bench::run(&[frames]);
}
