//! The loop of the chat: server events, typed lines and pending work.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use gimlet_client::{
    ApiClient, Client, ClientError as SendError, ClientEvent, ClientOptions, DeviceCredentials,
    EventStream, FileCursor, MessageContent, MessageDraft, MessageTarget, SendReceipt,
    TrustedRoots,
};
use tokio::time::{Instant, sleep_until};

use crate::account;
use crate::address_book::AddressBook;
use crate::args::Args;
use crate::call::{CommandAnswer, CommandContext};
use crate::clean::clean;
use crate::command::{ChatCommand, HELP};
use crate::missed_lines::MissedLines;
use crate::result::ChatResult;
use crate::terminal::{ChatTerminal, UserInput};
use crate::view::explain;

type PendingSend = Pin<Box<dyn Future<Output = Result<SendReceipt, SendError>> + Send>>;
type PendingCall = Pin<Box<dyn Future<Output = Result<CommandAnswer, String>> + Send>>;
/// A lookup of this user's groups, by id and name.
type PendingGroupNames = Pin<Box<dyn Future<Output = Vec<(i64, String)>> + Send>>;

/// Time that a message may be pending before the chat reports a delay.
const SLOW_SEND_AFTER: Duration = Duration::from_secs(3);
/// Time between heartbeats: a hanging server is noticed within this and [`ANSWER_TIMEOUT`].
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// Silence, while an answer is due, after which the server counts as unreachable.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the connection, as the prompt shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// Connecting for the first time.
    Connecting,
    /// Connected; missed messages are arriving.
    CatchingUp,
    /// Connected and up to date.
    Live,
    /// The server cannot be reached.
    Away,
    /// The user disconnected.
    Offline,
}

/// The state of the chat.
pub(crate) struct ChatShell<'a> {
    pub(crate) args: Args,
    trust: TrustedRoots,
    pub(crate) who: DeviceCredentials,
    pub(crate) api: ApiClient,
    pub(crate) terminal: &'a mut ChatTerminal,
    online: Option<(Client, EventStream)>,
    pub(crate) connection: ConnectionState,
    /// True if there was a connection before.
    pub(crate) returning: bool,
    /// The receiver of typed lines.
    pub(crate) current: Option<MessageTarget>,
    /// The followed room, and the first of its messages not seen yet.
    pub(crate) room: Option<(i64, i64)>,
    pub(crate) names: AddressBook,
    pub(crate) missed: MissedLines,
    /// Lines that are not stored yet, in order; each has an id.
    outbox: VecDeque<MessageDraft>,
    pending_send: Option<PendingSend>,
    /// Time at which the pending message counts as slow; `None` once that was reported.
    slow_at: Option<Instant>,
    /// Commands that were typed while another one was running.
    commands: VecDeque<ChatCommand>,
    calling: Option<PendingCall>,
    /// The event that waits for the name of its group, and the lookup of that name. The events
    /// after it wait as well.
    pub(crate) held: Option<ClientEvent>,
    pub(crate) learning: Option<PendingGroupNames>,
    pub(crate) done: bool,
    /// True if the account was just created again and no connection has accepted it yet.
    pub(crate) renewed: bool,
}

impl<'a> ChatShell<'a> {
    /// Signs in, or uses the stored account, and connects.
    pub(crate) async fn start(args: Args, terminal: &'a mut ChatTerminal) -> ChatResult<Self> {
        args.endpoint()?;
        let trust = args.trust()?;
        let mut nobody = ApiClient::with_trust(&args.grpc, &trust)?;
        if let Some(business) = &args.business {
            nobody = nobody.with_business(business)?;
        }
        let who = account::open(&args, &nobody).await?;
        let mut shell = Self {
            api: nobody.signed_in(who.clone()),
            args,
            trust,
            who,
            terminal,
            online: None,
            connection: ConnectionState::Connecting,
            returning: false,
            current: None,
            room: None,
            names: AddressBook::default(),
            missed: MissedLines::default(),
            outbox: VecDeque::new(),
            pending_send: None,
            slow_at: None,
            commands: VecDeque::new(),
            calling: None,
            held: None,
            learning: None,
            done: false,
            renewed: false,
        };
        shell.introduce().await?;
        shell.go_online().await?;
        Ok(shell)
    }

    /// Prints the name of this user. If the server does not know the account, signs in again; if it
    /// cannot be reached, goes on without it.
    pub(crate) async fn introduce(&mut self) -> ChatResult {
        let mut name = account::name(&self.args, &self.api).await;
        if name.as_ref().is_err_and(|error| error.code == 10_000) {
            self.sign_in_again().await?;
            name = account::name(&self.args, &self.api).await;
        }
        match name {
            Ok(name) => {
                self.names.learn_person(self.who.user_id, &name);
                let shown = clean(&name);
                self.say(&match shown.trim() {
                    "" => format!(
                        "* you are {}; --name gives you a name that others see",
                        self.args.phone
                    ),
                    name => format!(
                        "* you are {name}; others find you by that name or by {}",
                        self.args.phone
                    ),
                });
            }
            Err(error) => self.say(&format!("* {}", explain(&self.args, &error))),
        }
        // Names are optional: without them people are shown by number.
        let mut caller = self.caller();
        if caller.learn().await.is_ok() {
            self.names.merge(caller.names);
        }
        self.say("* /add NAME or PHONE finds somebody to talk to; /help lists the commands");
        Ok(())
    }

