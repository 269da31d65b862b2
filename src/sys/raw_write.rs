//! Formatting into a fixed buffer and writing it with plain write(2): for signal handlers,
//! panic hooks and forked children, where no lock may be taken and nothing allocated.
#![allow(unsafe_code)]

use std::fmt;
use std::os::fd::RawFd;

/// Writes all bytes to a descriptor, retrying short and interrupted writes. Errors are
/// dropped: the callers have nobody left to tell. Async-signal-safe; keeps errno.
pub(super) fn write_all(fd: RawFd, bytes: &[u8]) {
    let saved_errno = nix::errno::Errno::last_raw();
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: pointer and length describe the live slice `rest`; write only reads it. A
        // descriptor that is not open gives EBADF.
        let count = unsafe { libc::write(fd, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(count) {
            Ok(0) => break,
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(_) if nix::errno::Errno::last_raw() == libc::EINTR => {}
            Err(_) => break,
        }
    }
    nix::errno::Errno::set_raw(saved_errno);
}

/// A line under construction: `N` bytes on the stack, what does not fit is cut off.
pub(super) struct LineBuffer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> LineBuffer<N> {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Ends the line; a full buffer gives up its last character for the line end.
    pub(super) fn end_line(&mut self) {
        if self.len == N {
            self.len -= 1;
            while self.len > 0 && self.bytes[self.len] & 0xC0 == 0x80 {
                self.len -= 1;
            }
        }
        self.bytes[self.len] = b'\n';
        self.len += 1;
    }
}

impl<const N: usize> fmt::Write for LineBuffer<N> {
    /// Never fails: cuts at a character boundary.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut take = text.len().min(N - self.len);
        while !text.is_char_boundary(take) {
            take -= 1;
        }
        self.bytes[self.len..self.len + take].copy_from_slice(&text.as_bytes()[..take]);
        self.len += take;
        Ok(())
    }
}

/// Writes one formatted line (with line end) by one write(2). Longer than 1 KiB is cut.
pub(super) fn write_line(fd: RawFd, arguments: fmt::Arguments<'_>) {
    let mut line = LineBuffer::<1024>::new();
    // LineBuffer never fails; an error could only come from a Display that gave up.
    let _ = fmt::write(&mut line, arguments);
    line.end_line();
    write_all(fd, line.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::{LineBuffer, write_line};

    #[test]
    fn lines_are_cut_at_characters() {
        let mut line = LineBuffer::<8>::new();
        write!(line, "abcdefäö").expect("never fails");
        assert_eq!(line.as_bytes(), "abcdefä".as_bytes());
        line.end_line();
        assert_eq!(line.as_bytes(), b"abcdef\n");
        let mut line = LineBuffer::<8>::new();
        write!(line, "abc").expect("never fails");
        line.end_line();
        assert_eq!(line.as_bytes(), b"abc\n");
    }

    #[test]
    fn lines_reach_the_descriptor() {
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        write_line(writer.as_raw_fd(), format_args!("n={}", 7));
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "n=7\n");
    }
}
