//! Tests of the four promises, under a paused clock.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join_all, poll_immediate};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};

use super::*;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const LOAD_TIMEOUT: Duration = Duration::from_secs(8);

/// Key for which the loader panics before its first await.
const PANICS_AT_ONCE: u64 = 1_001;
/// Key for which the loader panics after its gate.
const PANICS: u64 = 1_002;
/// Key for which the loader leaves one value out.
const LEAVES_ONE_OUT: u64 = 1_003;
/// Key for which the loader fails.
const FAILS: u64 = 1_004;

/// Multiplies keys by ten. Each load waits for a permit of the gate.
#[derive(Debug)]
struct GatedLoader {
    gate: Semaphore,
    /// Keys of each load, in the order in which the loads began.
    loads: Mutex<Vec<Vec<u64>>>,
    running: AtomicUsize,
    finished: AtomicUsize,
    /// Numbers given to [`BatchLoader::note_no_answer`].
    no_answers: Mutex<Vec<usize>>,
}

impl GatedLoader {
    fn loads(&self) -> Vec<Vec<u64>> {
        self.loads.lock().unwrap().clone()
    }
}

/// Counts a load as running while it lives.
struct RunningLoad<'a>(&'a AtomicUsize);

impl Drop for RunningLoad<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl BatchLoader for Arc<GatedLoader> {
    type Key = u64;
    type Value = u64;
    type Error = &'static str;

    fn load(&self, keys: &[u64]) -> impl Future<Output = Result<Vec<u64>, &'static str>> + Send {
        self.loads.lock().unwrap().push(keys.to_vec());
        assert!(
            !keys.contains(&PANICS_AT_ONCE),
            "panics before its first await"
        );
        async move {
            self.running.fetch_add(1, Ordering::SeqCst);
            let _running = RunningLoad(&self.running);
            self.gate.acquire().await.unwrap().forget();
            assert!(!keys.contains(&PANICS), "panics after an await");
            if keys.contains(&FAILS) {
                return Err("out of order");
            }
            let mut values: Vec<u64> = keys.iter().map(|key| key * 10).collect();
            if keys.contains(&LEAVES_ONE_OUT) {
                values.pop();
            }
            self.finished.fetch_add(1, Ordering::SeqCst);
            Ok(values)
        }
    }

    fn note_no_answer(&self, calls: usize) {
        self.no_answers.lock().unwrap().push(calls);
    }
}

