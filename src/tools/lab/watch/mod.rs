//! `tine-lab watch`: a running server, live. Needs nothing but INFO; shows more where the server tells more.
//!
//! | file | what |
//! | --- | --- |
//! | `status` | one look at the server: INFO, `FORK LATEST` and `FORK HISTORY` where there is such a command, /proc where it is near |
//! | `frame` | a look and its history as lines of text: plain functions |
//! | `terminal` | the screen: size, keys, put back as it was |

mod frame;
mod status;
mod terminal;

use crate::sys::signals::{SignalOptions, Signals};
use crate::tools::lab::arguments::WatchOptions;
use crate::tools::lab::watch::frame::{History, frame, one_line};
use crate::tools::lab::watch::status::Source;
use crate::tools::lab::watch::terminal::Terminal;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// Time between two looks, on a terminal and elsewhere.
const SCREEN_INTERVAL: Duration = Duration::from_millis(500);
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// Waiting is cut into pieces of this length, so that Ctrl-C is heard.
const SLICE: Duration = Duration::from_millis(50);

/// # Errors
/// The server cannot be reached or goes away.
pub fn run(options: &WatchOptions) -> Result<(), String> {
    let signals = Signals::install(SignalOptions::default()).map_err(|e| format!("signals: {e}"))?;
    let mut source = Source::connect(options)?;
    if stdout().is_terminal() {
        on_screen(options, &mut source, &signals)
    } else {
        in_lines(options, &mut source, &signals)
    }
}

fn on_screen(options: &WatchOptions, source: &mut Source, signals: &Signals) -> Result<(), String> {
    let interval = options.interval.unwrap_or(SCREEN_INTERVAL);
    let mut terminal = Terminal::open().map_err(|e| format!("the terminal: {e}"))?;
    let mut history = History::default();
    let mut looks = 0;
    while signals.shutdown_requests() == 0 && options.count.is_none_or(|count| looks < count) {
        let next = Instant::now() + interval;
        let status = source.look()?;
        history.add(&status);
        looks += 1;
        terminal
            .show(&frame(&status, &history, terminal.size()))
            .map_err(|e| format!("the terminal: {e}"))?;
        while Instant::now() < next && signals.shutdown_requests() == 0 {
            let left = next.saturating_duration_since(Instant::now());
            if terminal.wants_to_quit(left.min(SLICE)) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn in_lines(options: &WatchOptions, source: &mut Source, signals: &Signals) -> Result<(), String> {
    let interval = options.interval.unwrap_or(LINE_INTERVAL);
    let mut looks = 0;
    while signals.shutdown_requests() == 0 {
        let next = Instant::now() + interval;
        let status = source.look()?;
        looks += 1;
        if writeln!(stdout(), "{}", one_line(&status)).is_err()
            || options.count.is_some_and(|count| looks >= count)
        {
            // Nobody reads any more, or enough was seen.
            return Ok(());
        }
        while Instant::now() < next && signals.shutdown_requests() == 0 {
            std::thread::sleep(SLICE.min(next.saturating_duration_since(Instant::now())));
        }
    }
    Ok(())
}
