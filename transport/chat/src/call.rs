//! Commands that call the server. They run concurrently with the loop and change none of its state:
//! each returns an answer that the loop applies.

use std::time::Duration;

use gimlet_client::{ApiClient, ApiError, Client, MessageContent, MessageTarget, pb};
use tokio::time::timeout;

use crate::address_book::{AddressBook, NameLookup};
use crate::args::Args;
use crate::command::ChatCommand;
use crate::view::{and, explain};

/// Time that a subscription may take before the chat reports a delay.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(3);

/// The result of a command.
#[derive(Debug, Default)]
pub(crate) struct CommandAnswer {
    /// Lines to print.
    pub(crate) say: Vec<String>,
    /// Names that became known.
    pub(crate) names: AddressBook,
    /// The new receiver of typed lines, if the command changes it.
    pub(crate) talk_to: Option<MessageTarget>,
    /// A group that this user has left.
    pub(crate) left: Option<i64>,
    /// True if the account is signed out.
    pub(crate) signed_out: bool,
}

/// A copy of the state that a command needs, from the time it was typed.
pub(crate) struct CommandContext {
    pub(crate) args: Args,
    pub(crate) api: ApiClient,
    /// This user.
    pub(crate) me: i64,
    pub(crate) names: AddressBook,
    pub(crate) current: Option<MessageTarget>,
    pub(crate) client: Option<Client>,
}

type CommandResult = Result<(), String>;

impl CommandContext {
    /// Performs the command. An error is a line to print.
    pub(crate) async fn perform(mut self, command: ChatCommand) -> Result<CommandAnswer, String> {
        let mut answer = CommandAnswer::default();
        let done = match command {
            ChatCommand::Add(key) => self.add(&key, &mut answer).await,
            ChatCommand::Accept(key) => self.accept(&key, &mut answer).await,
            ChatCommand::To(key) => self.to(&key, &mut answer).await,
            ChatCommand::Friends => self.friends(&mut answer).await,
            ChatCommand::Groups => self.groups(&mut answer).await,
            ChatCommand::Create(name, members) => self.create(&name, &members, &mut answer).await,
            ChatCommand::Invite(people) => self.invite(&people, &mut answer).await,
            ChatCommand::Members => self.members(&mut answer).await,
            ChatCommand::Leave => self.leave(&mut answer).await,
            ChatCommand::Room(id) => self.room(id, &mut answer).await,
            ChatCommand::Follow(room, from) => self.follow(room, from, &mut answer).await,
            ChatCommand::Say(text) => self.say_in_room(&text).await,
            ChatCommand::SignOut => self.sign_out(&mut answer).await,
            ChatCommand::Help | ChatCommand::Offline | ChatCommand::Online | ChatCommand::Quit => {
                Ok(())
            }
        };
        done?;
        answer.names = self.names;
        Ok(answer)
    }

    /// Fetches the names of friends and groups.
    pub(crate) async fn learn(&mut self) -> CommandResult {
        let (friends, groups) = tokio::join!(self.api.friends(), self.api.groups());
        for friend in self.checked(friends)? {
            let shown = match friend.remarks.as_str() {
                "" => &friend.nickname,
                remarks => remarks,
            };
            self.names.learn_person(friend.user_id, shown);
        }
        for group in self.checked(groups)? {
            self.names.learn_group(group.group_id, &group.name);
        }
        Ok(())
    }

    fn checked<T>(&self, result: Result<T, ApiError>) -> Result<T, String> {
        result.map_err(|error| explain(&self.args, &error))
    }

    async fn add(&mut self, key: &str, answer: &mut CommandAnswer) -> CommandResult {
        let id = self.person(key).await?;
        let name = self.names.person(id);
        match self.api.add_friend(id, "hello").await {
            Ok(()) => answer.say.push(format!(
                "* asked {name} to be your friend; you can write to {name} already"
            )),
            Err(error) if error.code == 10_015 => {
                answer.say.push(format!("* {name} is your friend already"));
            }
            Err(error) => return Err(explain(&self.args, &error)),
        }
        answer.talk_to = Some(MessageTarget::User(id));
        Ok(())
    }

