//! The line editor: keys change the line, which is shown through a window as wide as the terminal.
//! Independent of the terminal.

use unicode_width::UnicodeWidthChar as _;

use super::keys::TerminalKey;

/// Longest line in characters: more than a message may have.
const MAX_LINE_CHARS: usize = 64 * 1024;
/// Lines in the history.
const HISTORY_LINES: usize = 100;

/// The effect of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyEffect {
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
pub(super) struct LineEditor {
    text: Vec<char>,
    cursor: usize,
    history: Vec<String>,
    /// Position in the history, counted back from the newest, and the text typed before looking
    /// back.
    back: usize,
    typed: Vec<char>,
}

impl LineEditor {
    /// Applies a key.
    pub(super) fn press(&mut self, key: TerminalKey) -> KeyEffect {
        match key {
            TerminalKey::Char(c) => {
                if self.text.len() < MAX_LINE_CHARS {
                    self.text.insert(self.cursor, c);
                    self.cursor += 1;
                }
            }
            TerminalKey::Enter => return self.enter(),
            TerminalKey::Interrupt if self.text.is_empty() => return KeyEffect::Interrupt,
            TerminalKey::Interrupt => self.set(Vec::new()),
            TerminalKey::EndOfInput if self.text.is_empty() => return KeyEffect::End,
            TerminalKey::EndOfInput | TerminalKey::Delete => {
                self.remove(self.cursor, self.cursor + 1);
            }
            TerminalKey::Backspace => self.remove(self.cursor.saturating_sub(1), self.cursor),
            TerminalKey::KillBefore => self.remove(0, self.cursor),
            TerminalKey::KillAfter => self.remove(self.cursor, self.text.len()),
            TerminalKey::KillWord => self.remove(self.word_left(), self.cursor),
            TerminalKey::Left => self.cursor = self.cursor.saturating_sub(1),
            TerminalKey::Right => self.cursor = self.text.len().min(self.cursor + 1),
            TerminalKey::WordLeft => self.cursor = self.word_left(),
            TerminalKey::WordRight => self.cursor = self.word_right(),
            TerminalKey::Home => self.cursor = 0,
            TerminalKey::End => self.cursor = self.text.len(),
            TerminalKey::Older => self.look_back(self.back + 1),
            TerminalKey::Newer => self.look_back(self.back.saturating_sub(1)),
            TerminalKey::Clear => return KeyEffect::Clear,
        }
        KeyEffect::Changed
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

    fn enter(&mut self) -> KeyEffect {
        let line: String = std::mem::take(&mut self.text).iter().collect();
        (self.cursor, self.back) = (0, 0);
        let line = line.trim().to_owned();
        if line.is_empty() {
            return KeyEffect::Changed;
        }
        if self.history.last() != Some(&line) {
            if self.history.len() == HISTORY_LINES {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        KeyEffect::Line(line)
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
pub(super) fn truncate_to_width(text: &str, columns: usize) -> String {
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

    fn typed(editor: &mut LineEditor, text: &str) {
        for c in text.chars() {
            editor.press(TerminalKey::Char(c));
        }
    }

    fn enter(editor: &mut LineEditor, text: &str) {
        typed(editor, text);
        assert_eq!(
            editor.press(TerminalKey::Enter),
            KeyEffect::Line(text.to_owned())
        );
    }

    #[test]
    fn a_line_is_edited_anywhere() {
        let mut editor = LineEditor::default();
        typed(&mut editor, "helo bob x");
        for key in [
            TerminalKey::KillWord,
            TerminalKey::WordLeft,
            TerminalKey::Left,
            TerminalKey::Left,
            TerminalKey::Char('l'),
        ] {
            editor.press(key);
        }
        assert_eq!(
            editor.press(TerminalKey::Enter),
            KeyEffect::Line("hello bob".into())
        );
    }

    #[test]
    fn older_lines_come_back_and_what_was_typed_stays() {
        let mut editor = LineEditor::default();
        enter(&mut editor, "one");
        enter(&mut editor, "two");
        typed(&mut editor, "thr");
        for (key, shown) in [
            (TerminalKey::Older, "two"),
            (TerminalKey::Older, "one"),
            (TerminalKey::Older, "one"),
            (TerminalKey::Newer, "two"),
            (TerminalKey::Newer, "thr"),
            (TerminalKey::Newer, "thr"),
        ] {
            editor.press(key);
            assert_eq!(editor.window(80).0, shown, "after {key:?}");
        }
    }

    #[test]
    fn the_window_follows_the_cursor_and_never_exceeds_the_columns() {
        let mut editor = LineEditor::default();
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
        assert_eq!(truncate_to_width("你好", 3), "你");
    }

    #[test]
    fn ctrl_c_and_ctrl_d_end_only_an_empty_line() {
        let mut editor = LineEditor::default();
        typed(&mut editor, "x");
        assert_eq!(editor.press(TerminalKey::EndOfInput), KeyEffect::Changed);
        assert_eq!(editor.press(TerminalKey::Interrupt), KeyEffect::Changed);
        assert_eq!(editor.window(9).0, "");
        assert_eq!(editor.press(TerminalKey::Interrupt), KeyEffect::Interrupt);
        assert_eq!(editor.press(TerminalKey::EndOfInput), KeyEffect::End);
    }

    #[test]
    fn neither_a_line_nor_the_history_grows_without_end() {
        let mut editor = LineEditor {
            text: vec!['x'; MAX_LINE_CHARS],
            ..LineEditor::default()
        };
        editor.press(TerminalKey::Char('y'));
        assert_eq!(editor.text.len(), MAX_LINE_CHARS);
        editor.press(TerminalKey::Interrupt);
        for n in 0..HISTORY_LINES + 5 {
            enter(&mut editor, &n.to_string());
        }
        assert_eq!(editor.history.len(), HISTORY_LINES);
    }
}
