//! Shows events of the connection in the chat.

use gimlet_client::{ClientEvent, MessageSender, MessageTarget, ReceivedMessage, SystemPush};

use crate::clean::clean;
use crate::result::ChatResult;
use crate::shell::{ChatShell, ConnectionState};
use crate::view::{age, and, message, reason};

impl ChatShell<'_> {
    /// Shows an event, after the name of its group was looked up if that is not known yet. The
    /// lookup runs beside the loop, because the server may take seconds to answer.
    pub(crate) async fn take_event(&mut self, event: ClientEvent) -> ChatResult {
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
    pub(crate) async fn on_groups(&mut self, groups: Vec<(i64, String)>) -> ChatResult {
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
    async fn on_event(&mut self, event: ClientEvent) -> ChatResult {
        match event {
            ClientEvent::Connected { .. } => {
                self.renewed = false;
                self.connection = ConnectionState::CatchingUp;
            }
            ClientEvent::CaughtUp { .. } => self.on_caught_up(),
            ClientEvent::Message(inbound)
            | ClientEvent::Live(inbound)
            | ClientEvent::Room(inbound) => {
                self.on_message(&inbound);
            }
            ClientEvent::Broadcast(inbound) => {
                let line = message(&inbound, &self.names, None);
                self.tell(line);
            }
            ClientEvent::Push(inbound, push) => self.on_push(&inbound, push),
            ClientEvent::Disconnected { reason, .. } => self.on_disconnected(&reason),
            ClientEvent::HistoryChanged { .. } => {
                self.say("* the server's history was replaced; the messages it has come again");
            }
            ClientEvent::Trimmed { .. } => {
                self.say("* some messages are too old: the server no longer has them");
            }
            ClientEvent::Missed { count } => {
                self.say(&format!(
                    "* {count} messages that the server does not keep were skipped"
                ));
            }
            ClientEvent::Superseded => {
                self.say("* your account was opened in another window, so this one ends");
                self.done = true;
            }
            // The server does not know the account, for example one with in-memory storage after a
            // restart.
            ClientEvent::SignedOut { code: 10_000, .. } if !self.renewed => {
                self.go_offline().await;
                self.sign_in_again().await?;
                self.introduce().await?;
                self.go_online().await?;
            }
            ClientEvent::SignedOut { message, .. } | ClientEvent::TurnedAway { message, .. } => {
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
        if self.connection == ConnectionState::CatchingUp {
            self.missed.push(line);
        } else {
            self.say(&line);
        }
    }

    fn on_caught_up(&mut self) {
        self.show_missed();
        self.connection = ConnectionState::Live;
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
        if self.connection == ConnectionState::Away {
            return;
        }
        self.connection = ConnectionState::Away;
        self.say(&format!(
            "* the server is away ({}); trying again, and what you type is sent when it is back",
            reason(why)
        ));
    }

    fn on_message(&mut self, inbound: &ReceivedMessage) {
        if let (Some((room, next)), MessageTarget::Room(id)) = (&mut self.room, inbound.receiver)
            && *room == id
        {
            *next = inbound.seq.saturating_add(1);
        }
        if let MessageSender::User { id, nickname, .. } = &inbound.sender {
            self.names.learn_person(*id, nickname);
        }
        // A line that was typed here is on the screen already.
        if inbound.own_device && matches!(inbound.receiver, MessageTarget::Room(_)) {
            return;
        }
        let shown = match self.connection {
            ConnectionState::CatchingUp => age(inbound),
            _ => None,
        };
        let line = message(inbound, &self.names, shown);
        self.tell(line);
        match (&inbound.sender, inbound.receiver) {
            (MessageSender::User { id, .. }, MessageTarget::User(_)) if !inbound.own => {
                self.suggest(MessageTarget::User(*id));
            }
            (_, MessageTarget::Group(id)) => self.suggest(MessageTarget::Group(id)),
            _ => {}
        }
    }

    fn on_push(&mut self, inbound: &ReceivedMessage, push: SystemPush) {
        let group = match inbound.receiver {
            MessageTarget::Group(id) => Some(id),
            _ => None,
        };
        let line = match push {
            SystemPush::FriendRequest(who) => {
                self.names.learn_person(who.friend_id, &who.nickname);
                let name = self.names.person(who.friend_id);
                let words = match clean(&who.description) {
                    words if words.trim().is_empty() => String::new(),
                    words => format!(" (\"{words}\")"),
                };
                format!("* {name} asks to be your friend{words}: /accept {name}")
            }
            SystemPush::FriendAgreed(who) => {
                self.names.learn_person(who.friend_id, &who.nickname);
                let name = self.names.person(who.friend_id);
                self.suggest(MessageTarget::User(who.friend_id));
                format!("* {name} is your friend now")
            }
            SystemPush::GroupUpdated(change) => {
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
            SystemPush::MembersAdded(added) => {
                let by = self.somebody(added.opt_id, &added.opt_name);
                let members: Vec<_> = added
                    .members
                    .iter()
                    .map(|member| self.somebody(member.user_id, &member.nickname))
                    .collect();
                let group = group.map_or_else(String::new, |id| self.names.group(id));
                format!("* {by} added {} to the group {group}", and(&members))
            }
            SystemPush::MemberRemoved(removed) => {
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
    fn suggest(&mut self, to: MessageTarget) {
        if self.current.is_none() {
            self.talk_to(to);
        }
    }
}

/// Returns the group that an event is about.
const fn group_of(event: &ClientEvent) -> Option<i64> {
    match event {
        ClientEvent::Message(inbound)
        | ClientEvent::Live(inbound)
        | ClientEvent::Push(inbound, _) => match inbound.receiver {
            MessageTarget::Group(id) => Some(id),
            _ => None,
        },
        _ => None,
    }
}
