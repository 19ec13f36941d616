//! Attacks on other users' devices and identities.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::interval;

use super::tally::AttackTally;
use super::target::AttackerAccounts;
use super::wire::AttackSocket;
use crate::test_account::TestAccount;

/// Signs in with the attacker's own phone number on other users' devices.
pub(super) async fn devices(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let mut tick = interval(Duration::from_millis(20));
    for &(_, device) in squad.field.victims.iter().cycle() {
        tick.tick().await;
        let signed_in = squad
            .api
            .sign_in("19900000001", &squad.field.code, device)
            .await;
        tally.counts(signed_in);
    }
}

/// Signs in as other users with wrong tokens.
pub(super) async fn tokens(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let mut tick = interval(Duration::from_millis(50));
    for &(user, device) in squad.field.victims.iter().cycle() {
        tick.tick().await;
        let account = TestAccount {
            user,
            device,
            token: "0123456789abcdef0123456789abcdef".to_owned(),
        };
        tally.counts(AttackSocket::sign_in(squad.field.tcp, &account, 1).await);
    }
}
