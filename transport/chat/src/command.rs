//! Parses typed lines. Independent of the server.

/// The text of /help.
pub(crate) const HELP: &str = "\
* type a line and press Enter: it goes to the receiver in the prompt. Commands:
*   /add NAME or PHONE        ask somebody to be your friend
*   /accept NAME              accept such a request
*   /to NAME                  talk to a friend or a group
*   /friends   /groups        list them
*   /group NAME: BOB, CAROL   create a group with these members
*   /invite NAME              add somebody to the group that the prompt names
*   /members   /leave         list its members, leave it
*   /room NUMBER              follow a room and talk in it: public, kept two minutes
*   /offline   /online        disconnect, come back
*   /signout                  forget this account on this machine
*   /quit                     leave (so do Ctrl-C and Ctrl-D)";

/// A typed line, parsed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChatCommand {
    /// A message.
    Say(String),
    /// Print the help.
    Help,
    /// Ask a person, by name or phone number, to be a friend.
    Add(String),
    /// Accept a person's request.
    Accept(String),
    /// Send what is typed to this friend or group.
    To(String),
    /// List the friends.
    Friends,
    /// List the groups.
    Groups,
    /// Create a group with these members.
    Create(String, Vec<String>),
    /// Add people to the current group.
    Invite(Vec<String>),
    /// List the members of the current group.
    Members,
    /// Leave the current group.
    Leave,
    /// Follow a room.
    Room(i64),
    /// Follow a room again, from this message; not typed.
    Follow(i64, i64),
    /// Disconnect.
    Offline,
    /// Connect again.
    Online,
    /// Forget the account.
    SignOut,
    /// Leave.
    Quit,
}

impl ChatCommand {
    /// Parses a line that is not empty. The error says what to type instead.
    pub(crate) fn read(line: &str) -> Result<Self, String> {
        let Some(command) = line.strip_prefix('/') else {
            return Ok(Self::Say(line.to_owned()));
        };
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        let needs = |usage: &str| match rest {
            "" => Err(format!("/{word} needs {usage}")),
            some => Ok(some.to_owned()),
        };
        Ok(match word {
            "help" | "h" | "?" => Self::Help,
            "add" => Self::Add(needs("a name or a phone number: /add 13800000002")?),
            "accept" | "agree" => Self::Accept(needs("a name: /accept alice")?),
            "to" => Self::To(needs("the name of a friend or a group: /to alice")?),
            "friends" => Self::Friends,
            "groups" => Self::Groups,
            "group" => create(rest)?,
            "invite" => Self::Invite(list(&needs("a name: /invite bob")?)),
            "members" => Self::Members,
            "leave" => Self::Leave,
            "room" => match rest.parse() {
                Ok(id) if id > 0 => Self::Room(id),
                _ => return Err("/room needs a number from 1 up: /room 7".to_owned()),
            },
            "offline" => Self::Offline,
            "online" => Self::Online,
            "signout" => Self::SignOut,
            "quit" | "q" | "exit" => Self::Quit,
            other => return Err(format!("/{other} is not a command; /help lists them")),
        })
    }
}

fn create(rest: &str) -> Result<ChatCommand, String> {
    let usage = "/group needs a name and members: /group team: bob, carol";
    let (name, members) = rest.split_once(':').ok_or(usage)?;
    let (name, members) = (name.trim(), list(members));
    if name.is_empty() || members.is_empty() {
        return Err(usage.to_owned());
    }
    Ok(ChatCommand::Create(name.to_owned(), members))
}

/// Splits names at commas.
fn list(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_unless_it_begins_with_a_slash() {
        let say = ChatCommand::Say("1/2 of it".to_owned());
        assert_eq!(ChatCommand::read("1/2 of it"), Ok(say));
        assert_eq!(ChatCommand::read("/q"), Ok(ChatCommand::Quit));
        let group = ChatCommand::Create("my team".into(), vec!["bob".into(), "carol#3".into()]);
        assert_eq!(
            ChatCommand::read("/group my team: bob, carol#3,"),
            Ok(group)
        );
    }

    #[test]
    fn every_error_says_what_to_type() {
        for line in [
            "/add",
            "/accept ",
            "/to",
            "/group",
            "/group :",
            "/group a:",
            "/room x",
            "/room 0",
            "/invite",
            "/nonsense",
        ] {
            let error = ChatCommand::read(line).unwrap_err();
            assert!(error.contains(": /") || error.contains("/help"), "{error}");
        }
    }

    #[test]
    fn the_help_names_every_command() {
        for word in [
            "add", "accept", "to", "friends", "groups", "group", "invite", "members", "leave",
            "room", "offline", "online", "signout", "quit",
        ] {
            assert!(HELP.contains(&format!("/{word}")), "{word}");
            let line = format!("/{word} 1: 2");
            assert!(ChatCommand::read(&line).is_ok() || word == "room", "{word}");
        }
    }
}
