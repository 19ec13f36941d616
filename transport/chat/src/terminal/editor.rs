//! The line editor: keys change the line, which is shown through a window as wide as the terminal.
//! Independent of the terminal.

use unicode_width::UnicodeWidthChar as _;

use super::keys::Key;

/// Longest line in characters: more than a message may have.
const LINE_MAX: usize = 64 * 1024;
/// Lines in the history.
const HISTORY: usize = 100;

/// The effect of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    /// The line may have changed.
    Changed,
    /// The line was entered.
    Line(String),
    /// Ctrl-C on an empty line.
    Interrupt,
    /// Ctrl-D on an empty line.
    End,
    /// The screen must be cleared.
    Clear,
}

/// A line, a cursor, and the history.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: Vec<char>,
    cursor: usize,
    history: Vec<String>,
    /// Position in the history, counted back from the newest, and the text typed before looking
    /// back.
    back: usize,
    typed: Vec<char>,
}

impl Editor {
    /// Applies a key.
    pub(super) fn press(&mut self, key: Key) -> Pressed {
        match key {
            Key::Char(c) => {
                if self.text.len() < LINE_MAX {
                    self.text.insert(self.cursor, c);
                    self.cursor += 1;
                }
            }
            Key::Enter => return self.enter(),
            Key::Interrupt if self.text.is_empty() => return Pressed::Interrupt,
            Key::Interrupt => self.set(Vec::new()),
            Key::EndOfInput if self.text.is_empty() => return Pressed::End,
            Key::EndOfInput | Key::Delete => self.remove(self.cursor, self.cursor + 1),
            Key::Backspace => self.remove(self.cursor.saturating_sub(1), self.cursor),
            Key::KillBefore => self.remove(0, self.cursor),
            Key::KillAfter => self.remove(self.cursor, self.text.len()),
            Key::KillWord => self.remove(self.word_left(), self.cursor),
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = self.text.len().min(self.cursor + 1),
            Key::WordLeft => self.cursor = self.word_left(),
            Key::WordRight => self.cursor = self.word_right(),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.text.len(),
            Key::Older => self.look_back(self.back + 1),
            Key::Newer => self.look_back(self.back.saturating_sub(1)),
            Key::Clear => return Pressed::Clear,
        }
        Pressed::Changed
    }

    /// Returns the part of the text around the cursor that fits `columns`, and the cursor's column
    /// in it.
    pub(super) fn window(&self, columns: usize) -> (String, usize) {
        let width = |c: &char| c.width().unwrap_or(0);
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let mut column: usize = before.iter().map(width).sum();
        let mut first = 0;
        while column > columns {
            column -= before.get(first).map_or(0, width);
            first += 1;
        }
        let mut left = columns;
        let mut text = String::new();
        for c in self.text.get(first..).unwrap_or_default() {
            let Some(rest) = left.checked_sub(width(c)) else {
                break;
            };
            left = rest;
            text.push(*c);
        }
        (text, column)
    }

