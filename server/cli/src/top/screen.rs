//! The terminal of `gimlet top`: a screen of its own that is drawn over, and the keys that leave it.

#[cfg(unix)]
pub(super) use unix::TerminalScreen;

#[cfg(not(unix))]
pub(super) use other::TerminalScreen;

/// Cuts a text to what fits a screen of this size: a longer line would wrap, and what was drawn
/// before could not be drawn over.
#[cfg(unix)]
fn fit(text: &str, columns: usize, rows: usize) -> Vec<String> {
    use unicode_width::UnicodeWidthChar as _;

    let line = |line: &str| {
        let mut width = 0;
        let shown = line.chars().take_while(|c| {
            width += c.width().unwrap_or_default();
            width <= columns
        });
        shown.collect()
    };
    text.lines().take(rows).map(line).collect()
}

#[cfg(unix)]
mod unix {
    use std::io::{self, IsTerminal as _, Read as _, Write as _, stdin, stdout};

    use rustix::termios::{
        LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr,
    };
    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tokio::sync::mpsc;

    use super::fit;

    /// Columns and rows of a terminal that does not report its size.
    const DEFAULT_SIZE: (usize, usize) = (80, 24);
    /// Shows a screen of its own, without a cursor.
    const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
    /// Shows the former screen, with its cursor.
    const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
    /// Key that leaves, besides Ctrl-C and Ctrl-D.
    const QUIT_KEY: u8 = b'q';
    /// Byte of Ctrl-C in raw mode.
    const INTERRUPT: u8 = 3;
    /// Byte of Ctrl-D in raw mode.
    const END_OF_INPUT: u8 = 4;

    /// A terminal that is drawn on. Its former settings and content are restored on drop.
    #[derive(Debug)]
    pub(in crate::top) struct TerminalScreen {
        before: Termios,
        keys: mpsc::Receiver<u8>,
        terminations: Option<Signal>,
    }

    impl TerminalScreen {
        /// Takes over the terminal, if input and output are one that can move its cursor.
        pub(in crate::top) fn open() -> Option<Self> {
            let is_plain =
                std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
            if is_plain || !stdin().is_terminal() || !stdout().is_terminal() {
                return None;
            }
            let before = tcgetattr(stdin()).ok()?;
            let mut raw = before.clone();
            // Without ISIG, Ctrl-C is read as a key, and the terminal is restored.
            raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
            tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
            let screen = Self {
                before,
                keys: read_keys(),
                terminations: signal(SignalKind::terminate()).ok(),
            };
            print(ENTER).ok()?;
            Some(screen)
        }

        /// Draws a text over what was drawn before.
        ///
        /// # Errors
        /// The terminal is gone.
        pub(in crate::top) fn draw(text: &str) -> io::Result<()> {
            let size = tcgetwinsize(stdout());
            let size: (usize, usize) =
                size.map_or((0, 0), |size| (size.ws_col.into(), size.ws_row.into()));
            let (columns, rows) = match size {
                (0, _) | (_, 0) => DEFAULT_SIZE,
                size => size,
            };
            let lines = fit(text, columns, rows);
            // To the top, over each line to its end, and everything below.
            print(&format!(
                "\u{1b}[H{}\u{1b}[K\u{1b}[J",
                lines.join("\u{1b}[K\r\n")
            ))
        }

        /// Waits until the user wants to leave, or must.
        pub(in crate::top) async fn closed(&mut self) {
            loop {
                let terminated = async {
                    match &mut self.terminations {
                        Some(signal) => signal.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    key = self.keys.recv() => match key {
                        Some(QUIT_KEY | INTERRUPT | END_OF_INPUT) | None => return,
                        Some(_) => {}
                    },
                    _ = terminated => return,
                }
            }
        }
    }

    impl Drop for TerminalScreen {
        fn drop(&mut self) {
            let _ = print(LEAVE);
            let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
        }
    }

    fn print(text: &str) -> io::Result<()> {
        let mut out = stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }

    /// Reads keys in a thread of its own: a blocking read of a terminal cannot be interrupted.
    fn read_keys() -> mpsc::Receiver<u8> {
        let (tx, rx) = mpsc::channel(1);
        std::thread::spawn(move || {
            for key in stdin().lock().bytes() {
                let Ok(key) = key else { return };
                if tx.blocking_send(key).is_err() {
                    return;
                }
            }
        });
        rx
    }
}

#[cfg(not(unix))]
mod other {
    use std::io;

    /// Terminals are not supported here.
    #[derive(Debug)]
    pub(in crate::top) struct TerminalScreen(std::convert::Infallible);

    impl TerminalScreen {
        pub(in crate::top) const fn open() -> Option<Self> {
            None
        }

        pub(in crate::top) fn draw(_: &str) -> io::Result<()> {
            Ok(())
        }

        pub(in crate::top) async fn closed(&mut self) {
            match self.0 {}
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_the_screen() {
        let text = "王小明 is here\nab\nc";
        assert_eq!(fit(text, 5, 2), ["王小", "ab"]);
        assert_eq!(fit(text, 6, 9), ["王小明", "ab", "c"]);
        assert!(fit(text, 9, 0).is_empty());
    }
}
