//! Plants every kind of defect and checks that it is found, and that a correct run has no findings.

use crate::{
    DeliveryJudge, FindingKind, JudgeFindings, MessageMark, ObservedPush, PushedMessage,
    ReceiverId, SendFailure, StreamDestination, StreamId,
};

const ANN: i64 = 10;
const BEN: i64 = 11;

struct JudgeFixture {
    judge: DeliveryJudge,
    stream: StreamId,
    ben: ReceiverId,
    eve: ReceiverId,
    sent: Vec<Vec<u8>>,
}

impl JudgeFixture {
    /// Creates a run in which Ann sends ten messages to Ben, and Eve gets another stream.
    fn new() -> Self {
        let mut judge = DeliveryJudge::new(7);
        let stream = judge.stream(ANN, StreamDestination::User(BEN));
        let other = judge.stream(ANN, StreamDestination::User(12));
        let (ben, eve) = (judge.receiver(0), judge.receiver(0));
        judge.listen(ben, stream);
        judge.listen(eve, other);
        let sent = (0..10).map(|i| {
            let mut content = Vec::new();
            judge.send(stream, i).write(&mut content, 64);
            content
        });
        let sent = sent.collect();
        for _ in 0..10 {
            judge.answered(stream);
        }
        Self {
            judge,
            stream,
            ben,
            eve,
            sent,
        }
    }

    fn push(&mut self, ear: ReceiverId, number: usize, seq: i64) -> Option<ObservedPush> {
        let pushed = PushedMessage {
            sender: ANN,
            receiver_type: 1,
            receiver: BEN,
            seq,
            content: &self.sent[number],
        };
        self.judge.observe_push(ear, &pushed)
    }

    fn push_all(&mut self, numbers: impl IntoIterator<Item = usize>) {
        for (seq, number) in (1..).zip(numbers) {
            self.push(self.ben, number, seq);
        }
    }
}

#[test]
fn all_in_order_is_nothing_found() {
    let mut world = JudgeFixture::new();
    assert!(!world.judge.complete());
    world.push_all(0..10);
    assert!(world.judge.complete());
    assert_eq!(world.judge.verdict(), JudgeFindings::default());
}

#[test]
fn a_dropped_message_is_found() {
    for lost in [0, 5, 9] {
        let mut world = JudgeFixture::new();
        world.push_all((0..10).filter(|&n| n != lost));
        assert!(!world.judge.complete());
        let found = world.judge.verdict();
        assert_eq!(found.count(FindingKind::Dropped), 1, "{lost} is missing");
        assert_eq!(found.kinds(), 1, "{found:?}");
    }
}

