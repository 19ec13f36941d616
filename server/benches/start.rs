//! Measures how long an embedded server takes to start and to stop: the cost per server in a test
//! suite.
//!
//! `cargo bench -p gimlet-server --no-default-features --bench start`. A program, not a
//! pass-or-fail test: it prints and never fails.

use std::time::Duration;

use gimlet_server::{Config, Server};
use tokio::time::Instant;

const ROUNDS: usize = 51;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let server = Server::start(Config::embedded()).await?;
        starts.push(begin.elapsed());
        let begin = Instant::now();
        server.stop().await?;
        stops.push(begin.elapsed());
    }
    println!("start: {}", spread(starts));
    println!("stop:  {}", spread(stops));
    Ok(())
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |n: usize| times.get(n).copied().unwrap_or_default();
    format!(
        "median {:?}, fastest {:?}, slowest {:?} of {ROUNDS}",
        at(ROUNDS / 2),
        at(0),
        at(ROUNDS - 1)
    )
}
