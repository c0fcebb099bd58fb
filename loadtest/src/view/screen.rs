//! The terminal: it is taken while the run lasts, and given back whatever happens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::State;
use crate::plan::Plan;
use crate::progress::Snapshot;
use crate::watch::{Verdict, Watch};

/// The picture, on this terminal. `q`, Ctrl-C and the flag end the run.
pub struct Screen {
    terminal: DefaultTerminal,
    state: State,
    stop: Arc<AtomicBool>,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Screen {
    /// Takes the terminal. A panic gives it back, and so does dropping.
    ///
    /// # Errors
    /// When it cannot be taken.
    pub fn open(plan: &Plan, stop: Arc<AtomicBool>) -> Result<Screen> {
        let terminal = ratatui::try_init().context("taking the terminal: use --no-ui")?;
        Ok(Screen {
            terminal,
            state: State::new(plan),
            stop,
        })
    }

    /// Whether a key that ends the run has been pressed.
    fn quit(&self) -> bool {
        while event::poll(Duration::ZERO).unwrap_or(false) {
            let Ok(event) = event::read() else {
                return false;
            };
            if ends_the_run(&event) {
                return true;
            }
        }
        self.stop.load(Ordering::Relaxed)
    }
}

fn ends_the_run(event: &Event) -> bool {
    let Event::Key(key) = event else {
        return false;
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            KeyCode::Char('c') => control,
            _ => false,
        }
}

impl Watch for Screen {
    fn look(&mut self, elapsed: Duration, snapshot: &Snapshot) -> Verdict {
        self.state.see(elapsed, snapshot);
        let state = &self.state;
        // A terminal that cannot be drawn on is no reason to lose the run.
        self.terminal.draw(|frame| super::draw(frame, state)).ok();
        if self.quit() {
            Verdict::Stop
        } else {
            Verdict::GoOn
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::KeyEvent;

    #[test]
    fn q_and_control_c_end_the_run_and_other_keys_do_not() {
        let key = |code, modifiers| ends_the_run(&Event::Key(KeyEvent::new(code, modifiers)));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Char('x'), KeyModifiers::CONTROL));
        assert!(!ends_the_run(&Event::FocusLost));
    }
}
