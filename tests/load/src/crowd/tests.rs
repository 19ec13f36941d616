//! A planted defect of each kind is found.

use super::*;

const ROOM: i64 = 9;

fn pushed(seq: i64, content: &[u8]) -> Pushed<'_> {
    Pushed {
        receiver_type: 3,
        receiver: ROOM,
        seq,
        content,
        ..Pushed::default()
    }
}

/// Two members, three messages; `deliver` gives the second member what it likes.
fn found(deliver: impl Fn(&mut Crowd<'_>, &[Vec<u8>])) -> Findings {
    let pace = Pace {
        burst: 3,
        rate: None,
        warm_up: Duration::ZERO,
        span: Duration::ZERO,
    };
    let mut contents = Vec::new();
    let publish = Box::new(|_: usize, new: Vec<Vec<u8>>| {
        contents.extend(new);
        Ok(())
    });
    let mut marks = |_| {};
    let mut crowd = Crowd::new(&[ROOM], &[(0, 0), (1, 0)], pace, publish, &mut marks);
    crowd.burst(0, 7);
    let all: Vec<Vec<u8>> = (0..3).map(|n| content(n, 7)).collect();
    for (seq, content) in (5..).zip(&all) {
        crowd.deliver(0, &pushed(seq, content));
    }
    deliver(&mut crowd, &all);
    let findings = crowd.seen().findings;
    assert_eq!(contents, all);
    findings
}

fn one(finding: Finding, deliver: impl Fn(&mut Crowd<'_>, &[Vec<u8>])) {
    let findings = found(deliver);
    assert!(
        findings.count(finding) > 0,
        "{finding}: {:?}",
        findings.lines()
    );
}

#[test]
fn what_is_right_is_found_right() {
    let findings = found(|crowd, all| {
        for (seq, content) in (5..).zip(all) {
            crowd.deliver(1, &pushed(seq, content));
        }
        assert!(crowd.rooms.iter().all(Room::is_complete));
    });
    assert!(findings.is_empty(), "{:?}", findings.lines());
}

#[test]
fn a_dropped_message_is_found() {
    one(Finding::Dropped, |crowd, all| {
        crowd.deliver(1, &pushed(5, &all[0]));
        crowd.deliver(1, &pushed(7, &all[2]));
    });
}

#[test]
fn a_doubled_message_is_found() {
    one(Finding::Doubled, |crowd, all| {
        crowd.deliver(1, &pushed(5, &all[0]));
        crowd.deliver(1, &pushed(5, &all[0]));
    });
}

#[test]
fn swapped_messages_are_found() {
    one(Finding::Swapped, |crowd, all| {
        crowd.deliver(1, &pushed(5, &all[1]));
    });
}

#[test]
fn a_misdirected_message_is_found() {
    one(Finding::Misdirected, |crowd, all| {
        let elsewhere = Pushed {
            receiver: ROOM + 1,
            ..pushed(5, &all[0])
        };
        crowd.deliver(1, &elsewhere);
    });
    one(Finding::Misdirected, |crowd, all| {
        crowd.deliver(2, &pushed(5, &all[0]));
    });
}

#[test]
fn a_damaged_message_is_found() {
    one(Finding::Damaged, |crowd, all| {
        let mut bytes = all[0].clone();
        bytes[50] ^= 1;
        crowd.deliver(1, &pushed(5, &bytes));
    });
}
