//! How far something is that takes long: a bar on a terminal, a line now and then elsewhere.

use crate::output::thousands;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant as Stopwatch};

/// How often progress is told where there is no terminal.
const PLAIN_PROGRESS: Duration = Duration::from_secs(2);

/// The progress of one step.
pub struct Progress {
    bar: ProgressBar,
    what: String,
    begun: Stopwatch,
    /// What was done when it was first told, and when that was: an earlier run's part, which says nothing about this one's rate.
    first: Option<(u64, Stopwatch)>,
    told: Stopwatch,
    terminal: bool,
}

impl Progress {
    /// A step: `what` is done to so many things.
    pub fn new(what: &str) -> Self {
        Self::with_template(what, "{bar:40} {percent}% {msg}, {eta} left")
    }

    /// A step of which nobody knows how much it is.
    pub fn without_end(what: &str) -> Self {
        Self::with_template(what, "{spinner} {msg}")
    }

    fn with_template(what: &str, template: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, what: what.to_owned(), begun: Stopwatch::now(), first: None, told: Stopwatch::now(), terminal }
    }

    /// Tells how far it is: `done` of `total`, whatever they count, and how many things were done in this run.
    pub fn at(&mut self, done: u64, total: u64, things: u64) {
        if self.first.is_none() {
            self.first = Some((done, Stopwatch::now()));
            self.bar.set_length(total);
            self.bar.set_position(done);
            self.bar.reset_eta();
        }
        if self.terminal {
            self.bar.set_length(total);
            self.bar.set_position(done);
            self.bar.set_message(self.rate(things));
        } else if self.told.elapsed() >= PLAIN_PROGRESS {
            self.told = Stopwatch::now();
            let percent = done * 100 / total.max(1);
            let left = self.seconds_left(done, total).map(|seconds| format!(", {seconds} s left"));
            eprintln!("{percent} % {}{}", self.rate(things), left.unwrap_or_default());
        }
    }

    /// Tells how much is done, in whole percent, where nobody counts the things.
    pub fn percent(&mut self, percent: u32) {
        if self.terminal {
            self.bar.set_length(100);
            self.bar.set_position(percent.into());
            self.bar.set_message(self.what.clone());
        } else if self.told.elapsed() >= PLAIN_PROGRESS {
            self.told = Stopwatch::now();
            eprintln!("{percent} % {}", self.what);
        }
    }

    /// Tells how many things were done, of a step without an end.
    pub fn count(&mut self, things: u64) {
        if self.terminal {
            self.bar.set_message(self.rate(things));
            self.bar.tick();
        } else if self.told.elapsed() >= PLAIN_PROGRESS {
            self.told = Stopwatch::now();
            eprintln!("{}", self.rate(things));
        }
    }

    fn rate(&self, things: u64) -> String {
        let elapsed = self.begun.elapsed().as_secs_f64().max(f64::EPSILON);
        let rate = (things as f64 / elapsed) as u64;
        format!("{}: {}, {}/s", self.what, thousands(things), thousands(rate))
    }

    /// `None`: nothing was done yet from which it could be told.
    fn seconds_left(&self, done: u64, total: u64) -> Option<u64> {
        let (first, since) = self.first?;
        let done_now = done.checked_sub(first).filter(|done_now| *done_now > 0)?;
        Some((since.elapsed().as_secs_f64() / done_now as f64 * total.saturating_sub(done) as f64).ceil() as u64)
    }

    /// Says something while it goes on.
    pub fn say(&self, line: &str) {
        if self.terminal {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Ends the step.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
