//! The screen: the second one that terminals have, so that what was there comes back; keys without Enter.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, Read, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::time::Duration;

/// Size where the terminal does not tell.
const SIZE_DEFAULT: (usize, usize) = (80, 24);
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Keys that quit: q, Q, Escape, Ctrl-D.
const QUIT_KEYS: [u8; 4] = [b'q', b'Q', 0x1b, 4];

/// Put back as it was when dropped.
pub struct Terminal {
    /// Modes of before; `None` where standard input is no terminal.
    modes: Option<Termios>,
}

impl Terminal {
    /// # Errors
    /// Nothing can be written.
    pub fn open() -> io::Result<Terminal> {
        let modes = tcgetattr(stdin()).ok();
        if let Some(modes) = &modes {
            let mut raw = modes.clone();
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(stdin(), OptionalActions::Flush, &raw)?;
        }
        let terminal = Terminal { modes };
        stdout().write_all(ENTER.as_bytes())?;
        Ok(terminal)
    }

    /// Columns and rows, now.
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => SIZE_DEFAULT,
        }
    }

    /// Writes all lines at once; what was to the right of them and below is gone.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show(&mut self, lines: &[String]) -> io::Result<()> {
        let text = format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"));
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Waits for a key, at most so long.
    pub fn wants_to_quit(&mut self, time: Duration) -> bool {
        if self.modes.is_none() {
            std::thread::sleep(time);
            return false;
        }
        let input = stdin();
        let mut waiting = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
        if !matches!(poll(&mut waiting, timeout), Ok(1..)) {
            return false;
        }
        let mut keys = [0; 16];
        match input.lock().read(&mut keys) {
            // A single Escape quits; as the beginning of a longer sequence it is an arrow or the like.
            Ok(count @ 1..) => QUIT_KEYS.contains(&keys[0]) && (keys[0] != 0x1b || count == 1),
            // The terminal is gone.
            _ => true,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = stdout().write_all(LEAVE.as_bytes()).and_then(|()| stdout().flush());
        if let Some(modes) = &self.modes {
            let _ = tcsetattr(stdin(), OptionalActions::Flush, modes);
        }
    }
}
