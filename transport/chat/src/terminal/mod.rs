//! The terminal: prints lines above the line that is being typed, and draws that line again below
//! them.
//!
//! `keys` decodes bytes into keys, `editor` applies keys to the line, `raw` makes the terminal
//! report each key as it is pressed. Without a terminal (a pipe, a file, `TERM=dumb`) lines are
//! read and printed as they are.

mod editor;
mod keys;
mod raw;

use std::collections::VecDeque;
use std::io::{Read as _, Write as _, stdin, stdout};

use tokio::sync::mpsc;
use unicode_width::UnicodeWidthStr as _;

use editor::{KeyEffect, LineEditor};
use keys::KeyDecoder;
use raw::{RawMode, ResizeEvents};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 4 * 1024;
/// Chunks that may wait: a large paste waits for the chat, not the other way round.
const CHUNK_QUEUE_LEN: usize = 16;
/// The longest line of a pipe, in bytes; the rest of it becomes the next line.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Input of the user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UserInput {
    /// A line that was entered.
    Line(String),
    /// Ctrl-C on an empty line.
    Interrupt,
}

/// The mode of reading lines.
enum InputMode {
    /// Key by key, with a prompt.
    Keys(Box<RawScreen>),
    /// Line by line.
    Lines(Vec<u8>),
}

/// A terminal in raw mode, with the line on it.
struct RawScreen {
    /// Restores the terminal's settings on drop.
    _raw: RawMode,
    resizes: ResizeEvents,
    keys: KeyDecoder,
    editor: LineEditor,
    prompt: String,
    /// True if notices are dimmed and names are emphasised.
    colour: bool,
}

/// The terminal of the chat.
pub(crate) struct ChatTerminal {
    mode: InputMode,
    chunks: mpsc::Receiver<Vec<u8>>,
    ready: VecDeque<UserInput>,
    ended: bool,
}

impl ChatTerminal {
    /// Takes over the terminal, if there is one. Must be called within a tokio runtime.
    pub(crate) fn open() -> Self {
        let mode = match RawMode::enter() {
            Some(raw) => InputMode::Keys(Box::new(RawScreen {
                _raw: raw,
                resizes: ResizeEvents::new(),
                keys: KeyDecoder::default(),
                editor: LineEditor::default(),
                prompt: "> ".to_owned(),
                colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            })),
            None => InputMode::Lines(Vec::new()),
        };
        Self {
            mode,
            chunks: chunks(),
            ready: VecDeque::new(),
            ended: false,
        }
    }

    /// Prints a line above the line that is being typed.
    pub(crate) fn say(&mut self, line: &str) {
        match &mut self.mode {
            InputMode::Keys(screen) => screen.say(line),
            InputMode::Lines(_) => print(&format!("{line}\n")),
        }
    }

    /// Changes the prompt; there is none without a terminal.
    pub(crate) fn prompt(&mut self, prompt: &str) {
        if let InputMode::Keys(screen) = &mut self.mode
            && screen.prompt != prompt
        {
            prompt.clone_into(&mut screen.prompt);
            screen.draw();
        }
    }

    /// Returns the next input; `None` at the end. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<UserInput> {
        loop {
            if let Some(input) = self.ready.pop_front() {
                return Some(input);
            }
            if self.ended {
                return None;
            }
            match &mut self.mode {
                InputMode::Keys(screen) => tokio::select! {
                    chunk = self.chunks.recv() => match chunk {
                        Some(bytes) => screen.typed(&bytes, &mut self.ready, &mut self.ended),
                        None => self.ended = true,
                    },
                    () = screen.resizes.next() => screen.draw(),
                },
                InputMode::Lines(line) => {
                    let bytes = self.chunks.recv().await;
                    self.ended = bytes.is_none();
                    // A last line without a line end counts as well.
                    split(line, bytes.as_deref().unwrap_or(b"\n"), &mut self.ready);
                }
            }
        }
    }
}

impl Drop for ChatTerminal {
    fn drop(&mut self) {
        if let InputMode::Keys(_) = &self.mode {
            print("\r\u{1b}[K");
        }
    }
}

