//! Event streams that are never read cost the server no more than their budget, and the others nothing.
//!
//! `gimlet-stalled` does the same with 10,000 streams and measures the times of the others.

use gimlet_core::limits::Limits;
use gimlet_tests::stalled_streams::{self, StalledRun};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_never_read_are_bounded() {
    let run = StalledRun {
        streams: 200,
        messages: 400,
        size: 8 * 1024,
    };
    // The run itself checks that the others get every message.
    let result = stalled_streams::run(run).await.expect("a run");
    let growth = result.growth(run.streams);
    let budget = u64::try_from(Limits::default().outbox_bytes).expect("a small number");
    assert!(growth <= budget, "{growth} bytes each, {result:?}");
}
