//! All attacks, with the size of each.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::tally::AttackTally;
use super::target::{AttackerAccounts, GREEDY, GROUP};
use super::{accounts, calls, files, groups, rooms, sockets, websocket};

/// Returns the names and sizes of the attacks, for the report.
#[must_use]
pub fn sizes() -> Vec<(&'static str, String)> {
    vec![
        (
            "devices",
            "50 sign-ins a second on other people's devices".to_owned(),
        ),
        (
            "tokens",
            "20 wrong tokens a second in other people's names".to_owned(),
        ),
        (
            "silent",
            format!(
                "{} connections that never send",
                sockets::SILENT_CONNECTIONS
            ),
        ),
        (
            "deaf",
            format!("{} devices that never read", sockets::UNREADING_DEVICES),
        ),
        ("tiny", "messages of 2 bytes, 64 in one write".to_owned()),
        (
            "own-entries",
            "an old client's SYNC of 1,000 own entries, in a loop".to_owned(),
        ),
        (
            "greedy",
            format!("{GREEDY} accounts with 32 unanswered sends each"),
        ),
        (
            "pings",
            format!("{} WebSockets that ping and never read", websocket::PINGERS),
        ),
        (
            "history",
            format!(
                "{} subscribers at once of a room of 64 x 60 kB",
                rooms::SUBSCRIBERS
            ),
        ),
        (
            "rooms",
            "20 kept messages of 60 kB a second in 1,000 rooms".to_owned(),
        ),
        (
            "group",
            format!("a closed loop of sends to a group of {GROUP}"),
        ),
        (
            "hoard",
            format!("{} answers with an HTTP/2 window of 0", calls::HOARDED),
        ),
        ("watches", format!("{} open health watches", calls::WATCHES)),
        (
            "cancels",
            format!("{} cancelled calls, five times a second", calls::CANCELLED),
        ),
        (
            "padded",
            "20 room messages of 1 byte in 250 kB a second".to_owned(),
        ),
        (
            "uploads",
            format!("2 uploads of {} MiB a second", files::UPLOAD >> 20),
        ),
    ]
}

/// Starts the attacks with these names, or all attacks if none are named.
pub(super) fn start(
    squad: &AttackerAccounts,
    only: &[String],
    tasks: &mut JoinSet<()>,
) -> Vec<Arc<AttackTally>> {
    let mut tallies = Vec::new();
    macro_rules! attack {
        ($name:literal, $attack:path) => {
            if only.is_empty() || only.iter().any(|it| it == $name) {
                let tally = AttackTally::new($name);
                tasks.spawn($attack(squad.clone(), Arc::clone(&tally)));
                tallies.push(tally);
            }
        };
    }
    attack!("devices", accounts::devices);
    attack!("tokens", accounts::tokens);
    attack!("silent", sockets::silent);
    attack!("deaf", sockets::unreading_devices);
    attack!("tiny", sockets::tiny);
    attack!("own-entries", sockets::own_entries);
    attack!("greedy", sockets::greedy);
    attack!("pings", websocket::pings);
    attack!("history", rooms::history);
    attack!("rooms", rooms::many);
    attack!("group", groups::sends);
    attack!("hoard", calls::hoard);
    attack!("watches", calls::watches);
    attack!("cancels", calls::cancels);
    attack!("padded", calls::padded);
    attack!("uploads", files::uploads);
    tallies
}