    pub(crate) async fn sign_in_again(&mut self) -> ChatResult {
        self.who = account::sign_in(&self.args, &self.api).await?;
        self.renewed = true;
        self.api = self.api.signed_in(self.who.clone());
        Ok(())
    }

    /// Connects and continues from the stored cursor.
    pub(crate) async fn go_online(&mut self) -> ChatResult {
        let cursor = FileCursor::new(account::file(&self.args, "cursor")?);
        let mut options =
            ClientOptions::new(self.args.endpoint()?, self.who.clone()).cursor(cursor);
        options.trust = Some(self.trust.clone());
        options.deadline = Duration::from_mins(1);
        options.backoff_cap = Duration::from_secs(3);
        options.heartbeat = HEARTBEAT_INTERVAL;
        options.answer_timeout = ANSWER_TIMEOUT;
        self.online = Some(Client::connect(options).await?);
        self.connection = ConnectionState::Connecting;
        Ok(())
    }

    /// Disconnects. A pending message keeps its id and is sent again later.
    pub(crate) async fn go_offline(&mut self) {
        if let Some((client, _)) = self.online.take() {
            client.close().await;
        }
        self.pending_send = None;
        // The event that is held does not count as handled, so it comes again.
        (self.held, self.learning) = (None, None);
        self.connection = ConnectionState::Offline;
        self.show_missed();
    }

    /// Runs until /quit, the end of the input, or a terminal event.
    pub(crate) async fn run(&mut self) -> ChatResult {
        let mut typing = true;
        let mut signals = TerminationSignals::new();
        while !self.done {
            self.send_next();
            self.call_next();
            let idle = self.outbox.is_empty()
                && self.calling.is_none()
                && self.pending_send.is_none()
                && self.held.is_none();
            if !typing && (idle || self.online.is_none()) {
                break;
            }
            self.show_prompt();
            tokio::select! {
                // Biased: a signal ends the chat first; server events come before results and
                // input, so that these are handled with the current state.
                biased;
                () = signals.next() => self.done = true,
                event = next_event(&mut self.online), if self.held.is_none() => match event {
                    Some(event) => self.take_event(event).await?,
                    None => self.online = None,
                },
                groups = finished(&mut self.learning) => self.on_groups(groups).await?,
                result = finished(&mut self.pending_send) => self.on_sent(result),
                result = finished(&mut self.calling) => self.on_answer(result).await?,
                input = self.terminal.next(), if typing => match input {
                    Some(UserInput::Line(line)) => self.on_line(&line).await?,
                    Some(UserInput::Interrupt) => self.done = true,
                    None => typing = false,
                },
                () = until(self.slow_at) => self.on_slow(),
            }
        }
        self.go_offline().await;
        for draft in std::mem::take(&mut self.outbox) {
            self.say(&format!("* not sent: {}", text_of(&draft)));
        }
        Ok(())
    }

