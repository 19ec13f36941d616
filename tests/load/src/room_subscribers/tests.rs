//! Plants one defect of each kind and checks that it is found.

use super::*;

const ROOM: i64 = 9;

fn pushed(seq: i64, content: &[u8]) -> PushedMessage<'_> {
    PushedMessage {
        receiver_type: 3,
        receiver: ROOM,
        seq,
        content,
        ..PushedMessage::default()
    }
}

/// Publishes three messages to two members; `deliver` chooses the deliveries to the second.
fn found(deliver: impl Fn(&mut MemberReader<'_>, &[Vec<u8>])) -> JudgeFindings {
    let pace = RoomPace {
        burst: 3,
        rate: None,
        warm_up: Duration::ZERO,
        span: Duration::ZERO,
    };
    let contents = Mutex::new(Vec::new());
    let (over, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    let publish = |_: usize, new: Vec<Vec<u8>>| {
        contents.lock().unwrap().extend(new);
        Ok(())
    };
    let stage = SharedRun {
        pace,
        publish: &publish,
        over: &over,
        failed: &failed,
    };
    let rooms = [Arc::new(SharedRoom::new(ROOM))];
    let mut reader = MemberReader::new(&rooms, &[(0, 0), (1, 0)], stage, 0);
    let burst = reader.rooms[0].publish_when_complete(3, 7).unwrap();
    assert!(reader.rooms[0].publish_when_complete(3, 7).is_none());
    reader.burst(0, burst);
    let all: Vec<Vec<u8>> = (0..3).map(|n| content(n, 7)).collect();
    for (seq, content) in (5..).zip(&all) {
        reader.deliver(0, &pushed(seq, content));
    }
    deliver(&mut reader, &all);
    let findings = reader.seen.findings;
    assert_eq!(*contents.lock().unwrap(), all);
    findings
}

fn one(finding: FindingKind, deliver: impl Fn(&mut MemberReader<'_>, &[Vec<u8>])) {
    let findings = found(deliver);
    assert!(
        findings.count(finding) > 0,
        "{finding}: {:?}",
        findings.lines()
    );
}

#[test]
fn what_is_right_is_found_right() {
    let findings = found(|reader, all| {
        for (seq, content) in (5..).zip(all) {
            reader.deliver(1, &pushed(seq, content));
        }
        assert!(reader.rooms.iter().all(ReaderRoom::is_complete));
    });
    assert!(findings.is_empty(), "{:?}", findings.lines());
}

#[test]
fn a_dropped_message_is_found() {
    one(FindingKind::Dropped, |reader, all| {
        reader.deliver(1, &pushed(5, &all[0]));
        reader.deliver(1, &pushed(7, &all[2]));
    });
}

#[test]
fn a_doubled_message_is_found() {
    one(FindingKind::Doubled, |reader, all| {
        reader.deliver(1, &pushed(5, &all[0]));
        reader.deliver(1, &pushed(5, &all[0]));
    });
}

#[test]
fn swapped_messages_are_found() {
    one(FindingKind::Swapped, |reader, all| {
        reader.deliver(1, &pushed(5, &all[1]));
    });
}

#[test]
fn a_misdirected_message_is_found() {
    one(FindingKind::Misdirected, |reader, all| {
        let elsewhere = PushedMessage {
            receiver: ROOM + 1,
            ..pushed(5, &all[0])
        };
        reader.deliver(1, &elsewhere);
    });
    one(FindingKind::Misdirected, |reader, all| {
        reader.deliver(2, &pushed(5, &all[0]));
    });
}

#[test]
fn a_damaged_message_is_found() {
    one(FindingKind::Damaged, |reader, all| {
        let mut bytes = all[0].clone();
        bytes[50] ^= 1;
        reader.deliver(1, &pushed(5, &bytes));
    });
}

/// Two threads with one member each: the order that one thread saw binds the other.
#[test]
fn threads_agree_on_the_order_and_on_the_last_delivery() {
    let mut findings = JudgeFindings::default();
    let shared = Arc::new(SharedRoom::new(ROOM));
    let mut rooms = [0, 0].map(|now| ReaderRoom::new(Arc::clone(&shared), now));
    let mut members = [rooms[0].join(0), rooms[1].join(0)];
    let all = rooms[0].publish_when_complete(2, 7).unwrap();
    let mut deliver = |who: usize, seq, content: &[u8], findings: &mut JudgeFindings| {
        let right = rooms[who].deliver(&mut members[who], &pushed(seq, content), findings);
        right.unwrap().last
    };
    assert!(!deliver(0, 5, &all[0], &mut findings));
    assert!(!deliver(1, 5, &all[0], &mut findings));
    assert!(!deliver(0, 6, &all[1], &mut findings));
    assert!(findings.is_empty());
    assert!(deliver(1, 6, &all[1], &mut findings));
    assert!(findings.is_empty());

    let again = rooms[1].publish_when_complete(2, 9).unwrap();
    for (who, seq, content) in [(0, 7, &again[0]), (1, 7, &again[1])] {
        rooms[who].deliver(&mut members[who], &pushed(seq, content), &mut findings);
    }
    assert_eq!(findings.count(FindingKind::Swapped), 1);
}
