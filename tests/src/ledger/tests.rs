//! Each kind of defect is planted and must be found.

use super::*;

/// Returns an entry with this seq, message id, content and sending device.
fn entry(seq: i64, id: u8, content: &'static [u8], device: i64) -> pb::Message {
    let sender = pb::Sender {
        device_id: device,
        ..pb::Sender::default()
    };
    pb::Message {
        seq,
        message_id: vec![id].into(),
        message_content: content.into(),
        sender: Some(sender),
        ..pb::Message::default()
    }
}

/// Returns a ledger with users 7 and 8: device 70 sent "a" and "b" to both, and both were answered.
fn ledger() -> RunLedger {
    let mut ledger = RunLedger::default();
    for (id, content) in [(1, b"a"), (2, b"b")] {
        ledger.means(70, content, Arc::from([7, 8]));
        ledger.answered(&[id], content, &[7, 8]);
    }
    ledger
}

fn whole() -> Vec<pb::Message> {
    vec![entry(1, 1, b"a", 70), entry(2, 2, b"b", 70)]
}

/// Returns the verdict after a client of device 80, which belongs to user 8, was shown these
/// entries.
fn saw(seen: &[(i64, &[u8])]) -> LedgerVerdict {
    let mut ledger = ledger();
    ledger.read(7, &whole());
    ledger.read(8, &whole());
    let watch = ledger.watches(8, 80, 0);
    for (seq, content) in seen {
        ledger.shown(watch, *seq, Some(content));
    }
    ledger.verdict()
}

const CLEAN: LedgerVerdict = LedgerVerdict {
    answered: 2,
    entries: 6,
    lost: 0,
    doubled: 0,
    holes: 0,
    altered: 0,
    swapped: 0,
    misdirected: 0,
};

#[test]
fn a_clean_run_is_clean() {
    let verdict = saw(&[(1, b"a"), (2, b"b")]);
    assert_eq!(verdict, CLEAN);
    assert!(verdict.clean());
}

#[test]
fn what_was_not_answered_may_be_there_or_not() {
    let mut ledger = ledger();
    ledger.means(70, b"c", Arc::from([7, 8]));
    ledger.means(70, b"d", Arc::from([7, 8]));
    ledger.read(7, &whole());
    ledger.read(7, &[entry(3, 3, b"d", 70)]);
    ledger.read(8, &whole());
    assert!(ledger.verdict().clean());
}

#[test]
fn a_lost_entry_is_found() {
    let mut ledger = ledger();
    ledger.read(7, &whole());
    ledger.read(8, &[entry(1, 1, b"a", 70)]);
    let verdict = ledger.verdict();
    assert_eq!((verdict.lost, verdict.clean()), (1, false));
}

#[test]
fn a_doubled_entry_is_found_by_id_and_by_content() {
    for twin in [entry(3, 2, b"b", 70), entry(3, 9, b"b", 70)] {
        let mut ledger = ledger();
        ledger.read(7, &whole());
        ledger.read(8, &whole());
        ledger.read(8, &[twin]);
        let verdict = ledger.verdict();
        assert_eq!((verdict.doubled, verdict.clean()), (1, false));
    }
}

#[test]
fn swapped_entries_are_found() {
    let mut ledger = ledger();
    ledger.read(7, &whole());
    ledger.read(8, &[entry(1, 2, b"b", 70), entry(2, 1, b"a", 70)]);
    let verdict = ledger.verdict();
    assert_eq!((verdict.swapped, verdict.clean()), (1, false));
}

#[test]
fn a_misdirected_entry_is_found() {
    let mut ledger = ledger();
    ledger.read(7, &whole());
    ledger.read(8, &whole());
    ledger.read(9, &[entry(1, 1, b"a", 70)]);
    let verdict = ledger.verdict();
    assert_eq!((verdict.misdirected, verdict.clean()), (1, false));
}

#[test]
fn a_hole_and_an_altered_entry_are_found() {
    let mut ledger = ledger();
    ledger.read(7, &whole());
    ledger.read(8, &[entry(1, 1, b"x", 70), entry(3, 2, b"b", 70)]);
    let verdict = ledger.verdict();
    assert_eq!(
        (verdict.altered, verdict.holes, verdict.clean()),
        (1, 1, false)
    );
}

#[test]
fn what_a_live_client_was_not_shown_is_lost() {
    let verdict = saw(&[(1, b"a")]);
    assert_eq!((verdict.lost, verdict.clean()), (1, false));
}

#[test]
fn a_hole_that_a_live_client_stepped_over_is_found() {
    let verdict = saw(&[(2, b"b")]);
    assert_eq!((verdict.holes, verdict.clean()), (1, false));
}

#[test]
fn what_a_live_client_was_shown_twice_is_found() {
    let verdict = saw(&[(1, b"a"), (1, b"a"), (2, b"b")]);
    assert_eq!((verdict.doubled, verdict.clean()), (1, false));
}

#[test]
fn what_a_live_client_was_shown_of_another_inbox_is_found() {
    let mut ledger = ledger();
    ledger.read(7, &whole());
    ledger.read(8, &whole());
    ledger.means(70, b"c", Arc::from([7]));
    ledger.read(7, &[entry(3, 3, b"c", 70)]);
    let watch = ledger.watches(8, 80, 0);
    for (seq, content) in [(1, b"a"), (2, b"b"), (3, b"c")] {
        ledger.shown(watch, seq, Some(content));
    }
    let verdict = ledger.verdict();
    assert_eq!((verdict.misdirected, verdict.altered), (1, 1));
}

#[test]
fn a_client_is_not_shown_what_it_sent_itself() {
    let mut ledger = ledger();
    ledger.read(7, &whole());
    ledger.read(8, &whole());
    ledger.read(7, &[entry(3, 3, b"from elsewhere", 80)]);
    let watch = ledger.watches(7, 70, 0);
    ledger.shown(watch, 3, Some(b"from elsewhere"));
    assert!(ledger.verdict().clean());
}

#[test]
fn a_client_that_began_later_is_shown_the_rest() {
    let mut ledger = ledger();
    ledger.read(7, &whole());
    ledger.read(8, &whole());
    let watch = ledger.watches(8, 80, 1);
    assert_eq!(ledger.unshown(), 1);
    ledger.shown(watch, 2, Some(b"b"));
    assert!(ledger.verdict().clean());
}

#[test]
fn a_client_that_ended_need_not_have_everything() {
    let mut ledger = ledger();
    ledger.read(7, &whole());
    ledger.read(8, &whole());
    let watch = ledger.watches(8, 80, 0);
    ledger.shown(watch, 1, Some(b"a"));
    assert_eq!(ledger.unshown(), 1);
    ledger.ended(watch);
    assert_eq!(ledger.unshown(), 0);
    assert!(ledger.verdict().clean());
}
