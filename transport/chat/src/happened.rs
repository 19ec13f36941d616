//! Shows events of the connection in the chat.

use gimlet_client::{Event, Inbound, Push, Receiver, Sender};

use crate::Outcome;
use crate::shell::{Connection, Shell};
use crate::view::{age, and, clean, message, reason};

impl Shell<'_> {
    /// Shows an event, after the name of its group was looked up if that is not known yet. The
    /// lookup runs beside the loop, because the server may take seconds to answer.
    pub(crate) async fn take_event(&mut self, event: Event) -> Outcome {
        if group_of(&event).is_some_and(|id| !self.names.knows_group(id)) {
            let api = self.api.clone();
            self.learning = Some(Box::pin(async move {
                // Without an answer the group is shown by number.
                let groups = api.groups().await.unwrap_or_default();
                let named = groups.into_iter().map(|it| (it.group_id, it.name));
                named.collect()
            }));
            self.held = Some(event);
            return Ok(());
        }
        self.on_event(event).await
    }

    /// Learns the names that were looked up, and shows the event that waited for them.
    pub(crate) async fn on_groups(&mut self, groups: Vec<(i64, String)>) -> Outcome {
        self.learning = None;
        for (id, name) in groups {
            self.names.learn_group(id, &name);
        }
        match self.held.take() {
            Some(event) => self.on_event(event).await,
            None => Ok(()),
        }
    }

    /// Shows an event and updates the state of the chat.
    async fn on_event(&mut self, event: Event) -> Outcome {
        match event {
            Event::Connected { .. } => {
                self.renewed = false;
                self.connection = Connection::CatchingUp;
            }
            Event::CaughtUp { .. } => self.on_caught_up(),
            Event::Message(inbound) | Event::Live(inbound) | Event::Room(inbound) => {
                self.on_message(&inbound);
            }
            Event::Broadcast(inbound) => {
                let line = message(&inbound, &self.names, None);
                self.tell(line);
            }
            Event::Push(inbound, push) => self.on_push(&inbound, push),
            Event::Disconnected { reason, .. } => self.on_disconnected(&reason),
            Event::HistoryChanged { .. } => {
                self.say("* the server's history was replaced; the messages it has come again");
            }
            Event::Trimmed { .. } => {
                self.say("* some messages are too old: the server no longer has them");
            }
            Event::Missed { count } => {
                self.say(&format!(
                    "* {count} messages that the server does not keep were skipped"
                ));
            }
            Event::Superseded => {
                self.say("* your account was opened in another window, so this one ends");
                self.done = true;
            }
            // The server does not know the account, for example one with in-memory storage after a
            // restart.
            Event::SignedOut { code: 10_000, .. } if !self.renewed => {
                self.go_offline().await;
                self.sign_in_again().await?;
                self.introduce().await?;
                self.go_online().await?;
            }
            Event::SignedOut { message, .. } | Event::TurnedAway { message, .. } => {
                self.say(&format!(
                    "* the server ended the connection: {}",
                    clean(&message)
                ));
                self.done = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Prints a line at once, or after the missed messages while those are still arriving.
    fn tell(&mut self, line: String) {
        if self.connection == Connection::CatchingUp {
            self.missed.push(line);
        } else {
            self.say(&line);
        }
    }

    fn on_caught_up(&mut self) {
        self.show_missed();
        self.connection = Connection::Live;
        let words = if self.returning {
            "* the server is back; you are up to date"
        } else {
            "* connected; you are up to date"
        };
        self.returning = true;
        self.say(words);
    }

    fn on_disconnected(&mut self, why: &str) {
        self.show_missed();
        // Printed once per outage, not once per attempt.
        if self.connection == Connection::Away {
            return;
        }
        self.connection = Connection::Away;
        self.say(&format!(
            "* the server is away ({}); trying again, and what you type is sent when it is back",
            reason(why)
        ));
    }

    fn on_message(&mut self, inbound: &Inbound) {
        if let (Some((room, next)), Receiver::Room(id)) = (&mut self.room, inbound.receiver)
            && *room == id
        {
            *next = inbound.seq.saturating_add(1);
        }
        if let Sender::User { id, nickname, .. } = &inbound.sender {
            self.names.learn_person(*id, nickname);
        }
        // A line that was typed here is on the screen already.
        if inbound.own_device && matches!(inbound.receiver, Receiver::Room(_)) {
            return;
        }
        let shown = match self.connection {
            Connection::CatchingUp => age(inbound),
            _ => None,
        };
        let line = message(inbound, &self.names, shown);
        self.tell(line);
        match (&inbound.sender, inbound.receiver) {
            (Sender::User { id, .. }, Receiver::User(_)) if !inbound.own => {
                self.suggest(Receiver::User(*id));
            }
            (_, Receiver::Group(id)) => self.suggest(Receiver::Group(id)),
            _ => {}
        }
    }

    fn on_push(&mut self, inbound: &Inbound, push: Push) {
        let group = match inbound.receiver {
            Receiver::Group(id) => Some(id),
            _ => None,
        };
        let line = match push {
            Push::FriendRequest(who) => {
                self.names.learn_person(who.friend_id, &who.nickname);
                let name = self.names.person(who.friend_id);
                let words = match clean(&who.description) {
                    words if words.trim().is_empty() => String::new(),
                    words => format!(" (\"{words}\")"),
                };
                format!("* {name} asks to be your friend{words}: /accept {name}")
            }
            Push::FriendAgreed(who) => {
                self.names.learn_person(who.friend_id, &who.nickname);
                let name = self.names.person(who.friend_id);
                self.suggest(Receiver::User(who.friend_id));
                format!("* {name} is your friend now")
            }
            Push::GroupUpdated(change) => {
                let Some(id) = group else { return };
                let before = self.names.group(id);
                self.names.learn_group(id, &change.name);
                let (by, after) = (
                    self.somebody(change.opt_id, &change.opt_name),
                    self.names.group(id),
                );
                if before == after {
                    format!("* {by} changed the group {after}")
                } else {
                    format!("* {by} renamed the group {before} to {after}")
                }
            }
            Push::MembersAdded(added) => {
                let by = self.somebody(added.opt_id, &added.opt_name);
                let members: Vec<_> = added
                    .members
                    .iter()
                    .map(|member| self.somebody(member.user_id, &member.nickname))
                    .collect();
                let group = group.map_or_else(String::new, |id| self.names.group(id));
                format!("* {by} added {} to the group {group}", and(&members))
            }
            Push::MemberRemoved(removed) => {
                let by = self.somebody(removed.opt_id, &removed.opt_name);
                let whom = self.somebody(removed.deleted_user_id, "");
                let group = group.map_or_else(String::new, |id| self.names.group(id));
                if by == whom {
                    format!("* {by} left the group {group}")
                } else {
                    format!("* {by} removed {whom} from the group {group}")
                }
            }
            _ => return,
        };
        self.tell(line);
    }

    /// Returns the name of a person for a sentence about a group.
    fn somebody(&mut self, id: i64, name: &str) -> String {
        self.names.learn_person(id, name);
        if id == self.who.user_id {
            "you".to_owned()
        } else {
            self.names.person(id)
        }
    }

    /// Makes `to` the receiver if none was chosen yet.
    fn suggest(&mut self, to: Receiver) {
        if self.current.is_none() {
            self.talk_to(to);
        }
    }
}

/// Returns the group that an event is about.
const fn group_of(event: &Event) -> Option<i64> {
    match event {
        Event::Message(inbound) | Event::Live(inbound) | Event::Push(inbound, _) => {
            match inbound.receiver {
                Receiver::Group(id) => Some(id),
                _ => None,
            }
        }
        _ => None,
    }
}