#[test]
fn a_doubled_message_is_found() {
    let mut world = JudgeFixture::new();
    world.push_all([0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let found = world.judge.verdict();
    assert_eq!(found.count(FindingKind::Doubled), 1);
    assert_eq!(found.count(FindingKind::Dropped), 0);
}

#[test]
fn swapped_messages_are_found() {
    let mut world = JudgeFixture::new();
    world.push_all([0, 2, 1, 3, 4, 5, 6, 7, 8, 9]);
    assert!(world.judge.complete());
    let found = world.judge.verdict();
    assert_eq!(found.count(FindingKind::Swapped), 1);
    assert_eq!(found.kinds(), 1, "{found:?}");
}

#[test]
fn a_misdirected_message_is_found() {
    let mut world = JudgeFixture::new();
    world.push_all(0..10);
    world.push(world.eve, 3, 1);
    let found = world.judge.verdict();
    assert_eq!(found.count(FindingKind::Misdirected), 1);
    assert_eq!(found.kinds(), 1, "{found:?}");
}

#[test]
fn a_wrong_name_is_misdirected() {
    for (sender, kind, receiver) in [(BEN, 1, BEN), (ANN, 2, BEN), (ANN, 1, ANN)] {
        let mut world = JudgeFixture::new();
        let pushed = PushedMessage {
            sender,
            receiver_type: kind,
            receiver,
            seq: 1,
            content: &world.sent[0].clone(),
        };
        assert_eq!(world.judge.observe_push(world.ben, &pushed), None);
        assert_eq!(world.judge.findings.count(FindingKind::Misdirected), 1);
    }
}

#[test]
fn damage_and_other_runs_are_found() {
    let mut world = JudgeFixture::new();
    world.sent[0][40] ^= 1;
    world.push_all(0..10);
    let mut foreign = Vec::new();
    let mark = MessageMark {
        run: 8,
        stream: world.stream,
        number: 0,
        at: 0,
    };
    mark.write(&mut foreign, 64);
    world.sent[0] = foreign;
    world.push(world.ben, 0, 11);
    let found = world.judge.verdict();
    assert_eq!(found.count(FindingKind::Damaged), 1);
    assert_eq!(found.count(FindingKind::Foreign), 1);
    assert_eq!(found.count(FindingKind::Dropped), 1);
}

#[test]
fn a_refused_message_may_be_missing_and_must_not_come() {
    let mut world = JudgeFixture::new();
    for _ in 0..2 {
        let number = world.judge.send(world.stream, 0).number;
        world
            .judge
            .failed(world.stream, number, SendFailure::Refused);
    }
    let mark = MessageMark {
        run: 7,
        stream: world.stream,
        number: 11,
        at: 0,
    };
    world.push_all(0..10);
    assert!(world.judge.complete());
    let mut content = Vec::new();
    mark.write(&mut content, 64);
    world.sent[0] = content;
    world.push(world.ben, 0, 11);
    let found = world.judge.verdict();
    assert_eq!(found.count(FindingKind::Refused), 1);
    assert_eq!(found.kinds(), 1, "{found:?}");
}

#[test]
fn what_is_unknown_may_come_or_not() {
    for comes in [false, true] {
        let mut world = JudgeFixture::new();
        let mark = world.judge.send(world.stream, 0);
        world
            .judge
            .failed(world.stream, mark.number, SendFailure::Unknown);
        world.push_all(0..10);
        if comes {
            let mut content = Vec::new();
            mark.write(&mut content, 64);
            world.sent[0] = content;
            world.push(world.ben, 0, 11);
        }
        assert!(world.judge.complete());
        assert_eq!(world.judge.verdict(), JudgeFindings::default());
    }
}

#[test]
fn seqs_must_rise_without_holes() {
    let mut world = JudgeFixture::new();
    world.push_all(0..5);
    for (number, seq) in (5..10).zip(7..) {
        world.push(world.ben, number, seq);
    }
    assert_eq!(world.judge.verdict().count(FindingKind::Hole), 1);

    let mut world = JudgeFixture::new();
    world.push_all(0..9);
    world.push(world.ben, 9, 9);
    assert_eq!(world.judge.verdict().count(FindingKind::Seq), 1);
}

#[test]
fn an_unanswered_send_is_found() {
    let mut world = JudgeFixture::new();
    world.judge.send(world.stream, 0);
    assert!(!world.judge.complete());
    assert_eq!(world.judge.verdict().count(FindingKind::Unanswered), 1);
}

/// A delivered send may be answered with 4, or not at all: deliveries to others stay expected.
#[test]
fn a_message_that_came_before_its_failure_is_not_counted_twice() {
    let mut world = JudgeFixture::new();
    let mut open = Vec::new();
    for _ in 0..2 {
        let mark = world.judge.send(world.stream, 0);
        mark.write(&mut open, 64);
        world.sent.push(open.clone());
    }
    world.push_all(0..=10);
    world.judge.failed(world.stream, 10, SendFailure::Unknown);
    world.judge.answered(world.stream);
    assert!(!world.judge.complete(), "number 11 has not come");
    world.push(world.ben, 11, 12);
    assert!(world.judge.complete());
}
