//! Plants every kind of defect in inboxes and in what live clients are shown.

use crate::{DeliveryJudge, FindingKind, InboxRecord, JudgeFindings};

/// Returns an entry with this seq, message id, content and sending device.
const fn entry(
    seq: i64,
    message_id: &'static [u8],
    content: &'static [u8],
    device: i64,
) -> InboxRecord<'static> {
    InboxRecord {
        seq,
        message_id,
        content,
        device,
    }
}

const A: InboxRecord<'static> = entry(1, b"1", b"a", 70);
const B: InboxRecord<'static> = entry(2, b"2", b"b", 70);

/// Returns a judge with users 7 and 8: device 70 sent "a" and "b" to both, and both were answered.
fn judge() -> DeliveryJudge {
    let mut judge = DeliveryJudge::default();
    for it in [A, B] {
        judge.begin_send(70, it.content, &[7, 8]);
        judge.confirm_send(it.content, Some(it.message_id), &[7, 8]);
    }
    judge
}

/// Returns the judge after it read the complete inboxes of both users.
fn complete() -> DeliveryJudge {
    let mut judge = judge();
    judge.read(7, [A, B]);
    judge.read(8, [A, B]);
    judge
}

/// Returns the verdict after the inbox of user 8 was read as these entries.
fn read(entries: &[InboxRecord<'static>]) -> JudgeFindings {
    let mut judge = judge();
    judge.read(7, [A, B]);
    judge.read(8, entries.iter().copied());
    judge.verdict()
}

/// Returns the judge after a client of device 80, which belongs to user 8, was shown these entries.
fn shown(seen: &[(i64, &[u8])]) -> DeliveryJudge {
    let mut judge = complete();
    let watch = judge.watch(8, 80, 0);
    for (seq, content) in seen {
        judge.shown(watch, *seq, Some(content));
    }
    judge
}

/// Checks that these kinds, and no others, were found.
#[track_caller]
fn assert_found(findings: &JudgeFindings, expected: &[(FindingKind, u64)]) {
    for (kind, count) in expected {
        assert_eq!(findings.count(*kind), *count, "{kind}: {findings:?}");
    }
    assert_eq!(findings.kinds(), expected.len(), "{findings:?}");
}

#[test]
fn a_clean_run_is_clean() {
    let judge = shown(&[(1, b"a"), (2, b"b")]);
    assert_found(&judge.verdict(), &[]);
    assert_eq!((judge.answers(), judge.entries()), (2, 6));
}

#[test]
fn what_was_not_answered_may_be_there_or_not() {
    let mut judge = complete();
    judge.begin_send(70, b"c", &[7, 8]);
    judge.begin_send(70, b"d", &[7, 8]);
    judge.read(7, [entry(3, b"3", b"d", 70)]);
    assert_found(&judge.verdict(), &[]);
}

#[test]
fn a_lost_entry_is_found() {
    assert_found(&read(&[A]), &[(FindingKind::Dropped, 1)]);
}

#[test]
fn a_doubled_entry_is_found_by_id_and_by_content() {
    for twin in [entry(3, b"2", b"b", 70), entry(3, b"9", b"b", 70)] {
        assert_found(&read(&[A, B, twin]), &[(FindingKind::Doubled, 1)]);
    }
}

/// The run did not send these: they are recognised by their ids only.
#[test]
fn a_doubled_system_message_is_found_and_equal_ones_are_not() {
    let system = entry(3, b"3", b"joined", 0);
    let (equal, twin) = (entry(4, b"4", b"joined", 0), entry(4, b"3", b"joined", 0));
    assert_found(&read(&[A, B, system, equal]), &[]);
    assert_found(&read(&[A, B, system, twin]), &[(FindingKind::Doubled, 1)]);
}

#[test]
fn swapped_entries_are_found() {
    let swapped = [entry(1, b"2", b"b", 70), entry(2, b"1", b"a", 70)];
    assert_found(&read(&swapped), &[(FindingKind::Swapped, 1)]);
}

#[test]
fn a_misdirected_entry_is_found() {
    let mut judge = complete();
    judge.read(9, [A]);
    assert_found(&judge.verdict(), &[(FindingKind::Misdirected, 1)]);
}

#[test]
fn a_send_that_skips_a_receiver_is_not_expected_there() {
    let mut judge = complete();
    judge.begin_send(70, b"c", &[7]);
    judge.begin_send(70, b"d", &[7, 8]);
    judge.read(8, [entry(3, b"4", b"d", 70)]);
    assert_found(&judge.verdict(), &[]);
    judge.read(8, [entry(4, b"3", b"c", 70)]);
    assert_found(&judge.verdict(), &[(FindingKind::Misdirected, 1)]);
}

#[test]
fn a_hole_and_an_altered_entry_are_found() {
    let found = read(&[entry(1, b"1", b"x", 70), entry(3, b"2", b"b", 70)]);
    assert_found(&found, &[(FindingKind::Damaged, 1), (FindingKind::Hole, 1)]);
}

#[test]
fn an_entry_below_the_last_one_is_found() {
    let found = read(&[A, B, entry(2, b"9", b"another program's", 90)]);
    assert_found(&found, &[(FindingKind::Seq, 1)]);
}

#[test]
fn an_entry_that_changes_between_two_reads_is_found() {
    let mut judge = complete();
    judge.read_again(8, [A, B]);
    assert_found(&judge.verdict(), &[]);
    judge.read_again(8, [A, entry(2, b"2", b"x", 70)]);
    assert_found(&judge.verdict(), &[(FindingKind::Damaged, 1)]);
}

#[test]
fn the_answer_to_a_repeat_must_name_the_same_message() {
    let mut judge = complete();
    judge.confirm_send(b"b", Some(b"2"), &[7, 8]);
    assert_found(&judge.verdict(), &[]);
    assert_eq!(judge.answers(), 2, "a repeat is not counted again");
    judge.confirm_send(b"b", Some(b"9"), &[7, 8]);
    assert_found(&judge.verdict(), &[(FindingKind::Doubled, 1)]);
    judge.confirm_send(b"a", Some(b"2"), &[7, 8]);
    assert_eq!(judge.verdict().count(FindingKind::Connection), 1);
}

#[test]
fn an_answer_with_the_seq_of_another_entry_is_found() {
    let mut judge = complete();
    judge.confirm_seq(b"a", 8, 1);
    judge.confirm_seq(b"a", 8, 9);
    assert_found(&judge.verdict(), &[]);
    judge.confirm_seq(b"b", 8, 1);
    assert_found(&judge.verdict(), &[(FindingKind::Damaged, 1)]);
}

#[test]
fn an_inbox_can_be_read_from_its_middle() {
    let mut judge = DeliveryJudge::default();
    judge.inbox_above(8, 1);
    judge.begin_send(70, b"b", &[8]);
    judge.confirm_send(b"b", None, &[8]);
    judge.read(8, [B]);
    assert_found(&judge.verdict(), &[]);
}

#[test]
fn what_a_live_client_was_not_shown_is_lost() {
    let judge = shown(&[(1, b"a")]);
    assert_found(&judge.verdict(), &[(FindingKind::Dropped, 1)]);
}

#[test]
fn a_hole_that_a_live_client_stepped_over_is_found() {
    let judge = shown(&[(2, b"b")]);
    assert_found(&judge.verdict(), &[(FindingKind::Hole, 1)]);
}

#[test]
fn what_a_live_client_was_shown_twice_is_found() {
    let judge = shown(&[(1, b"a"), (1, b"a"), (2, b"b")]);
    assert_found(&judge.verdict(), &[(FindingKind::Doubled, 1)]);
}

#[test]
fn what_a_live_client_was_shown_of_another_inbox_is_found() {
    let mut judge = complete();
    judge.begin_send(70, b"c", &[7]);
    judge.read(7, [entry(3, b"3", b"c", 70)]);
    let watch = judge.watch(8, 80, 0);
    for (seq, content) in [(1, b"a"), (2, b"b"), (3, b"c")] {
        judge.shown(watch, seq, Some(content));
    }
    assert_found(
        &judge.verdict(),
        &[(FindingKind::Misdirected, 1), (FindingKind::Damaged, 1)],
    );
}

#[test]
fn a_client_is_not_shown_what_it_sent_itself() {
    let mut judge = complete();
    judge.read(7, [entry(3, b"3", b"from elsewhere", 80)]);
    let watch = judge.watch(7, 70, 0);
    judge.shown(watch, 3, Some(b"from elsewhere"));
    assert_found(&judge.verdict(), &[]);
}

#[test]
fn a_client_that_began_later_is_shown_the_rest() {
    let mut judge = complete();
    let watch = judge.watch(8, 80, 1);
    assert_eq!(judge.unshown(), 1);
    judge.shown(watch, 2, Some(b"b"));
    assert_found(&judge.verdict(), &[]);
}

#[test]
fn a_client_that_ended_need_not_have_everything() {
    let mut judge = complete();
    let watch = judge.watch(8, 80, 0);
    judge.shown(watch, 1, Some(b"a"));
    assert_eq!(judge.unshown(), 1);
    judge.ended(watch);
    assert_eq!(judge.unshown(), 0);
    assert_found(&judge.verdict(), &[]);
}
