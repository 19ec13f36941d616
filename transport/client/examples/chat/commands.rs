//! What a typed line does.

use std::time::Duration;

use gimlet_client::{Content, Draft, Receiver};
use tokio::time::timeout;

use crate::Outcome;
use crate::account;
use crate::shell::Shell;
use crate::view::{HELP, clean, person, say};

/// How long a command may wait for a connection before the chat goes on without it.
const MOMENT: Duration = Duration::from_secs(3);

/// The result of a command: what to say if it did not work.
type Done = Result<(), String>;

impl Shell {
    /// Does what a line says. Only what ends the chat is an error.
    pub(crate) async fn on_line(&mut self, line: &str) -> Outcome {
        if line.is_empty() {
            return Ok(());
        }
        let Some(command) = line.strip_prefix('/') else {
            if let Err(why) = self.write(line) {
                say(&format!("* {why}"));
            }
            return Ok(());
        };
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        let done = match word {
            "help" | "h" | "?" => {
                say(HELP);
                Ok(())
            }
            "add" => self.add(rest).await,
            "agree" => self.agree(rest).await,
            "friends" => self.friends().await,
            "to" => self.to(rest).await,
            "group" => self.create_group(rest).await,
            "groups" => self.list_groups().await,
            "room" => self.join(rest).await,
            "say" => self.say_in_room(rest).await,
            "offline" => {
                self.go_offline().await;
                say("* offline: /online to come back");
                Ok(())
            }
            "online" => return self.come_back().await,
            "signout" => return self.sign_out().await,
            "quit" | "q" => {
                self.done = true;
                Ok(())
            }
            other => Err(format!("there is no /{other}: /help says what there is")),
        };
        if let Err(why) = done {
            say(&format!("* {why}"));
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Done {
        let to = self
            .current
            .ok_or("nobody to talk to yet: /add PHONE, or /to NAME")?;
        let mut draft = Draft::new(to, Content::text(text));
        draft.id = Some(uuid::Uuid::now_v7().to_string());
        self.outbox.push_back(draft);
        if self.online.is_none() {
            say("* offline: it is sent when you are /online");
        }
        Ok(())
    }

    async fn add(&mut self, key: &str) -> Done {
        let id = self.find(key).await?;
        match self.api.add_friend(id, "hello").await {
            Ok(()) => say(&format!("* asked {} to be your friend", self.name(id))),
            Err(error) if error.code == 10_015 => say("* you are friends already"),
            Err(error) => return Err(account::explain(&self.args, &error)),
        }
        self.talk_to(Receiver::User(id));
        Ok(())
    }

    /// A user by id, phone number or name. Ids are short, phone numbers are not.
    async fn find(&mut self, key: &str) -> Result<i64, String> {
        if let Some(id) = key.parse().ok().filter(|_| key.len() < 7) {
            return Ok(id);
        }
        if key.is_empty() {
            return Err("say whom: /add PHONE".to_owned());
        }
        let found = self.api.search_user(key).await;
        let mut found = found.map_err(|error| account::explain(&self.args, &error))?;
        found.retain(|user| user.user_id != self.who.user_id);
        for user in &found {
            let name = person(&user.nickname, user.user_id);
            self.names.insert(user.user_id, name);
        }
        match found.as_slice() {
            [user] => Ok(user.user_id),
            [] => Err(format!("nobody else has {key}: did they sign in once?")),
            many => {
                let ids = many
                    .iter()
                    .map(|user| format!("{} (/add {})", self.name(user.user_id), user.user_id));
                let ids: Vec<_> = ids.collect();
                Err(format!("several fit: {}", ids.join(", ")))
            }
        }
    }

    async fn agree(&mut self, id: &str) -> Done {
        let id: i64 = id.parse().map_err(|_| "say whom by number: /agree 1")?;
        let agreed = self.api.agree(id).await;
        agreed.map_err(|error| account::explain(&self.args, &error))?;
        say(&format!("* {} is your friend now", self.name(id)));
        self.talk_to(Receiver::User(id));
        Ok(())
    }

    /// Learns the friends' names; gives (id, name) of each.
    async fn known_friends(&mut self) -> Result<Vec<(i64, String)>, String> {
        let friends = self.api.friends().await;
        let friends = friends.map_err(|error| account::explain(&self.args, &error))?;
        let named = friends.iter().map(|friend| {
            let shown = match friend.remarks.as_str() {
                "" => &friend.nickname,
                remarks => remarks,
            };
            (friend.user_id, person(shown, friend.user_id))
        });
        let named: Vec<_> = named.collect();
        self.names.extend(named.iter().cloned());
        Ok(named)
    }

    async fn friends(&mut self) -> Done {
        let friends = self.known_friends().await?;
        if friends.is_empty() {
            say("* no friends yet: /add PHONE");
        }
        for (id, name) in friends {
            say(&format!("* friend {id}: {name}"));
        }
        Ok(())
    }

    async fn to(&mut self, whom: &str) -> Done {
        if let Some(group) = whom.strip_prefix("g:") {
            let id = group
                .parse()
                .map_err(|_| "say the group's number: /to g:1")?;
            self.known_groups().await?;
            if !self.groups.contains_key(&id) {
                return Err(format!("you are in no group g:{id}: /groups lists yours"));
            }
            self.talk_to(Receiver::Group(id));
            return Ok(());
        }
        if let Ok(id) = whom.parse::<i64>() {
            self.talk_to(Receiver::User(id));
            return Ok(());
        }
        let friends = self.known_friends().await?;
        let fits = |name: &String| name.to_lowercase() == whom.to_lowercase();
        let friend = friends
            .iter()
            .find(|(_, name)| fits(name))
            .map(|(id, _)| *id);
        let others = || {
            self.names
                .iter()
                .find(|(_, name)| fits(name))
                .map(|(id, _)| *id)
        };
        let id = friend
            .or_else(others)
            .ok_or_else(|| format!("no friend is called \"{whom}\": /friends lists yours"))?;
        self.talk_to(Receiver::User(id));
        Ok(())
    }

    async fn create_group(&mut self, rest: &str) -> Done {
        let usage = "say a name and the members' numbers: /group team 2,3";
        let (name, ids) = rest.rsplit_once(' ').ok_or(usage)?;
        let ids: Result<Vec<i64>, _> = ids.split(',').map(str::parse).collect();
        let created = self
            .api
            .create_group(name.trim(), &ids.map_err(|_| usage)?)
            .await;
        let id = created.map_err(|error| account::explain(&self.args, &error))?;
        self.groups.insert(id, clean(name.trim()));
        say(&format!("* group g:{id} {} is there", clean(name.trim())));
        self.talk_to(Receiver::Group(id));
        Ok(())
    }

    async fn known_groups(&mut self) -> Result<Vec<(i64, i32)>, String> {
        let groups = self.api.groups().await;
        let groups = groups.map_err(|error| account::explain(&self.args, &error))?;
        for group in &groups {
            self.groups.insert(group.group_id, clean(&group.name));
        }
        Ok(groups
            .iter()
            .map(|group| (group.group_id, group.user_mum))
            .collect())
    }

    async fn list_groups(&mut self) -> Done {
        let groups = self.known_groups().await?;
        if groups.is_empty() {
            say("* no groups yet: /group NAME IDS");
        }
        for (id, members) in groups {
            let name = self.groups.get(&id).map_or("", |name| name);
            say(&format!("* group g:{id}: {name} ({members} members)"));
        }
        Ok(())
    }

    async fn join(&mut self, id: &str) -> Done {
        let id: i64 = id.parse().map_err(|_| "say the room's number: /room 1")?;
        let (client, _) = self.online.as_ref().ok_or("offline: /online first")?;
        // 1: also what is kept from the last minutes.
        let joined = timeout(MOMENT, client.subscribe(id, 1)).await;
        self.room = Some((id, 1));
        match joined {
            Ok(Ok(())) => say(&format!("* in room {id}: /say TEXT writes to it")),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => say(&format!("* in room {id} as soon as there is a connection")),
        }
        Ok(())
    }

    async fn say_in_room(&mut self, text: &str) -> Done {
        let (room, _) = self.room.ok_or("no room yet: /room 1")?;
        if text.is_empty() {
            return Err("say what: /say hello".to_owned());
        }
        let pushed = self.api.push_room(room, &Content::text(text), true).await;
        pushed.map_err(|error| account::explain(&self.args, &error))
    }

    async fn come_back(&mut self) -> Outcome {
        if self.online.is_some() {
            say("* you are online");
            return Ok(());
        }
        self.go_online().await?;
        if let (Some((room, next)), Some((client, _))) = (self.room, &self.online) {
            let joined = timeout(MOMENT, client.subscribe(room, next)).await;
            if let Ok(Err(error)) = joined {
                say(&format!("* room {room}: {error}"));
            }
        }
        Ok(())
    }

    async fn sign_out(&mut self) -> Outcome {
        self.go_offline().await;
        if let Err(error) = self.api.sign_out().await {
            say(&format!("* {}", account::explain(&self.args, &error)));
        }
        account::forget(&self.args)?;
        say("* signed out");
        self.done = true;
        Ok(())
    }
}
