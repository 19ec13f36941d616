//! Tests the cursor's rules one by one, without a runtime.

use super::*;

fn message(seq: i64) -> Message {
    Message {
        seq,
        ..Message::default()
    }
}

fn page(seqs: std::ops::RangeInclusive<i64>, has_more: bool) -> SyncOutput {
    SyncOutput {
        head: *seqs.end(),
        messages: seqs.map(message).collect(),
        has_more,
        epoch: 7,
        floor: 0,
    }
}

fn empty(head: i64) -> SyncOutput {
    SyncOutput {
        epoch: 7,
        head,
        ..SyncOutput::default()
    }
}

fn seqs(steps: &[CursorStep]) -> Vec<i64> {
    steps.iter().map(CursorStep::seq).collect()
}

fn steps(page: SyncResult) -> Vec<CursorStep> {
    match page {
        SyncResult::Steps(steps) => steps,
        SyncResult::HistoryChanged => panic!("the history did not change"),
    }
}

/// Returns a state that is signed in to epoch 7 and live at `seq`.
fn live_at(seq: i64) -> InboxState {
    let mut state = InboxState::new(ClientCursor { epoch: 7, seq });
    assert!(!state.signed_in(7, seq));
    assert_eq!(state.ask(), seq);
    assert!(steps(state.page(empty(seq))).is_empty());
    assert!(state.is_live() && !state.wants_sync());
    state
}

#[test]
fn pages_are_asked_until_the_end_and_then_it_is_live() {
    let mut state = InboxState::new(ClientCursor::default());
    assert!(!state.signed_in(7, 60), "the first epoch is no change");
    assert!(state.wants_sync());
    assert_eq!(state.ask(), 0);
    assert!(!state.wants_sync(), "one SYNC at a time");
    let first = steps(state.page(page(1..=50, true)));
    assert_eq!(first.len(), 50);
    assert!(!state.is_live());
    assert_eq!(state.ask(), 50);
    let second = steps(state.page(page(51..=60, false)));
    assert_eq!(seqs(&second), (51..=60).collect::<Vec<_>>());
    assert!(state.is_live() && !state.wants_sync());
    assert_eq!(state.cursor(), ClientCursor { epoch: 7, seq: 60 });
}

#[test]
fn the_next_push_is_delivered_and_a_repeat_is_not() {
    let mut state = live_at(4);
    assert_eq!(seqs(&state.pushed(message(5))), [5]);
    assert!(state.pushed(message(5)).is_empty());
    assert!(state.pushed(message(1)).is_empty());
    assert!(!state.wants_sync());
}

#[test]
fn a_gap_parks_and_its_filling_delivers_in_order() {
    let mut state = live_at(4);
    assert!(state.pushed(message(7)).is_empty());
    assert!(state.pushed(message(6)).is_empty());
    assert!(state.wants_sync());
    assert_eq!(seqs(&state.pushed(message(5))), [5, 6, 7]);
    assert!(!state.wants_sync());
}

#[test]
fn a_gap_is_filled_by_sync_without_repeats() {
    let mut state = live_at(4);
    assert!(state.pushed(message(7)).is_empty());
    assert_eq!(state.ask(), 4);
    assert_eq!(seqs(&steps(state.page(page(5..=6, false)))), [5, 6, 7]);
    assert!(!state.wants_sync());
    assert_eq!(state.cursor().seq, 7);
}

#[test]
fn own_sends_move_the_cursor_and_do_not_come_back() {
    let mut state = live_at(4);
    assert_eq!(state.sent(5), [CursorStep::Own(5)]);
    assert!(state.sent(8).is_empty(), "6 and 7 are on their way");
    assert!(state.pushed(message(9)).is_empty());
    state.disconnected();
    assert!(!state.signed_in(7, 9));
    assert_eq!(state.ask(), 5);
    let got = steps(state.page(page(6..=9, false)));
    assert_eq!(seqs(&got), [6, 7, 8, 9]);
    assert_eq!(got[2], CursorStep::Own(8));
    assert!(state.sent(9).is_empty(), "an answer that is late");
    assert!(state.sent(0).is_empty(), "not stored");
}

