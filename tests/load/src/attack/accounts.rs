//! Attacks on other users' devices and identities.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::interval;

use super::tally::Tally;
use super::target::Squad;
use super::wire::Socket;
use crate::account::Account;

/// Signs in with the attacker's own phone number on other users' devices.
pub(super) async fn devices(squad: Squad, tally: Arc<Tally>) {
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
pub(super) async fn tokens(squad: Squad, tally: Arc<Tally>) {
    let mut tick = interval(Duration::from_millis(50));
    for &(user, device) in squad.field.victims.iter().cycle() {
        tick.tick().await;
        let account = Account {
            user,
            device,
            token: "0123456789abcdef0123456789abcdef".to_owned(),
        };
        tally.counts(Socket::sign_in(squad.field.tcp, &account, 1).await);
    }
}
