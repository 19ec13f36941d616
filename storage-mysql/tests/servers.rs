//! What the contract cannot see: how many statements a batch takes, and what happens when the
//! servers conflict, hang, or die.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed case should panic"
)]

#[path = "servers/faults.rs"]
mod faults;
#[path = "servers/live.rs"]
mod live;
#[path = "servers/make.rs"]
mod make;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "servers/speed.rs"]
mod speed;
mod support;

use std::pin::Pin;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use support::Servers;

type Body = fn(Servers) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! cases {
    ($($module:ident { $($case:ident),+ $(,)? })+) => {
        const CASES: &[(&str, Body)] = &[$($((
            concat!(stringify!($module), "::", stringify!($case)),
            |servers| Box::pin($module::$case(servers)),
        )),+),+];
    };
}

cases! {
    speed {
        a_batch_costs_few_statements,
        tokens_asked_for_together_share_statements,
        eight_writers_and_a_reader_see_no_hole,
    }
    faults {
        a_deadlock_is_tried_again,
        a_lost_answer_to_a_commit_is_unknown,
        a_lost_commit_is_unknown,
        a_broken_transaction_is_made_again,
        a_frozen_server_is_unavailable_in_time,
        a_server_that_is_away_is_unavailable_and_comes_back,
        an_old_schema_is_refused,
        migrations_run_once,
        an_expired_key_is_nobodys,
    }
    live {
        a_room_feed_that_breaks_says_so,
        a_redis_that_is_away_fails_fast_and_comes_back,
        a_lease_ends_by_itself,
        a_room_keeps_within_its_bounds,
        another_stream_begins_when_the_numbers_are_lost,
        d2_a_busy_room_leaves_time_for_everything_else,
        all_rooms_of_a_node_are_bounded_together,
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let servers = support::servers();
    let trials = CASES.iter().map(|(name, body)| {
        let servers = servers.clone();
        let missing = servers.is_none();
        let trial = Trial::test(*name, move || {
            let Some(servers) = servers else {
                return Ok(());
            };
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(body(servers));
            Ok(())
        });
        trial.with_ignored_flag(missing)
    });
    let shown = libtest_mimic::run(&arguments, trials.collect()).exit_code();
    if servers.is_none() {
        eprintln!("ignored: {}", support::MISSING);
        if support::required() && !arguments.list {
            eprintln!("GIMLET_TEST_REQUIRE_BACKENDS=1 wants it");
            return ExitCode::FAILURE;
        }
    }
    shown
}
