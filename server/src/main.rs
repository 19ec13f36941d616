//! The gimlet binary.
fn main() {}
