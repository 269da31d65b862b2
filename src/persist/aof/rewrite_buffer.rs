//! The changes since the fork of a rewrite: in memory up to a limit, beyond it in a side file.
//!
//! ```text
//!  push ─► [block][block] ── memory full ──► (side file) ── a round freed memory ──► [block] ─ ...
//!          └── a round copies from this end; what it leaves goes back to this end
//! ```
//! Small batches are joined in blocks, so that a round makes few system calls. A side file loses
//! its name as soon as it is open: whatever ends the rewrite, kill -9 included, frees its space.
//! It is never synced, since a rewrite does not survive the process. Its writes are made by the
//! writer after the batch was written and released, so they delay the next batch at most; a side
//! file that cannot be written ends the rewrite, never the log.

use crate::persist::aof::log_file::LogFile;
use crate::sys::io::{IoFault, IoResult, Operation, Storage, StorageFile, parent_dir};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Batches are joined up to this size, and side files are copied in pieces of it, bytes.
const BLOCK_BYTES: usize = 256 << 10;
/// A round syncs after so many bytes, so that its time is that of the disk and its last sync short.
const SYNC_STEP_BYTES: u64 = 8 << 20;

/// The name that a side file of the process `pid` has for a moment, next to the AOF.
pub fn spill_path(target: &Path, pid: u32) -> PathBuf {
    parent_dir(target).join(format!("temp-rewriteaof-buffer-{pid}.aof"))
}

/// How much may be kept, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BufferLimits {
    /// `aof-rewrite-buffer-limit`, 0: no limit.
    pub memory_bytes: u64,
    /// `aof-rewrite-buffer-spill-limit`, 0: no side file.
    pub spill_bytes: u64,
}

#[derive(Debug)]
struct SideFile {
    file: Box<dyn StorageFile>,
    len: u64,
    /// Bytes that a round has copied.
    copied: u64,
}

#[derive(Debug)]
enum Piece {
    Block(Vec<u8>),
    Side(SideFile),
}

/// Changes in order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pieces: VecDeque<Piece>,
}

impl Changes {
    /// Bytes that are still to be copied.
    pub fn bytes(&self) -> u64 {
        let of = |piece: &Piece| match piece {
            Piece::Block(block) => block.len() as u64,
            Piece::Side(side) => side.len - side.copied,
        };
        self.pieces.iter().map(of).sum()
    }

    /// Puts what a round has left before what came meanwhile.
    pub fn put_back(&mut self, mut rest: Changes) {
        rest.pieces.append(&mut self.pieces);
        self.pieces = rest.pieces;
    }

    /// Whether dropping this takes long: the kernel frees the blocks of a side file, the allocator
    /// those of memory.
    pub fn is_heavy(&self) -> bool {
        const LIGHT_BLOCKS: usize = 16;
        self.pieces.len() > LIGHT_BLOCKS || self.pieces.iter().any(|piece| matches!(piece, Piece::Side(_)))
    }

    /// Appends the first piece, or a part of it, to `file`. Returns the bytes copied; 0: all is done.
    fn copy_step(&mut self, file: &mut LogFile, sizes: &BufferSizes, copy: &mut Vec<u8>) -> IoResult<u64> {
        let count = match self.pieces.front_mut() {
            None => return Ok(0),
            Some(Piece::Block(block)) => {
                file.append(block).map_err(|failure| failure.fault)?;
                sizes.memory_bytes.fetch_sub(block.len() as u64, Ordering::AcqRel);
                block.len() as u64
            }
            Some(Piece::Side(side)) => {
                let count = side.copy_step(file, copy)?;
                if side.copied < side.len {
                    return Ok(count);
                }
                sizes.spilled_bytes.fetch_sub(side.len, Ordering::AcqRel);
                count
            }
        };
        self.pieces.pop_front();
        Ok(count)
    }

    /// Appends everything to `file`.
    ///
    /// # Errors
    /// The first failed read or write.
    pub fn copy_all(&mut self, file: &mut LogFile, sizes: &BufferSizes) -> IoResult<()> {
        let mut copy = Vec::new();
        while self.copy_step(file, sizes, &mut copy)? > 0 {}
        Ok(())
    }