#[test]
fn an_own_send_wins_over_its_body() {
    let mut state = live_at(4);
    assert!(state.sent(6).is_empty());
    assert!(state.pushed(message(6)).is_empty());
    assert_eq!(seqs(&state.pushed(message(5))), [5, 6]);
    let mut state = live_at(4);
    assert!(state.pushed(message(6)).is_empty());
    assert!(state.sent(6).is_empty());
    assert_eq!(state.pushed(message(5))[1], CursorStep::Own(6));
}

#[test]
fn parking_is_bounded_and_what_did_not_fit_is_fetched() {
    let mut state = live_at(0);
    for seq in 2..=1_000 {
        assert!(state.pushed(message(seq)).is_empty());
    }
    assert_eq!(state.parked.len(), MAX_PARKED);
    let first = state.pushed(message(1));
    assert_eq!(seqs(&first), (1..=33).collect::<Vec<_>>());
    assert!(state.wants_sync());
    assert_eq!(state.ask(), 33);
}

#[test]
fn a_heartbeat_that_knows_more_leads_to_a_sync() {
    let mut state = live_at(4);
    assert!(!state.heartbeat(7, 4));
    assert!(!state.wants_sync());
    assert!(!state.heartbeat(7, 3), "a shared reading may be older");
    assert!(!state.heartbeat(7, 5));
    assert!(state.wants_sync());
    assert_eq!(state.ask(), 4);
    assert_eq!(seqs(&steps(state.page(page(5..=5, false)))), [5]);
    assert!(!state.wants_sync());
}

#[test]
fn another_epoch_in_any_answer_starts_over() {
    let mut state = live_at(4);
    assert!(state.heartbeat(8, 4));
    assert_eq!(state.cursor(), ClientCursor { epoch: 8, seq: 0 });
    assert!(state.wants_sync());

    let mut state = live_at(4);
    state.disconnected();
    assert!(state.signed_in(8, 100));
    assert_eq!(state.ask(), 0);

    let mut state = live_at(4);
    state.pushed(message(6));
    state.ask();
    let other = SyncOutput {
        epoch: 9,
        ..page(1..=3, false)
    };
    assert_eq!(state.page(other), SyncResult::HistoryChanged);
    assert_eq!(state.cursor(), ClientCursor { epoch: 9, seq: 0 });
    assert!(state.wants_sync());
}

#[test]
fn a_head_below_the_cursor_is_another_history() {
    let mut state = InboxState::new(ClientCursor { epoch: 7, seq: 40 });
    assert!(state.signed_in(7, 39));
    assert_eq!(state.cursor().seq, 0);

    let mut state = live_at(40);
    state.pushed(message(42));
    state.ask();
    assert_eq!(state.page(empty(10)), SyncResult::HistoryChanged);
}

#[test]
fn what_retention_removed_is_said_and_stepped_over() {
    let mut state = InboxState::new(ClientCursor { epoch: 7, seq: 2 });
    state.signed_in(7, 12);
    state.ask();
    let page = SyncOutput {
        floor: 10,
        ..page(11..=12, false)
    };
    let got = steps(state.page(page));
    assert_eq!(got[0], CursorStep::Trimmed(10));
    assert_eq!(seqs(&got), [10, 11, 12]);
}

#[test]
fn a_page_that_promises_more_and_brings_nothing_ends_the_sync() {
    let mut state = InboxState::new(ClientCursor { epoch: 7, seq: 2 });
    state.signed_in(7, 2);
    state.ask();
    let page = SyncOutput {
        has_more: true,
        ..empty(2)
    };
    assert!(steps(state.page(page)).is_empty());
    assert!(state.is_live() && !state.wants_sync());
}

#[test]
fn a_server_without_epochs_is_served_by_seq_alone() {
    let mut state = InboxState::new(ClientCursor { epoch: 0, seq: 3 });
    assert!(!state.signed_in(0, 3));
    state.ask();
    let plain = SyncOutput {
        messages: vec![message(4)],
        ..SyncOutput::default()
    };
    assert_eq!(seqs(&steps(state.page(plain))), [4]);

    // gim's answer to a sign-in is empty. Each reconnect read the whole inbox again.
    state.disconnected();
    assert!(!state.signed_in(0, 0));
    assert_eq!(state.ask(), 4);
}

#[test]
fn the_last_possible_seq_does_not_overflow() {
    let mut state = live_at(i64::MAX - 1);
    assert_eq!(seqs(&state.pushed(message(i64::MAX))), [i64::MAX]);
    assert!(state.pushed(message(i64::MAX)).is_empty());
    assert!(!state.wants_sync());
}
