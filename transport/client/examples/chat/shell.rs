//! The loop: what comes from the server, what is typed, and what is on its way.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use gimlet_client::{
    Api, Client, Content, Credentials, Draft, Error as SendError, Event, Events, FileCursor,
    Inbound, Options, Push, Receiver, Sender, Sent,
};
use tokio::sync::mpsc;

use crate::Outcome;
use crate::account;
use crate::args::Args;
use crate::view::{self, person, say};

type Sending = Pin<Box<dyn Future<Output = Result<Sent, SendError>> + Send>>;

/// Everything the chat knows.
pub(crate) struct Shell {
    pub(crate) args: Args,
    pub(crate) who: Credentials,
    pub(crate) api: Api,
    pub(crate) online: Option<(Client, Events)>,
    /// Whom typed lines go to.
    pub(crate) current: Option<Receiver>,
    /// The room, and the first of its messages not seen yet.
    pub(crate) room: Option<(i64, i64)>,
    pub(crate) names: HashMap<i64, String>,
    pub(crate) groups: HashMap<i64, String>,
    /// Lines that are not stored yet, in order, each with its id.
    pub(crate) outbox: VecDeque<Draft>,
    sending: Option<Sending>,
    pub(crate) done: bool,
    /// Whether the account was just made anew, and no connection has accepted it yet.
    renewed: bool,
    last_trouble: String,
}

impl Shell {
    /// Signs in, or takes the account kept from last time, and connects.
    pub(crate) async fn start(args: Args) -> Outcome<Self> {
        args.endpoint()?;
        let mut nobody = Api::new(&args.grpc)?;
        if let Some(business) = &args.business {
            nobody = nobody.with_business(business)?;
        }
        let who = account::open(&args, &nobody).await?;
        let mut shell = Self {
            api: nobody.signed_in(who.clone()),
            args,
            who,
            online: None,
            current: None,
            room: None,
            names: HashMap::new(),
            groups: HashMap::new(),
            outbox: VecDeque::new(),
            sending: None,
            done: false,
            renewed: false,
            last_trouble: String::new(),
        };
        shell.introduce().await?;
        shell.go_online().await?;
        Ok(shell)
    }

    /// Says who this is. A server that has forgotten the account is signed in to anew; one that
    /// is away is waited for.
    async fn introduce(&mut self) -> Outcome {
        let mut name = account::name(&self.args, &self.api).await;
        if name.as_ref().is_err_and(|error| error.code == 10_000) {
            self.sign_in_again().await?;
            name = account::name(&self.args, &self.api).await;
        }
        match name {
            Ok(name) => {
                let id = self.who.user_id;
                say(&format!("* you are {} (user {id})", person(&name, id)));
            }
            Err(error) => say(&format!("* {}", account::explain(&self.args, &error))),
        }
        say("* /help says what can be typed");
        Ok(())
    }

    async fn sign_in_again(&mut self) -> Outcome {
        self.who = account::sign_in(&self.args, &self.api).await?;
        self.renewed = true;
        self.api = self.api.signed_in(self.who.clone());
        Ok(())
    }

    /// Connects, from where the last connection stopped.
    pub(crate) async fn go_online(&mut self) -> Outcome {
        let cursor = FileCursor::new(account::file(&self.args, "cursor")?);
        let mut options = Options::new(self.args.endpoint()?, self.who.clone()).cursor(cursor);
        options.deadline = Duration::from_mins(1);
        options.backoff_cap = Duration::from_secs(3);
        self.online = Some(Client::connect(options).await?);
        Ok(())
    }

    /// Disconnects. A line on its way keeps its id and is sent again later.
    pub(crate) async fn go_offline(&mut self) {
        if let Some((client, _)) = self.online.take() {
            client.close().await;
        }
        self.sending = None;
    }