    /// Appends to `file` and syncs it until everything is copied, `time` is over or `cancelled` is
    /// set. Returns the bytes copied.
    ///
    /// # Errors
    /// The first failed read, write or sync.
    pub fn copy_round(
        &mut self,
        file: &mut LogFile,
        sizes: &BufferSizes,
        time: Duration,
        cancelled: &AtomicBool,
    ) -> IoResult<u64> {
        let start = Instant::now();
        let mut copy = Vec::new();
        let (mut copied, mut synced) = (0, 0);
        while !cancelled.load(Ordering::Acquire) && start.elapsed() < time {
            let count = self.copy_step(file, sizes, &mut copy)?;
            if count == 0 {
                break;
            }
            copied += count;
            if copied - synced >= SYNC_STEP_BYTES {
                file.sync()?;
                synced = copied;
            }
        }
        file.sync()?;
        Ok(copied)
    }
}

impl SideFile {
    fn copy_step(&mut self, file: &mut LogFile, copy: &mut Vec<u8>) -> IoResult<u64> {
        let wanted = (self.len - self.copied).min(BLOCK_BYTES as u64) as usize;
        copy.resize(wanted, 0);
        let count = self.file.read_at(copy, self.copied)?;
        if count == 0 {
            // It is shorter than what was written to it.
            return Err(IoFault::from_errno(Operation::Read, self.file.path(), libc::EIO));
        }
        file.append(&copy[..count]).map_err(|failure| failure.fault)?;
        self.copied += count as u64;
        Ok(count as u64)
    }
}

/// What a buffer holds, the part of a running round included, bytes. For INFO and the limits.
#[derive(Debug, Default)]
pub(super) struct BufferSizes {
    pub memory_bytes: AtomicU64,
    pub spilled_bytes: AtomicU64,
}

/// See the module header.
#[derive(Debug)]
pub(super) struct RewriteBuffer {
    pub changes: Changes,
    pub sizes: Arc<BufferSizes>,
    limits: BufferLimits,
    spill_path: PathBuf,
    /// Bytes moved to the new file so far.
    pub appended_bytes: u64,
}

impl RewriteBuffer {
    pub fn new(limits: BufferLimits, spill_path: PathBuf) -> RewriteBuffer {
        RewriteBuffer {
            changes: Changes::default(),
            sizes: Arc::default(),
            limits,
            spill_path,
            appended_bytes: 0,
        }
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// Why the rewrite must be given up: both limits are reached, or the side file fails.
    pub fn push(&mut self, storage: &dyn Storage, bytes: Vec<u8>) -> Result<(), String> {
        let len = bytes.len() as u64;
        let memory = self.sizes.memory_bytes.load(Ordering::Acquire) + len;
        if self.limits.memory_bytes == 0 || memory <= self.limits.memory_bytes {
            self.push_block(bytes);
            self.sizes.memory_bytes.fetch_add(len, Ordering::AcqRel);
            return Ok(());
        }
        let spilled = self.sizes.spilled_bytes.load(Ordering::Acquire) + len;
        if spilled > self.limits.spill_bytes {
            return Err(format!(
                "the changes meanwhile exceed aof-rewrite-buffer-limit ({} bytes in memory) and \
                 aof-rewrite-buffer-spill-limit ({} bytes in a side file)",
                self.limits.memory_bytes, self.limits.spill_bytes
            ));
        }
        let failed = |fault| format!("the side file of the rewrite buffer failed: {fault}");
        self.push_side(storage, &bytes).map_err(failed)?;
        self.sizes.spilled_bytes.fetch_add(len, Ordering::AcqRel);
        Ok(())
    }

    fn push_block(&mut self, bytes: Vec<u8>) {
        if let Some(Piece::Block(last)) = self.changes.pieces.back_mut()
            && last.len() + bytes.len() <= BLOCK_BYTES
        {
            return last.extend_from_slice(&bytes);
        }
        let block = if bytes.len() >= BLOCK_BYTES / 2 {
            bytes
        } else {
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            block.extend_from_slice(&bytes);
            block
        };
        self.changes.pieces.push_back(Piece::Block(block));
    }

    fn push_side(&mut self, storage: &dyn Storage, bytes: &[u8]) -> IoResult<()> {
        if !matches!(self.changes.pieces.back(), Some(Piece::Side(_))) {
            let file = storage.create(&self.spill_path)?;
            storage.remove(&self.spill_path)?;
            log::info!(
                "The AOF rewrite buffer goes on in a side file in {}",
                parent_dir(&self.spill_path).display()
            );
            self.changes.pieces.push_back(Piece::Side(SideFile { file, len: 0, copied: 0 }));
        }
        if let Some(Piece::Side(side)) = self.changes.pieces.back_mut() {
            side.file.write_all(bytes)?;
            side.len += bytes.len() as u64;
        }
        Ok(())
    }
}
