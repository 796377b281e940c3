//! The caller's terminal while nsl shows something on all of it: single keys, the other screen of the terminal, and all
//! as it was at the end, whatever the end is.

use crate::error::{Error, Result};
use crate::terminal;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::Write;
use std::os::fd::AsFd;

/// xterm's control sequences: the other screen without cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

pub struct Screen {
    /// For single keys, if stdin is a terminal.
    settings: Option<Termios>,
    is_entered: bool,
}

impl Screen {
    pub fn new() -> Self {
        let mut settings = tcgetattr(std::io::stdin()).ok();
        if let Some(settings) = &mut settings {
            terminal::keep(settings.clone(), restore);
            settings.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        }
        Self { settings, is_entered: false }
    }

    pub fn has_keys(&self) -> bool {
        self.settings.is_some()
    }

    /// Is the key that was pressed one that ends it? So is that nobody can press any more.
    pub fn is_quit() -> bool {
        let mut keys = [0; 64];
        match nix::unistd::read(std::io::stdin().as_fd(), &mut keys) {
            Ok(length) if length > 0 => keys[..length].iter().any(|key| matches!(key, b'q' | b'Q' | 3)),
            Ok(_) => true,
            Err(errno) => errno != nix::errno::Errno::EINTR,
        }
    }

    pub fn enter(&mut self) {
        self.is_entered = true;
        if let Some(settings) = &self.settings {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, settings);
        }
        let _ = put(ENTER);
    }

    pub fn leave(&mut self) {
        if std::mem::take(&mut self.is_entered) {
            restore();
        }
    }

    /// Shows lines in the place of those before, each cut to the width.
    pub fn draw(lines: &[String]) -> Result<()> {
        let (_, columns) = size();
        let cut = |line: &String| line.chars().take(columns).collect::<String>();
        let lines: Vec<_> = lines.iter().map(cut).collect();
        let text = format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"));
        put(&text).map_err(|error| Error::io("write to the terminal", &error))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

fn restore() {
    let _ = put(LEAVE);
    terminal::restore();
}

fn put(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

/// Rows and columns.
pub fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => (24, 80),
    }
}
