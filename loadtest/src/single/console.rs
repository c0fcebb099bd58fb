//! The keyboard and the screen of the single client: a terminal, or a pipe.

use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::Instant;

use anyhow::{Context, Result};
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use super::menu::Key;

/// See the module. A terminal is given back when this is dropped.
#[derive(Debug)]
pub struct Console {
    keys: Receiver<Key>,
    raw: bool,
}

/// What came of waiting for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It came.
    Key(Key),
    /// It did not, in the time.
    Nothing,
    /// Nobody is there to press one.
    Nobody,
}

impl Console {
    /// Takes the terminal, if it is one.
    ///
    /// # Errors
    /// When it cannot be taken.
    pub fn open() -> Result<Self> {
        let raw = stdin().is_terminal();
        if raw {
            enable_raw_mode().context("taking the terminal")?;
        }
        let (sender, keys) = mpsc::channel();
        // It ends with the input, or with the process.
        std::thread::spawn(move || {
            for octet in stdin().lock().bytes() {
                let key = octet.ok().map(Key::of);
                let sent = match key {
                    Some(Some(key)) => sender.send(key).is_ok(),
                    Some(None) => true,
                    None => false,
                };
                if !sent {
                    return;
                }
            }
        });
        Ok(Console { keys, raw })
    }

    /// Waits for a key.
    #[must_use]
    pub fn key_until(&self, until: Instant) -> Waited {
        match self
            .keys
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            Ok(key) => Waited::Key(key),
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
            Err(RecvTimeoutError::Disconnected) => Waited::Nobody,
        }
    }

    /// Waits for a key without an end; none: nobody is there.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.keys.recv().ok()
    }

    /// Whether somebody wants to switch off. Other keys mean nothing now.
    #[must_use]
    pub fn is_switched_off(&self) -> bool {
        loop {
            match self.keys.try_recv() {
                Ok(Key::Break | Key::Letter('q' | 'Q')) => return true,
                Ok(_) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Shows a text.
    pub fn show(&self, text: &str) {
        let text = match self.raw {
            true => text.replace('\n', "\r\n"),
            false => text.to_owned(),
        };
        // Who does not look any more has seen enough.
        let _ = stdout().write_all(text.as_bytes());
        let _ = stdout().flush();
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if self.raw {
            let _ = disable_raw_mode();
        }
    }
}