    /// Runs until /quit, the end of the input, or a terminal event.
    pub(crate) async fn run(&mut self) -> Outcome {
        let mut lines = view::lines();
        let mut typing = true;
        while !self.done {
            self.send_next();
            if !typing && (self.outbox.is_empty() || self.online.is_none()) {
                break;
            }
            tokio::select! {
                biased;
                event = next_event(&mut self.online) => match event {
                    Some(event) => self.on_event(event).await?,
                    None => self.online = None,
                },
                result = finished(&mut self.sending) => self.on_sent(result),
                line = next_line(&mut lines, typing) => match line {
                    Some(line) => self.on_line(line.trim()).await?,
                    None => typing = false,
                },
            }
        }
        self.go_offline().await;
        for draft in &self.outbox {
            say(&format!("* not sent: {}", text_of(draft)));
        }
        Ok(())
    }

    /// Starts the oldest line on its way: one at a time, so that they stay in order.
    fn send_next(&mut self) {
        if let (None, Some((client, _)), Some(draft)) =
            (&self.sending, &self.online, self.outbox.front())
        {
            let (client, draft) = (client.clone(), draft.clone());
            self.sending = Some(Box::pin(async move { client.send_draft(draft).await }));
        }
    }

    fn on_sent(&mut self, result: Result<Sent, SendError>) {
        self.sending = None;
        let line = self.outbox.front().map_or_else(String::new, text_of);
        match result {
            Ok(sent) => {
                self.outbox.pop_front();
                if self.args.receipts {
                    say(&format!("* sent #{}: {line}", sent.seq));
                }
            }
            Err(SendError::Deadline { .. }) => say(&format!("* still not sent: {line}")),
            Err(SendError::Closed) => {}
            Err(error) => {
                self.outbox.pop_front();
                say(&format!("* not sent: {line}: {error}"));
            }
        }
    }

    async fn on_event(&mut self, event: Event) -> Outcome {
        match event {
            Event::Connected { .. } => {
                self.renewed = false;
                self.last_trouble.clear();
                say("* connected");
            }
            Event::CaughtUp { .. } => say("* up to date"),
            Event::Message(message) | Event::Live(message) | Event::Room(message) => {
                self.show(&message).await;
            }
            Event::Broadcast(message) => say(&view::message(&message, "all")),
            Event::Push(message, push) => self.on_push(&message, push).await,
            Event::Disconnected { reason, .. } if reason != self.last_trouble => {
                say(&format!("* not connected: {reason}; trying again"));
                self.last_trouble = reason;
            }
            Event::HistoryChanged { .. } => {
                say("* the server's history was replaced: starting over");
            }
            Event::Trimmed { up_to } => say(&format!("* older messages are gone, up to #{up_to}")),
            Event::Missed { count } => say(&format!("* {count} room messages were skipped")),
            Event::Superseded => {
                say("* this account is open in another window now; this one ends");
                self.done = true;
            }
            // A server that lost its accounts, such as one in memory that was restarted.
            Event::SignedOut { code: 10_000, .. } if !self.renewed => {
                self.go_offline().await;
                self.sign_in_again().await?;
                if let Err(error) = account::name(&self.args, &self.api).await {
                    say(&format!("* {}", account::explain(&self.args, &error)));
                }
                self.go_online().await?;
            }
            Event::SignedOut { message, .. } | Event::TurnedAway { message, .. } => {
                say(&format!("* the server ended it: {}", view::clean(&message)));
                self.done = true;
            }
            _ => {}
        }
        Ok(())
    }

