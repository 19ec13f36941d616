//! `gimlet user import`: reads users from a file and passes them on in batches.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::args::{ImportArgs, ImportFormat};
use crate::client::ApiClient;
use crate::error::CommandError;
use crate::output::CommandOutput;

/// Users of one request, as many as the API allows.
const BATCH_USERS: usize = 500;
/// Bytes of one request; the API allows 256 KiB.
const BATCH_BYTES: usize = 192 << 10;
/// Longest line of a file, in bytes.
const LINE_MAX_BYTES: usize = 32 << 10;

/// A user of the file.
type ImportUser = Map<String, Value>;
/// Users with the numbers of their lines.
type UserLines = Box<dyn Iterator<Item = Result<(u64, ImportUser), CommandError>> + Send>;

/// Counts of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ImportCount {
    users: usize,
    new: usize,
}

/// Runs `gimlet user import`.
pub(crate) async fn run(
    client: &ApiClient,
    args: &ImportArgs,
) -> Result<CommandOutput, CommandError> {
    let shown = args.file.display();
    let mut count = ImportCount::default();
    let mut batch = UserBatch::default();
    // The error names the line; every user before its batch is there.
    let stopped = |error: CommandError, count: ImportCount| {
        let done = format!(
            "{shown}, after {} imported users (the import may be repeated)",
            count.users
        );
        error.inside(&done)
    };
    let users = open(&args.file, args.format).map_err(|error| stopped(error, count))?;
    for user in users {
        let (line, user) = user.map_err(|error| stopped(error, count))?;
        if !batch.has_room_for(&user) {
            let sent = std::mem::take(&mut batch).send(client, &mut count).await;
            sent.map_err(|error| stopped(error, count))?;
        }
        batch.push(line, user);
    }
    let sent = batch.send(client, &mut count).await;
    sent.map_err(|error| stopped(error, count))?;
    let ImportCount { users, new } = count;
    Ok(CommandOutput::new(
        format!("imported {users} users, {new} of them new"),
        json!({"users": users, "new": new}),
    ))
}

/// Opens the file. - is standard input.
fn open(path: &Path, format: Option<ImportFormat>) -> Result<UserLines, CommandError> {
    let by_name = match path.extension() {
        Some(ending) if ending.eq_ignore_ascii_case("csv") => ImportFormat::Csv,
        _ => ImportFormat::JsonLines,
    };
    let input: Box<dyn Read + Send> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| CommandError::Usage(error.to_string()))?)
    };
    match format.unwrap_or(by_name) {
        ImportFormat::JsonLines => Ok(Box::new(json_lines(BufReader::new(input)))),
        ImportFormat::Csv => csv_rows(input),
    }
}

fn at_line(line: u64, text: &str) -> CommandError {
    CommandError::Usage(format!("line {line}: {text}"))
}

fn json_lines(
    mut input: impl BufRead + Send,
) -> impl Iterator<Item = Result<(u64, ImportUser), CommandError>> + Send {
    let mut line = 0;
    std::iter::from_fn(move || {
        loop {
            line += 1;
            let mut bytes = Vec::new();
            let mut bounded = input.by_ref().take(LINE_MAX_BYTES as u64 + 1);
            match bounded.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) if bytes.len() > LINE_MAX_BYTES => {
                    let text =
                        format!("it is longer than {LINE_MAX_BYTES} bytes: write one user on it");
                    return Some(Err(at_line(line, &text)));
                }
                Ok(_) if bytes.trim_ascii().is_empty() => {}
                Ok(_) => {
                    let user = serde_json::from_slice(&bytes).map_err(|error| {
                        let text = format!(
                            "it is not a JSON object ({error}): write one user on each line"
                        );
                        at_line(line, &text)
                    });
                    return Some(user.map(|user| (line, user)));
                }
                Err(error) => return Some(Err(at_line(line, &error.to_string()))),
            }
        }
    })
}

fn csv_rows(input: Box<dyn Read + Send>) -> Result<UserLines, CommandError> {
    let mut reader = csv::Reader::from_reader(input);
    let wrong = |error: &csv::Error| CommandError::Usage(error.to_string());
    let names = reader.headers().map_err(|error| wrong(&error))?.clone();
    if !names.iter().any(|name| name.trim() == "phone_number") {
        return Err(at_line(
            1,
            "no column is named phone_number: write the names of the columns on the first line",
        ));
    }
    let rows = reader.into_records().map(move |row| {
        let row = row.map_err(|error| wrong(&error))?;
        let line = row.position().map_or(0, csv::Position::line);
        // An empty cell leaves the field as it is.
        let cells = names
            .iter()
            .zip(&row)
            .filter(|(_, value)| !value.is_empty());
        let fields = cells.map(|(name, value)| {
            let name = name.trim();
            let number = value.parse::<i32>().ok().filter(|_| name == "sex");
            let value = number.map_or_else(|| Value::from(value), Value::from);
            (name.to_owned(), value)
        });
        Ok((line, fields.collect()))
    });
    Ok(Box::new(rows))
}

/// Users of one request.
#[derive(Debug, Default)]
struct UserBatch {
    users: Vec<Value>,
    lines: Vec<u64>,
    bytes: usize,
}

