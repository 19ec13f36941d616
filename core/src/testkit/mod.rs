//! The contract suite that every backend runs (feature `testkit`).
//!
//! A case is a sentence about the store traits or a law of the design; each gets a fresh store. A
//! case left out of the list below is dead code, which the lints refuse, so that a forgotten case
//! does not compile. A backend that is not there is shown as ignored cases, and as a failure where
//! `GIMLET_TEST_REQUIRE_BACKENDS=1` says that it has to be there.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed case should panic"
)]

mod fixture;
mod inbox;
mod make;
mod seq;
mod suite;

pub use fixture::{Fixture, HoldFlush, Reopen};
pub use suite::{Backend, Suite, run};

use suite::{Case, Need};

macro_rules! contract {
    ($($need:ident $module:ident { $($case:ident),+ $(,)? })+) => {
        /// Every case, in the order it is listed.
        const CONTRACT: &[Case] = &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            need: Need::$need,
            body: |it| Box::pin($module::$case(it)),
        }),+),+];
    };
}

contract! {
    Nothing seq {
        an_unknown_users_head_is_zero,
        heads_come_in_the_order_asked,
        the_epoch_stays_the_same,
        reserved_numbers_only_increase,
        reserved_blocks_never_overlap,
        a_block_out_of_bounds_is_misuse,
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
    }
}
