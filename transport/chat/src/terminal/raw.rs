//! Terminal settings: keys are reported one by one without an echo, and the previous settings are
//! restored when the chat ends.

#[cfg(unix)]
pub(super) use unix::{RawMode, ResizeEvents};

#[cfg(not(unix))]
pub(super) use other::{RawMode, ResizeEvents};

#[cfg(unix)]
mod unix {
    use std::io::{IsTerminal as _, stdin, stdout};

    use rustix::termios::{
        InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr,
    };
    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// Columns of a terminal that does not report its width.
    const DEFAULT_COLUMNS: usize = 80;

    /// The terminal in raw mode. Holds the previous settings, and restores them on drop.
    pub(in crate::terminal) struct RawMode(Termios);

    impl RawMode {
        /// Changes the settings, if input and output are a terminal that can move its cursor.
        pub(in crate::terminal) fn enter() -> Option<Self> {
            let is_dumb =
                std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
            if is_dumb || !stdin().is_terminal() || !stdout().is_terminal() {
                return None;
            }
            let before = tcgetattr(stdin()).ok()?;
            let mut raw = before.clone();
            // Without ISIG, Ctrl-C is read as a key instead of ending the program: it clears the
            // line, and ends the chat only if the line is empty.
            raw.local_modes -=
                LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
            raw.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IXON;
            tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
            Some(Self(before))
        }

        /// Returns the terminal's width.
        pub(in crate::terminal) fn columns() -> usize {
            let size = tcgetwinsize(stdout()).map_or(0, |size| size.ws_col.into());
            if size == 0 { DEFAULT_COLUMNS } else { size }
        }
    }

    impl Drop for RawMode {
        fn drop(&mut self) {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
        }
    }

    /// Changes of the terminal's size.
    pub(in crate::terminal) struct ResizeEvents(Option<Signal>);

    impl ResizeEvents {
        pub(in crate::terminal) fn new() -> Self {
            Self(signal(SignalKind::window_change()).ok())
        }

        /// Waits for the next change.
        pub(in crate::terminal) async fn next(&mut self) {
            let change = match &mut self.0 {
                Some(signal) => signal.recv().await,
                None => None,
            };
            // Without the signal the size is not known to change. Returning would redraw the screen
            // in a busy loop.
            if change.is_none() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    /// Terminals are not supported here: lines are read as the operating system returns them.
    pub(in crate::terminal) struct RawMode(std::convert::Infallible);

    impl RawMode {
        pub(in crate::terminal) const fn enter() -> Option<Self> {
            None
        }

        pub(in crate::terminal) const fn columns() -> usize {
            80
        }
    }

    /// Changes of the terminal's size, which do not occur here.
    pub(in crate::terminal) struct ResizeEvents;

    impl ResizeEvents {
        pub(in crate::terminal) const fn new() -> Self {
            Self
        }

        pub(in crate::terminal) async fn next(&mut self) {
            std::future::pending().await
        }
    }
}