    async fn on_push(&mut self, message: &Inbound, push: Push) {
        let group = match message.receiver {
            Receiver::Group(id) => self.group(id).await,
            _ => String::new(),
        };
        match push {
            Push::FriendRequest(who) => {
                let (id, name) = (who.friend_id, person(&who.nickname, who.friend_id));
                say(&format!("* {name} asks to be your friend: /agree {id}"));
                self.names.insert(id, name);
            }
            Push::FriendAgreed(who) => {
                let (id, name) = (who.friend_id, person(&who.nickname, who.friend_id));
                say(&format!("* {name} is your friend now"));
                self.names.insert(id, name);
                self.suggest(Receiver::User(id));
            }
            Push::GroupUpdated(change) => {
                if let Receiver::Group(id) = message.receiver {
                    self.groups.insert(id, view::clean(&change.name));
                    say(&format!(
                        "* group g:{id} is {} now",
                        view::clean(&change.name)
                    ));
                }
            }
            Push::MembersAdded(added) => {
                let by = person(&added.opt_name, added.opt_id);
                let members = added.members.iter();
                let names: Vec<_> = members.map(|m| person(&m.nickname, m.user_id)).collect();
                say(&format!("* {by} added {} to {group}", names.join(", ")));
            }
            Push::MemberRemoved(removed) => {
                let by = person(&removed.opt_name, removed.opt_id);
                let id = removed.deleted_user_id;
                let name = self.names.get(&id).cloned();
                let name = name.unwrap_or_else(|| format!("user {id}"));
                say(&format!("* {by} removed {name} from {group}"));
            }
            _ => {}
        }
    }

    async fn show(&mut self, message: &Inbound) {
        if let (Some((room, next)), Receiver::Room(id)) = (&mut self.room, message.receiver)
            && *room == id
        {
            *next = message.seq.saturating_add(1);
        }
        if let Sender::User { id, nickname, .. } = &message.sender {
            self.names.insert(*id, person(nickname, *id));
        }
        let place = match message.receiver {
            Receiver::Group(id) => self.group(id).await,
            Receiver::Room(id) => format!("room {id}"),
            Receiver::User(id) => self.name(id),
            _ => String::new(),
        };
        say(&view::message(message, &place));
        match (&message.sender, message.receiver) {
            (Sender::User { id, .. }, Receiver::User(_)) if !message.own => {
                self.suggest(Receiver::User(*id));
            }
            (_, Receiver::Group(id)) => self.suggest(Receiver::Group(id)),
            _ => {}
        }
    }

    /// Talks to `to` if nobody was chosen yet.
    fn suggest(&mut self, to: Receiver) {
        if self.current.is_none() {
            self.talk_to(to);
        }
    }

    /// Sends typed lines to `to` from now on.
    pub(crate) fn talk_to(&mut self, to: Receiver) {
        self.current = Some(to);
        let name = match to {
            Receiver::User(id) => self.name(id),
            Receiver::Group(id) => format!("g:{id} {}", self.groups.get(&id).map_or("", |n| n)),
            _ => return,
        };
        say(&format!("* now talking to {}", name.trim_end()));
    }

    pub(crate) fn name(&self, id: i64) -> String {
        let known = self.names.get(&id).cloned();
        known.unwrap_or_else(|| format!("user {id}"))
    }

    /// A group's id and name, asked for once.
    async fn group(&mut self, id: i64) -> String {
        if !self.groups.contains_key(&id)
            && let Ok(groups) = self.api.groups().await
        {
            for group in groups {
                self.groups.insert(group.group_id, view::clean(&group.name));
            }
        }
        let name = self.groups.get(&id).map_or("", |name| name);
        format!("g:{id} {name}").trim_end().to_owned()
    }
}

fn text_of(draft: &Draft) -> String {
    match &draft.content {
        Content::Text(text) => view::clean(text),
        _ => String::new(),
    }
}

async fn next_event(online: &mut Option<(Client, Events)>) -> Option<Event> {
    match online {
        Some((_, events)) => events.next().await,
        None => pending().await,
    }
}

async fn finished(sending: &mut Option<Sending>) -> Result<Sent, SendError> {
    match sending {
        Some(work) => work.await,
        None => pending().await,
    }
}

async fn next_line(lines: &mut mpsc::Receiver<String>, typing: bool) -> Option<String> {
    if typing {
        lines.recv().await
    } else {
        pending().await
    }
}
