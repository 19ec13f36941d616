//! Events of webhooks over kills: of gimlet, of the receiving programs, and of MariaDB. Every event arrives at
//! least once, in order for each receiver, and signed so that programs in Python and Node, which share no code
//! with gimlet, accept it.
//!
//! 2,000 messages, or 100,000 with `GIMLET_TEST_LONG=1` (`tests/run --long`). Kills are triggered by numbers of
//! answers, not by the clock.

#![expect(
    clippy::indexing_slicing,
    reason = "a kill that is not survived should panic"
)]

mod api_connection;
mod event_judge;
mod event_run;
mod receiver_program;
mod server_stage;

use std::process::ExitCode;
use std::time::Duration;

use gimlet_kit::backend::BackendAddresses;
use gimlet_tests::fault::is_long;
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Builder;
use tokio::time::timeout;

use event_run::{RunResult, run};
use receiver_program::{ReceiverLanguage, ReceiverProgram};
use server_stage::ServerStage;

/// Messages and rounds of kills, in the short and in the long run. Each round kills each process once.
const SHORT: (usize, usize) = (2_000, 2);
/// The same in the long run.
const LONG: (usize, usize) = (100_000, 20);

/// Largest number of events in a request: small, so that a kill hits many requests.
const BATCH: usize = 20;

/// Number of requests from one failure of a program to the next, in a short and in a long run. A program
/// fails after it has received the events. Each failure costs a pause, so a long run has fewer of them
/// for each event.
const FAIL_EVERY: [(&str, &str); 2] = [("FAIL_EVERY", "60"), ("FAIL_EVERY", "600")];

/// Longest duration of a test.
const MAX_DURATION: Duration = Duration::from_hours(2);

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // Each run has its own servers, and measures nothing that another one disturbs.
    args.test_threads.get_or_insert(2);
    let servers = BackendAddresses::of_environment();
    let missing = servers.is_none();
    let trials = vec![
        Trial::test("the_judge_finds_each_planted_fault", || {
            event_judge::find_planted_faults();
            Ok(())
        }),
        Trial::test("planted_faults_of_programs_are_found", || {
            block_on(find_faults_of_programs());
            Ok(())
        }),
        Trial::test("events_survive_kills_on_sled", || {
            block_on(survive_on_sled());
            Ok(())
        }),
        Trial::test("events_survive_kills_on_mysql", move || {
            let servers = servers.ok_or("there are no servers")?;
            block_on(survive_on_mysql(servers));
            Ok(())
        })
        .with_ignored_flag(missing),
    ];
    let done = libtest_mimic::run(&args, trials);
    if missing && BackendAddresses::are_required() {
        println!(
            "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS are not set: run it by tests/backends/with"
        );
        return ExitCode::FAILURE;
    }
    done.exit_code()
}

fn block_on(work: impl Future<Output = ()>) {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let done = timeout(MAX_DURATION, work).await;
        done.unwrap_or_else(|_| panic!("not over within {MAX_DURATION:?}"));
    });
}

/// Starts a program of each language.
fn start_programs(more: &[(&'static str, &str)]) -> Vec<ReceiverProgram> {
    let languages = ReceiverLanguage::ALL.into_iter();
    languages
        .map(|language| ReceiverProgram::start(language, more))
        .collect()
}

/// Prints a row of the table in docs/reliability.md.
fn print_row(storage: &str, result: &RunResult) {
    let [gimlet, programs, database] = result.kills;
    for (name, events, findings) in &result.programs {
        println!(
            "| {storage} | {name} | {gimlet} / {programs} / {database} | {} | {} | {} | {} | {:.1} s |",
            result.stored,
            events.saturating_sub(result.stored),
            findings.lost,
            findings.disordered,
            result.rest.as_secs_f64(),
        );
    }
    println!("{storage}: {:.0} s", result.took.as_secs_f64());
}

fn assert_clean(storage: &str, result: &RunResult) {
    print_row(storage, result);
    for (name, _, findings) in &result.programs {
        assert!(findings.is_clean(), "{storage}, {name}: {findings}");
    }
}

async fn survive_on_sled() {
    let (messages, rounds) = if is_long() { LONG } else { SHORT };
    let mut programs = start_programs(&[FAIL_EVERY[usize::from(is_long())]]);
    let mut stage = ServerStage::sled(&programs, BATCH).await;
    let result = run(&mut stage, &mut programs, messages, rounds).await;
    assert_clean("sled", &result);
}

async fn survive_on_mysql(shared: BackendAddresses) {
    let (messages, rounds) = if is_long() { LONG } else { SHORT };
    let mut programs = start_programs(&[FAIL_EVERY[usize::from(is_long())]]);
    let mut stage = ServerStage::mysql(&shared, &programs, BATCH).await;
    let result = run(&mut stage, &mut programs, messages, rounds).await;
    assert_clean("MariaDB", &result);
}

/// Plants faults in the programs themselves: one leaves an event out, one disorders two, and one has another
/// secret than gimlet.
async fn find_faults_of_programs() {
    const MESSAGES: usize = 200;
    let wrong = "whsec_c2VjcmV0IHRoYXQgZ2ltbGV0IGRvZXMgbm90IGhhdmU=";
    let mut programs = vec![
        ReceiverProgram::start(ReceiverLanguage::Python, &[("PLANTED", "loss")]),
        ReceiverProgram::start(ReceiverLanguage::Node, &[("PLANTED", "disorder")]),
    ];
    let mut stage = ServerStage::sled(&programs, BATCH).await;
    let result = run(&mut stage, &mut programs, MESSAGES, 0).await;
    let [(_, _, python), (_, _, node)] = result.programs.as_slice() else {
        panic!("there are two programs");
    };
    assert_eq!((python.lost, python.forged), (1, 0), "{python}");
    assert_eq!((node.lost, node.disordered), (0, 1), "{node}");
    for language in ReceiverLanguage::ALL {
        let program = ReceiverProgram::start(language, &[("WEBHOOK_SECRET", wrong)]);
        let programs = [program];
        let stage = ServerStage::sled(&programs, BATCH).await;
        let mut api = api_connection::ApiConnection::new(&stage.nodes(), 0);
        let (alice, bob) = (api.create_user().await, api.create_user().await);
        event_run::send(&mut api, &alice, ("to_user", &bob), "hi").await;
        let forged = programs[0].wait_until(event_run::PATIENCE, |_, forged| forged > 0);
        assert!(forged.await, "a request came");
        assert_eq!(programs[0].log().events, []);
    }
}
