//! A snapshot written into a pipe for replicas: between marks, since its length is not known before.
//!
//! ```text
//!  $EOF:<40 bytes>\r\n  <RDB>  <the same 40 bytes>
//! ```
//! Source: the EOF form of Redis's replication protocol.

use crate::keyspace::Keyspace;
use crate::persist::child::ChildLink;
use crate::persist::rdb::save::{SaveOptions, save_to};
use crate::persist::rdb::writer::ByteSink;
use crate::sys::io::{IoFault, IoResult, Operation};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

/// Room asked for in the pipe: a child that is ahead need not wait for each block.
pub const PIPE_BYTES: usize = 1 << 20;

/// A pipe whose reading end does not wait and whose writing end does.
///
/// # Errors
/// Of the system.
pub fn open(bytes: usize) -> nix::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // A hint: a system that grants less only makes more system calls.
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(i32::try_from(bytes).unwrap_or(i32::MAX)));
    Ok((reader, writer))
}

/// The number by which a child finds its copy of a descriptor.
pub fn number(descriptor: &OwnedFd) -> RawFd {
    descriptor.as_raw_fd()
}

struct PipeSink<'a> {
    writer: &'a OwnedFd,
}

impl ByteSink for PipeSink<'_> {
    fn write_block(&mut self, mut bytes: &[u8]) -> IoResult<()> {
        while !bytes.is_empty() {
            match unistd::write(self.writer, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    let path = Path::new("pipe to replicas");
                    return Err(IoFault::from_errno(Operation::Write, path, errno as i32));
                }
            }
        }
        Ok(())
    }
}

/// In the child: writes the snapshot. `reader` is the number of the pipe's other end, whose copy is
/// closed first: with it open the child would not learn that its parent reads no more.
///
/// # Errors
/// What failed, for the log.
pub fn save(
    keyspace: &Keyspace,
    options: &SaveOptions,
    writer: &OwnedFd,
    reader: RawFd,
    mark: &str,
    link: &mut ChildLink,
) -> Result<(), String> {
    // It was ours to close: the parent has its own.
    let _ = unistd::close(reader);
    let mut sink = PipeSink { writer };
    let mut write = || -> IoResult<()> {
        sink.write_block(format!("$EOF:{mark}\r\n").as_bytes())?;
        save_to(&mut sink, keyspace, options, link)?;
        sink.write_block(mark.as_bytes())
    };
    write().map_err(|fault| format!("Write error sending DB to replicas: {fault}"))
}