fn length(user: &ImportUser) -> usize {
    serde_json::to_string(user).map_or(0, |text| text.len()) + 1
}

impl UserBatch {
    fn has_room_for(&self, user: &ImportUser) -> bool {
        self.users.is_empty()
            || self.users.len() < BATCH_USERS && self.bytes + length(user) <= BATCH_BYTES
    }

    fn push(&mut self, line: u64, user: ImportUser) {
        self.bytes += length(&user);
        self.lines.push(line);
        self.users.push(Value::Object(user));
    }

    async fn send(self, client: &ApiClient, count: &mut ImportCount) -> Result<(), CommandError> {
        if self.users.is_empty() {
            return Ok(());
        }
        let sent = self.users.len();
        let answer = client.post(&["users", "import"], json!({"users": self.users}));
        let answer = answer
            .await
            .map_err(|error| match line_of(&error, &self.lines) {
                Some(line) => error.inside(&format!("line {line}")),
                None => error,
            })?;
        let users = answer.get("users").and_then(Value::as_array);
        let is_new = |user: &&Value| user.get("is_new").and_then(Value::as_bool) == Some(true);
        count.users += sent;
        count.new += users.into_iter().flatten().filter(is_new).count();
        Ok(())
    }
}

/// Returns the line of the user that the refusal is about: its field is `users[N]`, or one in it.
fn line_of(error: &CommandError, lines: &[u64]) -> Option<u64> {
    let CommandError::Refused(refusal) = error else {
        return None;
    };
    let after = refusal.field.as_deref()?.strip_prefix("users[")?;
    let (index, _) = after.split_once(']')?;
    lines.get(index.parse::<usize>().ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ServerRefusal;

    fn collect(lines: UserLines) -> Result<Vec<(u64, Value)>, String> {
        let users = lines.map(|user| user.map(|(line, user)| (line, Value::Object(user))));
        let users: Result<Vec<_>, CommandError> = users.collect();
        users.map_err(|error| error.to_string())
    }

    fn of_json(text: &'static str) -> Result<Vec<(u64, Value)>, String> {
        collect(Box::new(json_lines(text.as_bytes())))
    }

    fn of_csv(text: &'static str) -> Result<Vec<(u64, Value)>, String> {
        let rows = csv_rows(Box::new(text.as_bytes())).map_err(|error| error.to_string())?;
        collect(rows)
    }

    #[test]
    fn lines_of_json_keep_their_numbers() {
        let users = of_json("{\"phone_number\": \"1\"}\n\n  \n{\"phone_number\": \"2\"}").unwrap();
        let want = [
            (1, json!({"phone_number": "1"})),
            (4, json!({"phone_number": "2"})),
        ];
        assert_eq!(users, want);
        for wrong in ["[1]", "{\"a\":", "\u{feff}{}"] {
            let text = of_json(wrong).unwrap_err();
            assert!(
                text.starts_with("line 1: it is not a JSON object"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_endless_line_is_refused_without_being_read() {
        let endless = BufReader::new(std::io::repeat(b'x'));
        let first = json_lines(endless).next().unwrap();
        assert!(
            first
                .unwrap_err()
                .to_string()
                .contains("longer than 32768 bytes")
        );
    }

    #[test]
    fn rows_of_csv_become_users_and_empty_cells_are_left_out() {
        let text = "phone_number,nickname,sex\n1,\"wang, xiao\nming\",2\n2,,\n";
        let want = [
            (
                2,
                json!({"phone_number": "1", "nickname": "wang, xiao\nming", "sex": 2}),
            ),
            (4, json!({"phone_number": "2"})),
        ];
        assert_eq!(of_csv(text).unwrap(), want);
        assert!(
            of_csv("1,wang\n2,li\n")
                .unwrap_err()
                .contains("no column is named phone_number")
        );
        assert!(
            of_csv("phone_number,nickname\n1\n")
                .unwrap_err()
                .contains("line: 2")
        );
    }

    #[test]
    fn a_batch_is_bounded_by_users_and_by_bytes() {
        let user = |extra: usize| -> ImportUser {
            let fields = json!({"phone_number": "1", "extra": "x".repeat(extra)});
            fields.as_object().unwrap().clone()
        };
        let (mut small, mut large) = (UserBatch::default(), UserBatch::default());
        while small.has_room_for(&user(1)) {
            small.push(1, user(1));
        }
        while large.has_room_for(&user(4_000)) {
            large.push(1, user(4_000));
        }
        assert_eq!(small.users.len(), BATCH_USERS);
        assert!(large.bytes <= BATCH_BYTES && large.users.len() > 40);
    }

    #[test]
    fn a_refusal_names_the_line_of_the_file() {
        let of = |field: &str| {
            CommandError::Refused(ServerRefusal {
                field: Some(field.to_owned()),
                ..ServerRefusal::default()
            })
        };
        let lines = [2, 5, 9];
        assert_eq!(line_of(&of("users[1].phone_number"), &lines), Some(5));
        assert_eq!(line_of(&of("users[2]"), &lines), Some(9));
        assert_eq!(line_of(&of("users[3]"), &lines), None);
        assert_eq!(line_of(&of("users"), &lines), None);
        assert_eq!(line_of(&CommandError::Failed(String::new()), &lines), None);
    }
}