    /// Prints a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.terminal.say(line);
    }

    /// Prints the lines that arrived while this device was offline.
    pub(crate) fn show_missed(&mut self) {
        for line in self.missed.take() {
            self.terminal.say(&line);
        }
    }

    fn show_prompt(&mut self) {
        let to = self.current.map(|to| self.names.receiver(to));
        let state = match self.connection {
            ConnectionState::Away => " (server away)",
            ConnectionState::Offline => " (offline)",
            _ => "",
        };
        let prompt = format!("{}{state}> ", to.unwrap_or_default());
        self.terminal.prompt(prompt.trim_start());
    }

    async fn on_line(&mut self, line: &str) -> ChatResult {
        let command = match ChatCommand::read(line) {
            Ok(command) => command,
            Err(why) => {
                self.say(&format!("* {why}"));
                return Ok(());
            }
        };
        match command {
            ChatCommand::Quit => self.done = true,
            ChatCommand::Help => self.say_all(HELP),
            ChatCommand::Offline => {
                self.go_offline().await;
                self.say("* offline; /online comes back");
            }
            ChatCommand::Online => return self.come_back().await,
            // Queued even if it is only a line: an earlier command may change its receiver.
            command => self.commands.push_back(command),
        }
        Ok(())
    }

    fn say_all(&mut self, lines: &str) {
        for line in lines.lines() {
            self.say(line);
        }
    }

    fn caller(&self) -> CommandContext {
        CommandContext {
            args: self.args.clone(),
            api: self.api.clone(),
            me: self.who.user_id,
            names: self.names.clone(),
            current: self.current,
            client: self.online.as_ref().map(|(client, _)| client.clone()),
        }
    }

    /// Starts the next command, in the order of typing.
    fn call_next(&mut self) {
        while self.calling.is_none() {
            match self.commands.pop_front() {
                None => break,
                Some(ChatCommand::Say(text))
                    if !matches!(self.current, Some(MessageTarget::Room(_))) =>
                {
                    self.write(&text);
                }
                Some(command) => self.calling = Some(Box::pin(self.caller().perform(command))),
            }
        }
        self.send_next();
    }

    fn write(&mut self, text: &str) {
        let Some(to) = self.current else {
            self.say("* no receiver chosen: /add NAME or PHONE, or /to NAME");
            return;
        };
        let mut draft = MessageDraft::new(to, MessageContent::text(text));
        // One id for all attempts: a message that is sent again after an outage is stored once.
        draft.id = Some(uuid::Uuid::now_v7().to_string());
        self.outbox.push_back(draft);
        match self.connection {
            ConnectionState::Offline => self.say("* offline: it is sent when you are /online"),
            ConnectionState::Away => self.say("* it is sent when the server is back"),
            _ => {}
        }
    }

    async fn on_answer(&mut self, answer: Result<CommandAnswer, String>) -> ChatResult {
        self.calling = None;
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                self.say(&format!("* {why}"));
                return Ok(());
            }
        };
        self.names.merge(answer.names);
        for line in answer.say {
            self.say(&line);
        }
        if let Some(group) = answer.left {
            self.names.forget_group(group);
            self.current = None;
        }
        if let Some(to) = answer.talk_to {
            if let MessageTarget::Room(id) = to {
                let next = self.room.filter(|(room, _)| *room == id);
                self.room = next.or(Some((id, 1)));
            }
            self.talk_to(to);
        }
        if answer.signed_out {
            self.go_offline().await;
            account::forget(&self.args)?;
            self.say("* signed out; this account is forgotten on this machine");
            self.done = true;
        }
        Ok(())
    }

    async fn come_back(&mut self) -> ChatResult {
        if self.online.is_some() {
            self.say("* you are online");
            return Ok(());
        }
        self.go_online().await?;
        if let Some((room, next)) = self.room {
            self.commands.push_back(ChatCommand::Follow(room, next));
        }
        Ok(())
    }

    /// Starts sending the oldest message: one at a time, so that they stay in order.
    fn send_next(&mut self) {
        if let (None, Some((client, _)), Some(draft)) =
            (&self.pending_send, &self.online, self.outbox.front())
        {
            let (client, draft) = (client.clone(), draft.clone());
            self.pending_send = Some(Box::pin(async move { client.send_draft(draft).await }));
            self.slow_at = Some(Instant::now() + SLOW_SEND_AFTER);
        }
    }

    fn on_slow(&mut self) {
        self.slow_at = None;
        // While the server is known to be unreachable, that was reported already.
        if self.connection == ConnectionState::Live {
            let line = self.outbox.front().map_or_else(String::new, text_of);
            self.say(&format!("* the server has not confirmed this yet: {line}"));
        }
    }

    fn on_sent(&mut self, result: Result<SendReceipt, SendError>) {
        self.pending_send = None;
        self.slow_at = None;
        let line = self.outbox.front().map_or_else(String::new, text_of);
        match result {
            Ok(sent) => {
                self.outbox.pop_front();
                if self.args.receipts {
                    self.say(&format!("* sent #{}: {line}", sent.seq));
                }
            }
            Err(SendError::Deadline { .. }) => self.say(&format!("* still not sent: {line}")),
            Err(SendError::Closed) => {}
            Err(SendError::Refused { message, .. }) => {
                self.outbox.pop_front();
                self.say(&format!("* not sent: {line}: {}", clean(&message)));
            }
            Err(error) => {
                self.outbox.pop_front();
                self.say(&format!("* not sent: {line}: {error}"));
            }
        }
    }

    /// Makes `to` the receiver of typed lines.
    pub(crate) fn talk_to(&mut self, to: MessageTarget) {
        if self.current == Some(to) {
            return;
        }
        self.current = Some(to);
        let name = self.names.receiver(to);
        self.say(&format!("* now talking to {name}"));
    }
}

fn text_of(draft: &MessageDraft) -> String {
    match &draft.content {
        MessageContent::Text(text) => clean(text),
        _ => String::new(),
    }
}

async fn next_event(online: &mut Option<(Client, EventStream)>) -> Option<ClientEvent> {
    match online {
        Some((_, events)) => events.next().await,
        None => pending().await,
    }
}

async fn finished<T>(work: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// SIGTERM and SIGHUP, handled so that the terminal's settings are restored before the chat ends.
#[cfg(unix)]
struct TerminationSignals([Option<tokio::signal::unix::Signal>; 2]);

#[cfg(unix)]
impl TerminationSignals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self([SignalKind::terminate(), SignalKind::hangup()].map(|kind| signal(kind).ok()))
    }

    async fn next(&mut self) {
        let [terminate, hangup] = &mut self.0;
        tokio::select! {
            Some(()) = received(terminate) => {}
            Some(()) = received(hangup) => {}
            else => pending().await,
        }
    }
}

#[cfg(unix)]
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

#[cfg(not(unix))]
struct TerminationSignals;

#[cfg(not(unix))]
impl TerminationSignals {
    const fn new() -> Self {
        Self
    }

    async fn next(&mut self) {
        pending().await
    }
}