    /// Finds a person by name, label, number or phone number: first in the address book, then by a
    /// search.
    async fn person(&mut self, key: &str) -> Result<i64, String> {
        match self.names.find_person(key) {
            NameLookup::One(id) => return Ok(id),
            NameLookup::Several(labels) => return Err(several(key, &labels)),
            NameLookup::Nothing => {}
        }
        let found = self.checked(self.api.search_user(key).await)?;
        let others = found.into_iter().filter(|user| user.user_id != self.me);
        let others: Vec<_> = others.collect();
        for user in &others {
            self.names.learn_person(user.user_id, &user.nickname);
        }
        // A search also finds names that begin with the key; an exact match wins.
        let whole = |user: &&pb::User| user.nickname.to_lowercase() == key.to_lowercase();
        if let Some(user) = others.iter().find(whole)
            && others.iter().filter(whole).count() == 1
        {
            return Ok(user.user_id);
        }
        match others.as_slice() {
            [user] => Ok(user.user_id),
            [] => Err(format!(
                "no other user is called {key} or has that phone number: have they signed in \
                 once?"
            )),
            many => {
                let labels: Vec<_> = many.iter().map(|u| self.names.person(u.user_id)).collect();
                Err(several(key, &labels))
            }
        }
    }

    async fn accept(&mut self, key: &str, answer: &mut CommandAnswer) -> CommandResult {
        let id = self.person(key).await?;
        self.checked(self.api.agree(id).await)?;
        let name = self.names.person(id);
        answer.say.push(format!("* {name} is your friend now"));
        answer.talk_to = Some(MessageTarget::User(id));
        Ok(())
    }

    async fn to(&mut self, key: &str, answer: &mut CommandAnswer) -> CommandResult {
        if self.lookup(key)?.is_none() {
            self.learn().await?;
        }
        answer.talk_to = self.lookup(key)?;
        if answer.talk_to.is_none() {
            return Err(format!(
                "no friend or group is called {key}; /friends and /groups list yours"
            ));
        }
        Ok(())
    }

    /// Finds a receiver in the address book.
    fn lookup(&self, key: &str) -> Result<Option<MessageTarget>, String> {
        let group_first = key.starts_with("group ");
        match (self.names.find_person(key), self.names.find_group(key)) {
            (NameLookup::One(_), NameLookup::One(id)) if group_first => {
                Ok(Some(MessageTarget::Group(id)))
            }
            (NameLookup::One(id), _) if !group_first => Ok(Some(MessageTarget::User(id))),
            (_, NameLookup::One(id)) => Ok(Some(MessageTarget::Group(id))),
            (NameLookup::Several(labels), _) | (_, NameLookup::Several(labels)) => {
                Err(several(key, &labels))
            }
            _ => Ok(None),
        }
    }

    async fn friends(&mut self, answer: &mut CommandAnswer) -> CommandResult {
        let friends = self.checked(self.api.friends().await)?;
        self.learn().await?;
        let names: Vec<_> = friends
            .iter()
            .map(|f| self.names.person(f.user_id))
            .collect();
        answer.say.push(match names.as_slice() {
            [] => "* no friends yet: /add NAME or PHONE asks somebody".to_owned(),
            _ => format!("* your friends: {}", names.join(", ")),
        });
        Ok(())
    }

    async fn groups(&mut self, answer: &mut CommandAnswer) -> CommandResult {
        let groups = self.checked(self.api.groups().await)?;
        for group in &groups {
            self.names.learn_group(group.group_id, &group.name);
        }
        let named = groups.iter().map(|group| {
            let name = self.names.group(group.group_id);
            format!("{name} ({} members)", group.user_mum)
        });
        let named: Vec<_> = named.collect();
        answer.say.push(match named.as_slice() {
            [] => "* no groups yet: /group NAME: BOB, CAROL creates one".to_owned(),
            _ => format!("* your groups: {}", named.join(", ")),
        });
        Ok(())
    }