    fn enter(&mut self) -> Pressed {
        let line: String = std::mem::take(&mut self.text).iter().collect();
        (self.cursor, self.back) = (0, 0);
        let line = line.trim().to_owned();
        if line.is_empty() {
            return Pressed::Changed;
        }
        if self.history.last() != Some(&line) {
            if self.history.len() == HISTORY {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        Pressed::Line(line)
    }

    fn set(&mut self, text: Vec<char>) {
        self.cursor = text.len();
        self.text = text;
        self.back = 0;
    }

    fn remove(&mut self, from: usize, to: usize) {
        let to = to.min(self.text.len());
        if from < to {
            self.text.drain(from..to);
            self.cursor = from;
        }
    }

    fn word_left(&self) -> usize {
        let space = |at: usize| self.text.get(at).is_none_or(|c| c.is_whitespace());
        let mut at = self.cursor;
        while at > 0 && space(at - 1) {
            at -= 1;
        }
        while at > 0 && !space(at - 1) {
            at -= 1;
        }
        at
    }

    fn word_right(&self) -> usize {
        let is_space = |at: &usize| self.text.get(*at).is_some_and(|c| c.is_whitespace());
        let end = self.text.len();
        let word = (self.cursor..end).find(|at| !is_space(at)).unwrap_or(end);
        (word..end).find(is_space).unwrap_or(end)
    }

    /// Shows the line that was entered `back` lines ago; 0 is the line being typed.
    fn look_back(&mut self, back: usize) {
        if back > self.history.len() || back == self.back {
            return;
        }
        if self.back == 0 {
            self.typed = self.text.clone();
        }
        let line = self.history.len().checked_sub(back);
        let line = line.and_then(|at| self.history.get(at));
        let text = match line {
            Some(line) if back > 0 => line.chars().collect(),
            _ => std::mem::take(&mut self.typed),
        };
        self.set(text);
        self.back = back;
    }
}

/// Returns the beginning of a text that fits `columns`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let mut left = columns;
    let fits = |c: &char| match left.checked_sub(c.width().unwrap_or(0)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    text.chars().take_while(fits).collect()
}

/// Removes control characters, which could steer the terminal.
pub(super) fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(editor: &mut Editor, text: &str) {
        for c in text.chars() {
            editor.press(Key::Char(c));
        }
    }

    fn enter(editor: &mut Editor, text: &str) {
        typed(editor, text);
        assert_eq!(editor.press(Key::Enter), Pressed::Line(text.to_owned()));
    }

    #[test]
    fn a_line_is_edited_anywhere() {
        let mut editor = Editor::default();
        typed(&mut editor, "helo bob x");
        for key in [
            Key::KillWord,
            Key::WordLeft,
            Key::Left,
            Key::Left,
            Key::Char('l'),
        ] {
            editor.press(key);
        }
        assert_eq!(editor.press(Key::Enter), Pressed::Line("hello bob".into()));
    }

    #[test]
    fn older_lines_come_back_and_what_was_typed_stays() {
        let mut editor = Editor::default();
        enter(&mut editor, "one");
        enter(&mut editor, "two");
        typed(&mut editor, "thr");
        for (key, shown) in [
            (Key::Older, "two"),
            (Key::Older, "one"),
            (Key::Older, "one"),
            (Key::Newer, "two"),
            (Key::Newer, "thr"),
            (Key::Newer, "thr"),
        ] {
            editor.press(key);
            assert_eq!(editor.window(80).0, shown, "after {key:?}");
        }
    }

    #[test]
    fn the_window_follows_the_cursor_and_never_exceeds_the_columns() {
        let mut editor = Editor::default();
        typed(&mut editor, "abc你好吗def");
        for columns in 0..14 {
            for at in 0..=9 {
                editor.cursor = at;
                let (text, column) = editor.window(columns);
                let width: usize = text.chars().filter_map(char::width).sum();
                assert!(
                    width <= columns && column <= columns,
                    "{text} {column} of {columns}"
                );
            }
        }
        editor.cursor = 9;
        assert_eq!(editor.window(5), ("吗def".to_owned(), 5));
        assert_eq!(cut("你好", 3), "你");
    }

    #[test]
    fn ctrl_c_and_ctrl_d_end_only_an_empty_line() {
        let mut editor = Editor::default();
        typed(&mut editor, "x");
        assert_eq!(editor.press(Key::EndOfInput), Pressed::Changed);
        assert_eq!(editor.press(Key::Interrupt), Pressed::Changed);
        assert_eq!(editor.window(9).0, "");
        assert_eq!(editor.press(Key::Interrupt), Pressed::Interrupt);
        assert_eq!(editor.press(Key::EndOfInput), Pressed::End);
    }

    #[test]
    fn neither_a_line_nor_the_history_grows_without_end() {
        let mut editor = Editor {
            text: vec!['x'; LINE_MAX],
            ..Editor::default()
        };
        editor.press(Key::Char('y'));
        assert_eq!(editor.text.len(), LINE_MAX);
        editor.press(Key::Interrupt);
        for n in 0..HISTORY + 5 {
            enter(&mut editor, &n.to_string());
        }
        assert_eq!(editor.history.len(), HISTORY);
    }
}
