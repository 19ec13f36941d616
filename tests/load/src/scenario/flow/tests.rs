//! What a flow makes of a send that fails at once.

use std::io;

use super::*;
use crate::account::Account;
use crate::judge::To;
use crate::net::{Framing, Joined, Place, Sources};

#[test]
fn nobody_waits_for_a_message_that_was_not_sent() -> io::Result<()> {
    let mut net = Net::new(Place {
        to: Vec::new(),
        framing: Framing::Tcp,
        from: Sources::default(),
    })?;
    let plan = Plan {
        pace: Pace::Open(1.0),
        until: Until::Delivered,
        size: 100,
        before: 0,
        measured: SECOND,
        grace: 0,
    };
    let account = Account {
        user: 1,
        device: 1,
        token: String::new(),
    };
    let mut judge = Judge::new(1);
    let mut member = Member::new(account, Joined { conn: 0, head: 0 }, &mut judge);
    let stream = judge.stream(1, To::User(2));
    judge.listen(member.ear, stream);
    member.lanes.push(stream);
    let gateway = Some(Gateway::full());
    let mut flow = Flow::new(plan, judge, vec![member], gateway, Usage::default);
    flow.begin_send(&mut net, 0, 0);
    assert_eq!(flow.open, 0);
    let reach = flow.waves.reached(stream, 0);
    assert!(!reach.last, "it is waited for");
    Ok(())
}
