//! What people are shown of a file: the bytes around a place, and a command in short.

use crate::base::bytes::repr;
use crate::sys::io::{IoResult, StorageFile};

/// Bytes in a line of the excerpt.
const ROW_BYTES: usize = 16;
/// Rows in front of the one with the place, and all of them.
const ROWS_BEFORE: u64 = 1;
const ROWS: usize = 4;
/// Bytes of a command that are looked at, and of each argument that are shown.
const COMMAND_BYTES: usize = 512;
const ARGUMENT_BYTES: usize = 24;
/// Arguments shown.
const ARGUMENTS: usize = 6;

/// Rows of offset, hexadecimal digits and characters around `offset`; 78 columns wide.
///
/// # Errors
/// The file cannot be read.
pub fn around(file: &dyn StorageFile, offset: u64) -> IoResult<Vec<String>> {
    let row = ROW_BYTES as u64;
    let start = (offset / row).saturating_sub(ROWS_BEFORE) * row;
    let mut bytes = [0; ROW_BYTES * ROWS];
    let count = read_all(file, &mut bytes, start)?;
    let rows = bytes[..count].chunks(ROW_BYTES).zip(0u64..);
    Ok(rows.map(|(bytes, index)| show_row(start + index * row, bytes)).collect())
}

fn read_all(file: &dyn StorageFile, buffer: &mut [u8], offset: u64) -> IoResult<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn show_row(offset: u64, bytes: &[u8]) -> String {
    let mut digits = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        let gap = if index == ROW_BYTES / 2 { "  " } else { " " };
        digits.push_str(&format!("{gap}{byte:02x}"));
    }
    let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
    let characters: String = bytes.iter().map(shown).collect();
    format!("{offset:08x} {digits:<49}  |{characters}|")
}

/// The command at `offset`, shortened: `SET "key" "a long val"... (3 arguments)`.
///
/// # Errors
/// The file cannot be read.
pub fn command_at(file: &dyn StorageFile, offset: u64) -> IoResult<String> {
    let mut bytes = [0; COMMAND_BYTES];
    let count = read_all(file, &mut bytes, offset)?;
    Ok(show_command(&bytes[..count]))
}

fn show_command(bytes: &[u8]) -> String {
    let mut rest = bytes;
    let total = take_header(&mut rest, b'*').unwrap_or(0);
    let mut words: Vec<String> = Vec::new();
    while words.len() < total.min(ARGUMENTS) {
        let Some(len) = take_header(&mut rest, b'$') else { break };
        let shown = &rest[..len.min(ARGUMENT_BYTES).min(rest.len())];
        let dots = if shown.len() < len { "..." } else { "" };
        words.push(format!("{}{dots}", String::from_utf8_lossy(&repr(shown))));
        rest = rest.get(len + 2..).unwrap_or(&[]);
    }
    let more = total - words.len().min(total);
    let tail = if more > 0 { format!(" and {more} more arguments") } else { String::new() };
    words.join(" ") + &tail
}

fn take_header(rest: &mut &[u8], kind: u8) -> Option<usize> {
    let line = rest.strip_prefix(&[kind])?;
    let end = memchr::memchr(b'\r', line)?;
    let number = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    *rest = line.get(end + 2..)?;
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::{show_command, show_row};

    #[test]
    fn rows_are_as_wide_as_others() {
        let row = show_row(0x20, b"*1\r\n$4\r\nPING\r\n\x00\xff");
        assert_eq!(row, "00000020  2a 31 0d 0a 24 34 0d 0a  50 49 4e 47 0d 0a 00 ff  |*1..$4..PING....|");
        assert_eq!(row.len(), 78);
        assert_eq!(show_row(0, b"a").find('|'), row.find('|'));
    }

    #[test]
    fn commands_are_shortened() {
        let long = format!("*3\r\n$3\r\nSET\r\n$1\r\n\x01\r\n$1000\r\n{}\r\n", "v".repeat(1000));
        assert_eq!(show_command(long.as_bytes()), format!("\"SET\" \"\\x01\" \"{}\"...", "v".repeat(24)));
        let many = format!("*9\r\n{}", "$1\r\na\r\n".repeat(9));
        assert!(show_command(many.as_bytes()).ends_with("\"a\" and 3 more arguments"));
        assert_eq!(show_command(b"*2\r\n$3\r\nGE"), "\"GE\"... and 1 more arguments");
    }
}
