//! Frames out of a stream and into one.
//!
//! `cargo bench -p gimlet-transport-tcp --bench frame`. What is measured is compiled into this
//! program from its own file: it is nobody's outside the link.

#[path = "../src/frame.rs"]
#[expect(dead_code, reason = "the part that is measured is used")]
mod frame;

use std::hint::black_box;

use bytes::BytesMut;
use gimlet_bench::Bench;

/// Frames of one read.
const FRAMES: u64 = 16;

fn stream() -> BytesMut {
    let mut buffer = BytesMut::new();
    for _ in 0..FRAMES {
        frame::put(&mut buffer, &[7; 120]).expect("a frame that fits");
    }
    buffer
}

fn frames(bench: &mut Bench) {
    let mut group = bench.group("frame", FRAMES);
    group.fed("taken", stream, |mut buffer| {
        while let Ok(Some(frame)) = frame::take(&mut buffer, frame::WIDEST) {
            black_box(frame);
        }
    });
    group.case("put", stream);
}

fn main() {
    gimlet_bench::run(&[frames]);
}
