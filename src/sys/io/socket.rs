//! A socket read as a file: what a parser of files needs to read what a peer sends.
//!
//! The socket is non-blocking: a read gives what is there, or says that nothing is (`WouldBlock`).
//! Everything but reading is refused.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;

use super::{FileMetadata, IoFault, IoResult, Operation, StorageFile};

/// What messages call it.
const NAME: &str = "socket";

/// The bytes of a peer, up to a limit.
#[derive(Debug)]
pub struct SocketFile {
    socket: OwnedFd,
    /// Bytes that were taken from the socket before.
    read_before: Vec<u8>,
    position: usize,
    /// Bytes still to come; `None`: nobody knows.
    left: Option<u64>,
    length: u64,
}

impl SocketFile {
    /// `read_before` comes first and counts. `length`: of everything, `None` when it is not known.
    pub fn new(socket: OwnedFd, read_before: Vec<u8>, length: Option<u64>) -> Self {
        SocketFile { socket, read_before, position: 0, left: length, length: length.unwrap_or(u64::MAX) }
    }

    fn read_socket(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match nix::unistd::read(&self.socket, buffer) {
                Ok(count) => return Ok(count),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn refused<T>(operation: Operation) -> IoResult<T> {
    Err(IoFault::new(operation, Path::new(NAME), io::ErrorKind::Unsupported.into()))
}

impl StorageFile for SocketFile {
    fn path(&self) -> &Path {
        Path::new(NAME)
    }

    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let left = self.left.map_or(buffer.len(), |left| usize::try_from(left).unwrap_or(usize::MAX));
        let room = buffer.len().min(left);
        let buffer = &mut buffer[..room];
        let waiting = &self.read_before[self.position..];
        let count = if waiting.is_empty() && room > 0 {
            self.read_socket(buffer)
                .map_err(|source| IoFault::new(Operation::Read, Path::new(NAME), source))?
        } else {
            let count = waiting.len().min(room);
            buffer[..count].copy_from_slice(&waiting[..count]);
            self.position += count;
            count
        };
        if let Some(left) = &mut self.left {
            *left -= count as u64;
        }
        Ok(count)
    }

    fn len(&self) -> IoResult<u64> {
        Ok(self.length)
    }

    fn write(&mut self, _: &[u8]) -> IoResult<usize> {
        refused(Operation::Write)
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> IoResult<usize> {
        refused(Operation::Read)
    }

    fn seek(&mut self, _: io::SeekFrom) -> IoResult<u64> {
        refused(Operation::Seek)
    }

    fn metadata(&self) -> IoResult<FileMetadata> {
        refused(Operation::Metadata)
    }

    fn truncate(&mut self, _: u64) -> IoResult<()> {
        refused(Operation::Truncate)
    }

    fn sync_data(&self) -> IoResult<()> {
        refused(Operation::SyncData)
    }

    fn sync_all(&self) -> IoResult<()> {
        refused(Operation::SyncAll)
    }

    fn sync_range(&self, _: u64, _: u64) -> IoResult<()> {
        refused(Operation::SyncRange)
    }

    fn advise_dontneed(&self, _: u64, _: u64) -> IoResult<()> {
        refused(Operation::Advise)
    }

    fn try_clone(&self) -> IoResult<Box<dyn StorageFile>> {
        refused(Operation::Clone)
    }
}

#[cfg(test)]
mod tests {
    use super::SocketFile;
    use crate::sys::io::StorageFile;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    fn pair() -> (UnixStream, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        theirs.set_nonblocking(true).expect("set");
        (ours, theirs.into())
    }

    fn read(file: &mut SocketFile, room: usize) -> Vec<u8> {
        let mut buffer = vec![0; room];
        let count = file.read(&mut buffer).expect("readable");
        buffer.truncate(count);
        buffer
    }

    #[test]
    fn what_was_read_before_comes_first_and_the_length_ends_it() {
        let (mut ours, theirs) = pair();
        ours.write_all(b"behind and more").expect("write");
        let mut file = SocketFile::new(theirs, b"before ".to_vec(), Some(13));
        assert_eq!(file.len().expect("known"), 13);
        assert_eq!(read(&mut file, 4), b"befo");
        assert_eq!(read(&mut file, 100), b"re ");
        assert_eq!(read(&mut file, 100), b"behind");
        assert_eq!(read(&mut file, 100), b"");
    }

    #[test]
    fn nothing_is_waited_for_and_the_peer_has_an_end() {
        let (ours, theirs) = pair();
        let mut file = SocketFile::new(theirs, Vec::new(), None);
        let fault = file.read(&mut [0]).expect_err("nothing has come");
        assert_eq!(fault.source.kind(), std::io::ErrorKind::WouldBlock);
        drop(ours);
        assert_eq!(read(&mut file, 1), b"");
    }
}
