//! The list of all cases, in their order. A case that is missing here is dead code.

use super::case::{CaseRequirement, ContractCase};

macro_rules! contract {
    ($($need:ident $module:ident { $($case:ident),+ $(,)? })+) => {
        /// All cases, in the order of the list.
        pub(super) const CONTRACT: &[ContractCase] = &[$($(ContractCase {
            name: concat!(stringify!($module), "::", stringify!($case)),
            need: CaseRequirement::$need,
            body: |it| Box::pin(super::$module::$case(it)),
        }),+),+];
    };
}

contract! {
    Nothing seq {
        an_unknown_users_head_is_zero,
        heads_come_in_the_order_asked,
        the_epoch_stays_the_same,
        a_new_epoch_replaces_the_old_one_once,
        reserved_numbers_only_increase,
        reserved_blocks_never_overlap,
        a_block_out_of_bounds_is_misuse,
        skipped_numbers_are_not_reserved,
    }
    Nothing inbox {
        the_first_entry_is_one,
        seqs_follow_the_recipients,
        a_batch_keeps_its_order,
        a_stored_send_is_read_at_once,
        an_empty_batch_is_nothing,
        a_send_to_nobody_is_misuse,
        a_large_send_needs_a_group,
        a_full_batch_is_one_step,
        a_batch_of_large_messages_is_one_step,
        entries_are_what_was_sent,
        any_content_comes_back,
        one_two_and_three_recipients_read_the_same,
        pages_come_in_order,
        a_page_ends_by_items,
        a_page_ends_by_bytes,
        a_page_has_at_least_one_item,
        above_the_head_is_nothing,
        trim_raises_the_floor,
        trim_never_passes_the_head,
        trim_never_goes_back,
        trim_leaves_other_inboxes_alone,
        a_long_inbox_is_trimmed_whole,
        an_inbox_begins_at_a_seq,
        an_inbox_with_entries_does_not_begin,
    }
    Nothing key {
        a_repeat_returns_the_first_result,
        a_repeat_inside_a_batch_returns_the_first_result,
        another_content_is_a_conflict,
        keys_are_compared_byte_by_byte,
        twenty_parallel_repeats_make_one_message,
        a_repeat_is_known_after_the_roster_changed,
        a_stale_send_leaves_its_key_unused,
        a_repeat_of_a_job_gets_its_first_answer,
        a_repeat_is_known_after_its_entry_was_trimmed,
        a_key_is_forgotten_after_its_window,
    }
    Nothing group {
        a_new_group_is_as_it_was_made,
        a_missing_group_is_none,
        a_taken_id_is_misuse,
        one_of_many_creations_wins,
        ten_thousand_members_are_one_roster,
        members_are_paged_by_id,
        the_groups_of_a_user_are_paged_by_id,
        every_change_raises_the_version,
        an_edit_leaves_unset_fields,
        a_change_comes_with_its_pushes,
        a_stale_change_changes_nothing,
        a_wrong_push_stops_its_change,
        changes_at_once_are_all_made,
        a_stale_send_is_refused_alone,
        a_push_to_a_large_group_is_a_job,
    }
    Nothing job {
        a_large_send_is_made_in_parts,
        a_send_of_one_chunk_is_not_a_job,
        small_sends_wait_behind_a_job,
        a_claim_is_for_the_oldest_job,
        an_old_lease_changes_nothing,
        many_workers_make_each_entry_once,
        sends_during_a_job_keep_the_order,
    }
    Nothing model {
        a_random_history_goes_as_in_memory,
        another_random_history_goes_as_in_memory,
    }
    Nothing races {
        two_hundred_sends_to_one_user_leave_no_hole,
        many_senders_and_readers_agree,
        appends_side_by_side_keep_the_laws,
        an_entry_is_in_all_inboxes_or_in_none,
        recipients_agree_on_the_order,
        a_removed_member_gets_nothing_after_the_removal,
        a_new_member_gets_everything_after_its_addition,
        a_change_and_its_push_are_seen_together,
        a_roster_is_of_one_version,
        trimming_opens_no_hole,
    }
    Nothing device {
        a_registered_device_is_as_it_said,
        each_sign_in_raises_the_generation,
        a_device_named_twice_is_raised_twice,
        a_device_is_known_by_each_row_that_it_has,
        an_unregistered_device_counts_too,
        no_generation_is_given_twice,
        acks_only_go_forward,
        each_device_acks_for_itself,
        acks_at_once_leave_the_largest,
    }
    Nothing account {
        a_phone_is_one_user,
        two_callers_with_one_phone_get_one_user,
        users_come_in_the_order_asked,
        an_update_leaves_unset_fields,
        search_is_by_phone_or_beginning_of_a_name,
        a_whole_name_is_found_whatever_its_length,
        a_whole_name_is_found_with_the_largest_ids,
        search_follows_a_change_of_name,
        search_is_paged_by_id,
        a_token_is_of_one_user_and_device,
        tokens_asked_for_together_are_each_their_own,
        another_user_on_the_device_takes_no_token,
        who_holds_the_device_is_alone_on_it,
        a_revoked_token_is_gone,
        a_banned_user_has_no_token,
        a_ban_is_of_one_user_and_is_replaced,
    }
    Nothing push_token {
        each_kind_of_address_is_as_it_was_registered,
        registrations_of_users_come_by_user_and_device,
        a_new_registration_replaces_the_devices_old_one,
        an_address_belongs_to_the_user_who_registered_it_last,
        two_users_on_one_device_have_addresses_of_their_own,
        beyond_the_limit_the_first_registrations_end,
        a_removal_can_be_bound_to_an_address,
        registrations_at_once_leave_one_owner,
        registrations_at_once_keep_the_limit,
    }
    Nothing api_key {
        a_created_key_is_found_as_it_was,
        one_of_many_creations_of_an_id_wins,
        keys_are_paged_by_id,
        the_number_of_keys_is_bounded_and_old_ones_make_room,
        the_earlier_revocation_counts,
        a_use_is_recorded_and_never_goes_back,
    }
    Nothing jwt_user {
        a_profile_begins_with_the_first_token,
        jwt_users_come_in_the_order_asked,
        a_revocation_is_of_one_user_and_makes_none,
        the_latest_time_of_a_revocation_counts,
        expired_revocations_are_removed,
        revoked_tokens_of_a_user_are_bounded,
        concurrent_revocations_are_all_kept,
    }
    Nothing friend {
        a_request_comes_with_its_pushes,
        a_request_is_made_once,
        an_agreement_makes_both_friends,
        mutual_requests_make_one_friendship,
        there_is_no_agreement_without_a_request,
        a_wrong_push_stops_its_request,
        twenty_requests_at_once_push_once,
        a_friend_is_kept_as_the_user_likes,
        a_mutual_request_keeps_what_was_kept,
        friends_are_paged_by_id,
    }
    Nothing outbox {
        an_event_is_stored_with_its_send,
        a_repeat_stores_no_second_event,
        a_refused_send_stores_no_event,
        a_large_send_has_one_event,
        a_batch_of_events_keeps_its_order,
        events_of_a_receiver_are_delivered_in_its_order,
        a_change_of_a_group_has_its_event,
        a_new_group_has_its_event,
        a_friend_request_has_its_event,
        any_event_comes_back,
        a_put_reaches_every_hook,
        without_hooks_there_are_no_events,
    }
    Nothing outbox_queue {
        known_events_are_left_out,
        a_page_of_events_ends_by_bytes,
        a_removed_event_is_gone,
        an_old_lease_of_a_hook_changes_nothing,
        a_lease_is_taken_if_its_mark_stays,
        one_of_many_claims_holds_the_lease,
        a_given_up_event_is_a_dead_letter,
        dead_letters_are_paged,
        a_replayed_letter_is_last_in_the_queue,
        the_oldest_are_removed_above_the_bounds,
        a_cleared_hook_is_empty,
    }
    Nothing route {
        a_claimed_route_is_found,
        the_larger_generation_wins,
        a_stale_release_removes_nothing,
        two_users_on_one_device_have_routes_of_their_own,
        a_route_needs_its_nodes_lease,
        a_new_store_says_that_routes_may_be_missing,
        the_nodes_are_those_that_hold_a_lease,
        a_lease_is_of_one_run_of_a_node,
        the_newest_of_a_storm_survives,
    }
    Nothing room {
        a_stream_counts_from_one,
        history_is_inclusive_and_paged,
        a_page_of_history_ends_by_bytes,
        a_page_of_history_goes_on_at_its_exact_limit,
        a_silent_room_has_no_history,
        live_only_takes_a_seq_but_is_not_kept,
        a_sink_receives_a_room_in_order,
        a_second_subscription_changes_nothing,
        an_ended_subscription_receives_no_item,
        history_and_live_leave_no_hole,
        coming_and_going_loses_no_listener,
    }
    Reopen restart {
        answered_sends_are_there,
        the_epoch_stays_the_same,
        keys_are_remembered,
        reserved_numbers_go_on,
        floors_stay,
        generations_go_on,
        jobs_go_on,
        groups_stay,
        friends_and_accounts_stay,
        events_stay,
        push_addresses_stay,
        jwt_users_stay,
    }
    Reopen api_key {
        keys_stay,
    }
    Hold flush {
        readers_stop_at_the_durable_head,
        a_change_is_not_seen_before_it_is_durable,
        an_event_is_not_seen_before_it_is_durable,
    }
}