    async fn create(
        &mut self,
        name: &str,
        members: &[String],
        answer: &mut CommandAnswer,
    ) -> CommandResult {
        let ids = self.people(members).await?;
        let id = self.checked(self.api.create_group(name, &ids).await)?;
        self.names.learn_group(id, name);
        let people: Vec<_> = ids.iter().map(|id| self.names.person(*id)).collect();
        let (group, people) = (self.names.group(id), and(&people));
        answer.say.push(format!("* created {group} with {people}"));
        answer.talk_to = Some(MessageTarget::Group(id));
        Ok(())
    }

    async fn people(&mut self, keys: &[String]) -> Result<Vec<i64>, String> {
        let mut ids = Vec::new();
        for key in keys {
            ids.push(self.person(key).await?);
        }
        Ok(ids)
    }

    fn group(&self, what: &str) -> Result<i64, String> {
        match self.current {
            Some(MessageTarget::Group(id)) => Ok(id),
            _ => Err(format!(
                "/{what} is for a group: choose one first with /to NAME"
            )),
        }
    }

    async fn invite(&mut self, people: &[String], answer: &mut CommandAnswer) -> CommandResult {
        let group = self.group("invite")?;
        let ids = self.people(people).await?;
        self.checked(self.api.add_group_members(group, &ids).await)?;
        let people: Vec<_> = ids.iter().map(|id| self.names.person(*id)).collect();
        let (people, group) = (and(&people), self.names.group(group));
        answer.say.push(format!("* added {people} to {group}"));
        Ok(())
    }

    async fn members(&mut self, answer: &mut CommandAnswer) -> CommandResult {
        let group = self.group("members")?;
        let members = self.checked(self.api.group_members(group).await)?;
        for member in &members {
            self.names.learn_person(member.user_id, &member.nickname);
        }
        let named = members.iter().map(|member| match member.user_id {
            id if id == self.me => "you".to_owned(),
            id => self.names.person(id),
        });
        let named: Vec<_> = named.collect();
        let group = self.names.group(group);
        answer.say.push(format!("* in {group}: {}", and(&named)));
        Ok(())
    }

    async fn leave(&mut self, answer: &mut CommandAnswer) -> CommandResult {
        let group = self.group("leave")?;
        self.checked(self.api.remove_group_member(group, self.me).await)?;
        let name = self.names.group(group);
        answer.say.push(format!("* you left {name}"));
        answer.left = Some(group);
        Ok(())
    }

    async fn room(&mut self, id: i64, answer: &mut CommandAnswer) -> CommandResult {
        // From 1: messages kept from the last minutes come first.
        self.follow(id, 1, answer).await?;
        answer.talk_to = Some(MessageTarget::Room(id));
        Ok(())
    }

    async fn follow(&mut self, id: i64, from: i64, answer: &mut CommandAnswer) -> CommandResult {
        let Some(client) = &self.client else {
            return Err("you are offline; /online comes back".to_owned());
        };
        match timeout(SUBSCRIBE_WAIT, client.subscribe(id, from)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(crate::clean::clean(&error.to_string())),
            Err(_) => {
                let line = format!("* room {id} is followed as soon as the server answers");
                answer.say.push(line);
                Ok(())
            }
        }
    }

    async fn say_in_room(&mut self, text: &str) -> CommandResult {
        let Some(MessageTarget::Room(room)) = self.current else {
            return Ok(());
        };
        let content = MessageContent::text(text);
        self.checked(self.api.push_room(room, &content, true).await)
    }

    async fn sign_out(&mut self, answer: &mut CommandAnswer) -> CommandResult {
        // The account is deleted here even if the server does not answer.
        if let Err(error) = self.api.sign_out().await {
            answer
                .say
                .push(format!("* {}", explain(&self.args, &error)));
        }
        answer.signed_out = true;
        Ok(())
    }
}

fn several(key: &str, labels: &[String]) -> String {
    format!("several people or groups fit {key}: {}", labels.join(", "))
}
