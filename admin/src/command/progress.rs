//! Progress of long commands: a bar on a terminal, nothing elsewhere; and the wish to stop.

use core::ops::ControlFlow;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::limits::PROGRESS_AFTER;

const OCTETS: &str =
    "{bar:40} {binary_bytes} of {binary_total_bytes} at {binary_bytes_per_sec}, {eta} left";
const ROWS: &str = "{bar:40} {pos} of {len} rows, {eta} left";

/// Counts octets or rows; asks whether somebody pressed Ctrl-C.
pub(super) struct Bar {
    total: u64,
    done: u64,
    started: Instant,
    bar: Option<ProgressBar>,
    template: &'static str,
    stop: Arc<AtomicBool>,
}

impl Bar {
    pub(super) fn new(total: u64, stop: &Arc<AtomicBool>) -> Self {
        Bar {
            total,
            done: 0,
            started: Instant::now(),
            bar: None,
            template: OCTETS,
            stop: Arc::clone(stop),
        }
    }

    /// Of rows, as many as [`Bar::set`] says.
    pub(super) fn of_rows(stop: &Arc<AtomicBool>) -> Self {
        let mut bar = Bar::new(0, stop);
        bar.template = ROWS;
        bar
    }

    pub(super) fn set(&mut self, done: usize, total: usize) {
        (self.done, self.total) = (0, total as u64);
        // The edits of a table are one change: it is not left half done.
        let _ = self.advance(done as u64);
    }

    pub(super) fn advance(&mut self, count: u64) -> ControlFlow<()> {
        self.done += count;
        if self.bar.is_none()
            && self.started.elapsed() > PROGRESS_AFTER
            && std::io::stderr().is_terminal()
        {
            self.bar = Some(self.draw());
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
        if self.stop.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn draw(&self) -> ProgressBar {
        let style =
            ProgressStyle::with_template(self.template).expect("a template known when compiled");
        ProgressBar::new(self.total)
            .with_style(style)
            .with_elapsed(self.started.elapsed())
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