impl RawScreen {
    fn say(&self, line: &str) {
        let line = if self.colour {
            styled(line)
        } else {
            line.to_owned()
        };
        print(&format!("\r\u{1b}[K{line}\r\n{}", self.line()));
    }

    fn draw(&self) {
        print(&format!("\r\u{1b}[K{}", self.line()));
    }

    /// Returns the prompt and the typed text, with the cursor in its place. Never longer than the
    /// terminal is wide: a line that wraps could not be drawn over.
    fn line(&self) -> String {
        let columns = RawMode::columns();
        let prompt = editor::truncate_to_width(&self.prompt, columns / 2);
        let taken = prompt.width();
        let (text, cursor) = self.editor.window(columns.saturating_sub(taken + 1));
        let column = taken + cursor;
        match column {
            0 => format!("{prompt}{text}\r"),
            _ => format!("{prompt}{text}\r\u{1b}[{column}C"),
        }
    }

    fn typed(&mut self, bytes: &[u8], ready: &mut VecDeque<UserInput>, ended: &mut bool) {
        for key in self.keys.read(bytes) {
            match self.editor.press(key) {
                KeyEffect::Changed => {}
                KeyEffect::Line(line) => {
                    // The line stays on the screen as it was typed.
                    let shown = editor::printable(&line);
                    print(&format!("\r\u{1b}[K{}{shown}\r\n", self.prompt));
                    ready.push_back(UserInput::Line(line));
                }
                KeyEffect::Interrupt => ready.push_back(UserInput::Interrupt),
                KeyEffect::End => {
                    *ended = true;
                    break;
                }
                KeyEffect::Clear => print("\u{1b}[H\u{1b}[2J"),
            }
        }
        self.draw();
    }
}

/// Dims lines of the program, and emphasises the name in front of a message.
fn styled(line: &str) -> String {
    if line.starts_with('*') {
        return format!("\u{1b}[2m{line}\u{1b}[0m");
    }
    match line.split_once(": ") {
        Some((from, text)) => format!("\u{1b}[1m{from}:\u{1b}[0m {text}"),
        None => line.to_owned(),
    }
}

/// Writes to the terminal. A terminal that is gone is not an error here: its input ends as well.
fn print(text: &str) {
    let mut out = stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Takes complete lines out of the input of a pipe.
fn split(line: &mut Vec<u8>, bytes: &[u8], ready: &mut VecDeque<UserInput>) {
    for byte in bytes {
        if *byte != b'\n' {
            line.push(*byte);
        }
        if *byte == b'\n' || line.len() >= MAX_LINE_BYTES {
            let text = String::from_utf8_lossy(line).trim().to_owned();
            line.clear();
            if !text.is_empty() {
                ready.push_back(UserInput::Line(text));
            }
        }
    }
}

/// Reads the input in a thread of its own: a blocking read of a terminal cannot be interrupted.
fn chunks() -> mpsc::Receiver<Vec<u8>> {
    let (tx, rx) = mpsc::channel(CHUNK_QUEUE_LEN);
    std::thread::spawn(move || {
        let mut input = stdin().lock();
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = input.read(&mut buffer) {
            let bytes = buffer.get(..read).unwrap_or_default().to_vec();
            if tx.blocking_send(bytes).is_err() {
                break;
            }
        }
    });
    rx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_cut_into_lines_wherever_its_chunks_end() {
        let (mut line, mut ready) = (Vec::new(), VecDeque::new());
        for chunk in ["one\r\n\ntw", "o\nthr", "ee", "\n"] {
            split(&mut line, chunk.as_bytes(), &mut ready);
        }
        let lines = ["one", "two", "three"].map(|line| UserInput::Line(line.to_owned()));
        assert_eq!(Vec::from(ready), lines);
    }

    #[test]
    fn a_line_without_an_end_does_not_grow() {
        let (mut line, mut ready) = (Vec::new(), VecDeque::new());
        split(&mut line, &vec![b'x'; MAX_LINE_BYTES + 1], &mut ready);
        assert_eq!((line.len(), ready.len()), (1, 1));
    }
}