/// A coalescer over a [`GatedLoader`].
struct CoalescerFixture {
    loader: Arc<GatedLoader>,
    coalescer: Arc<RequestCoalescer<Arc<GatedLoader>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl CoalescerFixture {
    fn new(queue_len: usize, batch_len: usize, concurrency: usize) -> Self {
        let loader = Arc::new(GatedLoader {
            gate: Semaphore::new(0),
            loads: Mutex::default(),
            running: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            no_answers: Mutex::default(),
        });
        let limits = CoalescerLimits {
            queue_len,
            batch_len,
            concurrency,
            call_timeout: CALL_TIMEOUT,
            load_timeout: LOAD_TIMEOUT,
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let coalescer =
            RequestCoalescer::new(Arc::clone(&loader), limits, tasks.clone(), stop.clone());
        Self {
            loader,
            coalescer: Arc::new(coalescer),
            tasks,
            stop,
        }
    }

    /// Starts a call in a task of its own, and lets every task run until it waits.
    async fn call(&self, key: u64) -> JoinHandle<CallResult<Arc<GatedLoader>>> {
        let coalescer = Arc::clone(&self.coalescer);
        let call = self.tasks.spawn(async move { coalescer.call(key).await });
        settle().await;
        call
    }

    /// Lets this number of loads complete.
    async fn release(&self, loads: usize) {
        self.loader.gate.add_permits(loads);
        settle().await;
    }
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_during_a_load_form_the_next_batch() {
    let it = CoalescerFixture::new(10, 10, 1);
    let mut calls = vec![it.call(1).await];
    assert_eq!(it.loader.loads(), [[1]], "a lone call is not delayed");
    for key in 2..=4 {
        calls.push(it.call(key).await);
    }
    assert_eq!(it.loader.loads(), [[1]]);
    it.release(2).await;
    assert_eq!(it.loader.loads(), [vec![1], vec![2, 3, 4]]);
    for (key, call) in (1..).zip(calls) {
        assert_eq!(call.await.unwrap(), Ok(key * 10));
    }
    // The worker has ended; the next call starts another.
    let after = it.call(5).await;
    it.release(1).await;
    assert_eq!(after.await.unwrap(), Ok(50));
}

#[tokio::test(start_paused = true)]
async fn queue_batches_and_loads_are_bounded() {
    let it = CoalescerFixture::new(3, 2, 2);
    let mut calls = Vec::new();
    for key in 1..=5 {
        calls.push(it.call(key).await);
    }
    assert_eq!(
        it.loader.loads(),
        [[1], [2]],
        "two loads run, three calls wait"
    );
    let refused = it.call(6).await.await.unwrap();
    assert_eq!(refused, Err(CoalescerError::QueueFull));
    it.release(2).await;
    assert_eq!(it.loader.loads(), [vec![1], vec![2], vec![3, 4], vec![5]]);
    assert_eq!(it.loader.running.load(Ordering::SeqCst), 2);
    it.release(2).await;
    for (key, call) in (1..).zip(calls) {
        assert_eq!(call.await.unwrap(), Ok(key * 10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_divided_among_the_workers_that_it_needs() {
    let it = CoalescerFixture::new(100, 4, 4);
    let burst = join_all((0..10).map(|key| it.coalescer.call(key)));
    let release = async {
        settle().await;
        // Three loads at once, without a fourth worker and without waiting for one another.
        assert_eq!(
            it.loader.loads(),
            [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]
        );
        it.release(3).await;
    };
    let (answers, ()) = tokio::join!(burst, release);
    for (key, answer) in (0..).zip(answers) {
        assert_eq!(answer, Ok(key * 10));
    }
    assert!(it.tasks.is_empty(), "no worker is left when no call waits");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_at_its_deadline_although_the_loader_hangs() {
    let it = CoalescerFixture::new(10, 10, 1);
    let start = Instant::now();
    let calls = [it.call(1).await, it.call(2).await];
    for call in calls {
        assert_eq!(call.await.unwrap(), Err(CoalescerError::TimedOut));
    }
    assert_eq!(start.elapsed(), CALL_TIMEOUT);
    // The load hangs on, until its own limit; then the worker goes on with the calls that still
    // wait. The call whose deadline has passed is not loaded.
    assert_eq!(it.loader.running.load(Ordering::SeqCst), 1);
    let later = it.call(3).await;
    tokio::time::sleep_until(start + LOAD_TIMEOUT).await;
    settle().await;
    assert_eq!(it.loader.loads(), [[1], [3]]);
    assert_eq!(it.loader.running.load(Ordering::SeqCst), 1);
    it.release(1).await;
    assert_eq!(later.await.unwrap(), Ok(30));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_loader_answers_its_batch_and_the_next_one_is_loaded() {
    for panics in [PANICS_AT_ONCE, PANICS, LEAVES_ONE_OUT] {
        let it = CoalescerFixture::new(10, 10, 1);
        let first = it.call(1).await;
        let calls = [it.call(panics).await, it.call(2).await];
        it.release(2).await;
        assert_eq!(first.await.unwrap(), Ok(10));
        for call in calls {
            assert_eq!(call.await.unwrap(), Err(CoalescerError::NoAnswer));
        }
        assert_eq!(*it.loader.no_answers.lock().unwrap(), [2]);
        let after = it.call(3).await;
        it.release(1).await;
        assert_eq!(after.await.unwrap(), Ok(30));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_loader_answers_its_batch() {
    let it = CoalescerFixture::new(10, 10, 1);
    let first = it.call(1).await;
    let calls = [it.call(FAILS).await, it.call(2).await];
    it.release(2).await;
    assert_eq!(first.await.unwrap(), Ok(10));
    for call in calls {
        let failed = CoalescerError::Failed("out of order");
        assert_eq!(call.await.unwrap(), Err(failed));
    }
    assert!(it.loader.no_answers.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_is_left_out_of_its_batch() {
    let it = CoalescerFixture::new(10, 10, 1);
    let first = it.call(1).await;
    let given_up = it.call(2).await;
    let waits = it.call(3).await;
    given_up.abort();
    it.release(2).await;
    assert_eq!(first.await.unwrap(), Ok(10));
    assert_eq!(waits.await.unwrap(), Ok(30));
    assert_eq!(it.loader.loads(), [[1], [3]]);
    // A batch without calls is not loaded.
    let loading = it.call(4).await;
    it.call(5).await.abort();
    it.release(1).await;
    assert_eq!(loading.await.unwrap(), Ok(40));
    assert_eq!(it.loader.loads(), [[1], [3], [4]]);
    assert!(it.tasks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_load_continues_after_its_last_caller_has_given_up() {
    let it = CoalescerFixture::new(10, 10, 1);
    it.call(1).await.abort();
    settle().await;
    assert_eq!(it.loader.running.load(Ordering::SeqCst), 1);
    let next = it.call(2).await;
    it.release(2).await;
    assert_eq!(it.loader.finished.load(Ordering::SeqCst), 2);
    assert_eq!(it.loader.loads(), [[1], [2]]);
    assert_eq!(next.await.unwrap(), Ok(20));
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_new_calls_are_refused_and_waiting_ones_answered() {
    let it = CoalescerFixture::new(10, 10, 1);
    let loading = it.call(1).await;
    let waits = it.call(2).await;
    it.stop.cancel();
    let refused = it.call(3).await.await.unwrap();
    assert_eq!(refused, Err(CoalescerError::Stopped));
    it.release(2).await;
    assert_eq!(loading.await.unwrap(), Ok(10));
    assert_eq!(waits.await.unwrap(), Ok(20));
}

#[test]
fn a_worker_that_its_runtime_dropped_is_replaced() {
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    let it = CoalescerFixture::new(10, 10, 1);
    let (before, during) = (runtime(), runtime());
    // Dropped before the worker ran, and during its load.
    before.block_on(async { assert_eq!(poll_immediate(it.coalescer.call(1)).await, None) });
    drop(before);
    during.block_on(async { drop(it.call(2).await) });
    drop(during);
    assert_eq!(it.loader.running.load(Ordering::SeqCst), 0);
    it.loader.gate.add_permits(1);
    assert_eq!(runtime().block_on(it.coalescer.call(3)), Ok(30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_many_calls_gets_the_value_of_its_own_key() {
    let it = CoalescerFixture::new(usize::MAX, 7, 3);
    it.loader.gate.add_permits(10_000);
    let callers = (0..8).map(|caller| {
        let coalescer = Arc::clone(&it.coalescer);
        it.tasks.spawn(async move {
            for key in (0..1_000).step_by(20) {
                let keys = (0..10).map(|n| caller + key + n);
                let answers = join_all(keys.clone().map(|key| coalescer.call(key))).await;
                for (key, answer) in keys.zip(answers) {
                    assert_eq!(answer, Ok(key * 10));
                }
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    it.tasks.close();
    it.tasks.wait().await;
}
