//! Tests beyond the contract: the number of statements of a batch, and servers that conflict, hang,
//! or die.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed case should panic"
)]

mod batch_cost;
mod error_numbers;
mod faults;
mod helpers;
mod history;
mod locks;
mod pool;
mod redis_outages;
#[path = "../../../tests/samples/said.rs"]
mod said;
mod samples;
mod schema;
mod settings;
#[path = "../support/mod.rs"]
mod support;

use std::pin::Pin;
use std::process::ExitCode;

use gimlet_kit::backend::BackendAddresses;
use libtest_mimic::{Arguments, Trial};

type CaseFn = fn(BackendAddresses) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! cases {
    ($($module:ident { $($case:ident),+ $(,)? })+) => {
        const CASES: &[(&str, CaseFn)] = &[$($((
            concat!(stringify!($module), "::", stringify!($case)),
            |servers| Box::pin($module::$case(servers)),
        )),+),+];
    };
}

cases! {
    batch_cost {
        a_batch_costs_few_statements,
        concurrent_token_lookups_share_statements,
        eight_writers_and_a_reader_see_no_hole,
        a_page_reads_no_body_that_it_has_no_room_for,
    }
    faults {
        a_deadlock_is_tried_again,
        a_lost_answer_to_a_commit_is_unknown,
        a_lost_commit_is_unknown,
        a_broken_transaction_is_made_again,
        a_frozen_server_is_unavailable_in_time,
        a_server_that_freezes_during_a_start_ends_it,
        a_server_that_is_away_is_unavailable_and_comes_back,
        a_mysql_that_is_away_is_noticed_and_its_return_too,
        an_old_schema_is_refused,
        migrations_run_once,
        tokens_of_before_stay_good,
        an_expired_key_is_nobodys,
    }
    error_numbers {
        every_number_does_what_its_scope_says,
        a_server_that_refuses_connections_is_used_by_those_it_grants,
    }
    samples {
        a_database_of_format_1_shows_what_was_stored,
        a_room_shows_what_a_node_of_format_1_kept,
    }
    pool {
        connections_cut_while_idle_fail_no_call,
        silent_connections_fail_no_call,
        idle_connections_end_with_a_closing_message,
        fewer_connections_than_wanted_serve_every_call,
        a_server_that_granted_no_connection_is_used_in_full_later,
        a_server_gone_read_only_is_left_for_the_one_behind_the_address,
        a_connection_begun_before_a_hand_over_is_not_kept,
        fewer_prepared_statements_than_wanted_serve_every_call,
        an_ipv6_address_in_brackets_connects,
        a_private_ca_is_trusted_if_it_is_named,
    }
    settings {
        no_default_of_a_server_changes_anything,
        a_server_that_cannot_be_worked_with_is_refused_with_the_reason,
    }
    history {
        a_head_that_goes_back_renews_the_epoch_before_the_next_send,
        a_reader_that_meets_a_shorter_inbox_renews_the_epoch,
        a_new_connection_knows_the_commits_of_all_nodes,
        an_epoch_whose_renewal_was_lost_is_renewed_again,
        a_store_without_its_epoch_is_reported_at_once,
    }
    schema {
        a_migration_interrupted_after_any_statement_is_repeated,
        a_database_of_another_program_is_left_alone,
        a_database_of_another_build_is_refused_by_the_migration,
        a_check_finds_each_planted_damage,
    }
    locks {
        a_locked_row_is_reported_and_nothing_is_stored,
        locked_users_delay_no_other_users,
        a_frozen_node_holds_up_nobody_else,
        slow_commits_are_made_up_for_by_batches_in_flight,
    }
    redis_outages {
        a_room_feed_that_breaks_says_so,
        a_subscription_that_is_given_up_leaves_nothing,
        a_redis_that_is_away_fails_fast_and_comes_back,
        a_lease_ends_by_itself,
        a_room_keeps_within_its_bounds,
        another_stream_begins_when_the_numbers_are_lost,
        a_repeated_claim_renews_the_life_of_a_route,
        d2_a_busy_room_leaves_time_for_everything_else,
        all_rooms_of_a_node_are_bounded_together,
        a_private_ca_of_redis_is_trusted_if_it_is_named,
        an_emptied_redis_is_reported_to_a_new_node,
        a10_a_second_cluster_is_refused_and_the_right_one_is_not_locked_out,
        p14_a_redis_that_refuses_is_named_with_its_cause,
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let servers = BackendAddresses::of_environment();
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
        if BackendAddresses::are_required() && !arguments.list {
            eprintln!("GIMLET_TEST_REQUIRE_BACKENDS=1 requires them");
            return ExitCode::FAILURE;
        }
    }
    shown
}
