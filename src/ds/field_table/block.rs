//! One field in one block: lengths, field, value and, where it has one, the expiry.
//!
//! ```text
//!  | expiry, Unix ms, i64 | field len | value len | field | value |
//!    only with HAS_EXPIRY   1, 3, 5 or 9 bytes each
//!
//!  len: one byte up to 0xFC; 0xFD and u16, 0xFE and u32, 0xFF and u64, little endian
//! ```
//! A field of 16 bytes with a value of 32 takes 50 bytes, a block of 56. The *word* of a field is
//! its block's address with [`HAS_EXPIRY`] in the lowest bit (blocks are aligned to 8), so that
//! fields without an expiry are told apart without a look at them.
#![allow(unsafe_code)]

use crate::sys::data_alloc::{self, Kind, Mover};
use std::ptr::NonNull;
use std::slice;

/// The bit of a word that says that the block begins with an expiry.
const HAS_EXPIRY: u64 = 1;
const EXPIRY_BYTES: usize = 8;

/// Largest length in a single byte; what follows announces longer ones.
const SHORT_MAX: u8 = 0xFC;
const U16_MARK: u8 = 0xFD;
const U32_MARK: u8 = 0xFE;
const U64_MARK: u8 = 0xFF;

/// A field as the table holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    /// Unix ms.
    pub expiry_ms: Option<i64>,
}

/// Bytes that a length takes.
#[inline]
fn len_bytes(len: usize) -> usize {
    match len {
        0..=0xFC => 1,
        0xFD..=0xFFFF => 3,
        0x1_0000..=0xFFFF_FFFF => 5,
        _ => 9,
    }
}

/// What a block for these lengths takes.
#[inline]
fn block_bytes(name: usize, value: usize, has_expiry: bool) -> usize {
    let expiry = if has_expiry { EXPIRY_BYTES } else { 0 };
    expiry + len_bytes(name) + len_bytes(value) + name + value
}

/// Where the parts of a living block lie.
#[derive(Clone, Copy)]
struct Layout {
    name: NonNull<u8>,
    name_len: usize,
    value_len: usize,
    /// Bytes before the name.
    head: usize,
}

/// A living block, by its word.
#[derive(Clone, Copy)]
pub struct Block {
    start: NonNull<u8>,
    has_expiry: bool,
}

impl Block {
    /// # Safety
    /// `word` came from [`Block::word`] of a block that lives as long as the result is used.
    #[inline(always)]
    pub unsafe fn of_word(word: u64) -> Self {
        // SAFETY: by the contract the word is the address of a live block, so not null.
        let start = unsafe { NonNull::new_unchecked((word & !HAS_EXPIRY) as *mut u8) };
        Block { start, has_expiry: word & HAS_EXPIRY != 0 }
    }

    /// What the table stores.
    #[inline(always)]
    pub fn word(self) -> u64 {
        self.start.as_ptr() as u64 | u64::from(self.has_expiry)
    }

    /// The first byte, for a prefetch.
    #[inline(always)]
    pub fn address(self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Builds a block. It lives until [`Block::free`].
    pub fn create(name: &[u8], value: &[u8], expiry_ms: Option<i64>) -> Self {
        let bytes = block_bytes(name.len(), value.len(), expiry_ms.is_some());
        let block = Block { start: data_alloc::alloc(Kind::Value, bytes), has_expiry: expiry_ms.is_some() };
        // SAFETY: the block is fresh, `bytes` long, and the parts written add up to that.
        unsafe {
            let mut at = block.start;
            if let Some(expiry_ms) = expiry_ms {
                at.cast::<i64>().write(expiry_ms);
                at = at.add(EXPIRY_BYTES);
            }
            at = write_len(at, name.len());
            at = write_len(at, value.len());
            at.copy_from_nonoverlapping(NonNull::from(name).cast(), name.len());
            at.add(name.len()).copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
        }
        block
    }

    /// Moves the block out of a slab that is to be emptied.
    ///
    /// # Safety
    /// The block lives and nobody else looks at it; the caller forgets it for the result.
    pub unsafe fn relocate(self, mover: &mut Mover) -> Option<Self> {
        // SAFETY: the block lives (contract); its size follows from what it holds.
        let start = unsafe { mover.relocate(self.start, self.total_bytes()) }?;
        Some(Block { start, ..self })
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// The block lives, and neither it nor a copy nor a view of it is used afterwards.
    pub unsafe fn free(self) {
        // SAFETY: the block lives (contract); its size follows from what it holds.
        unsafe { data_alloc::free(self.start, self.total_bytes()) };
    }

    /// Bytes in use.
    ///
    /// # Safety
    /// The block lives.
    unsafe fn total_bytes(self) -> usize {
        // SAFETY: the block lives (contract).
        let layout = unsafe { self.layout() };
        layout.head + layout.name_len + layout.value_len
    }

    /// Bytes of the allocator's class that it occupies.
    ///
    /// # Safety
    /// The block lives.
    #[inline]
    pub unsafe fn allocated_bytes(self) -> usize {
        // SAFETY: the block lives (contract).
        data_alloc::usable_size(unsafe { self.total_bytes() })
    }

    /// # Safety
    /// The block lives.
    #[inline(always)]
    unsafe fn layout(self) -> Layout {
        let expiry = if self.has_expiry { EXPIRY_BYTES } else { 0 };
        // SAFETY: the caller has shown that the block lives: two lengths follow the expiry, and
        // the bytes after them belong to it.
        unsafe {
            let at = self.start.add(expiry);
            let (first, second) = (at.read(), at.add(1).read());
            if first <= SHORT_MAX && second <= SHORT_MAX {
                let (name_len, value_len) = (usize::from(first), usize::from(second));
                return Layout { name: at.add(2), name_len, value_len, head: expiry + 2 };
            }
            let (name_len, value_at) = read_len(at);
            let (value_len, name) = read_len(value_at);
            Layout { name, name_len, value_len, head: name.offset_from_unsigned(self.start) }
        }
    }

    /// The field's name.
    ///
    /// # Safety
    /// The block lives and is not changed through `'a`.
    #[inline(always)]
    pub unsafe fn name<'a>(self) -> &'a [u8] {
        // SAFETY: the block lives and is not changed (contract); the layout lies inside it.
        unsafe {
            let layout = self.layout();
            slice::from_raw_parts(layout.name.as_ptr(), layout.name_len)
        }
    }

    /// When it expires, Unix ms.
    ///
    /// # Safety
    /// The block lives.
    #[inline(always)]
    pub unsafe fn expiry_ms(self) -> Option<i64> {
        // SAFETY: the bit says that the block begins with the expiry; blocks are aligned to 8.
        self.has_expiry.then(|| unsafe { self.start.cast::<i64>().read() })
    }

    /// All that the block holds.
    ///
    /// # Safety
    /// The block lives and is not changed through `'a`.
    #[inline]
    pub unsafe fn field<'a>(self) -> Field<'a> {
        // SAFETY: the block lives and is not changed (contract); the layout lies inside it.
        unsafe {
            let layout = self.layout();
            let value = layout.name.add(layout.name_len);
            Field {
                name: slice::from_raw_parts(layout.name.as_ptr(), layout.name_len),
                value: slice::from_raw_parts(value.as_ptr(), layout.value_len),
                expiry_ms: self.expiry_ms(),
            }
        }
    }

    /// Overwrites value and expiry, in place where the class and the layout stay. Returns the
    /// block from now on.
    ///
    /// # Safety
    /// The block lives and nobody else looks at it; the caller forgets it for the result. `value`
    /// lies outside of it.
    #[inline]
    pub unsafe fn overwrite(self, value: &[u8], expiry_ms: Option<i64>) -> Self {
        // SAFETY: the block lives (contract).
        let layout = unsafe { self.layout() };
        let old_bytes = layout.head + layout.name_len + layout.value_len;
        let new_bytes = layout.head + layout.name_len + value.len();
        let stays = self.has_expiry == expiry_ms.is_some()
            && len_bytes(layout.value_len) == len_bytes(value.len())
            && data_alloc::usable_size(old_bytes) == data_alloc::usable_size(new_bytes);
        // SAFETY: the caller owns the block alone. In place, the new value fits the class and the
        // lengths keep their places. Else the name is copied before the old block is freed.
        unsafe {
            if !stays {
                let moved = Block::create(self.name(), value, expiry_ms);
                self.free();
                return moved;
            }
            if let Some(expiry_ms) = expiry_ms {
                self.start.cast::<i64>().write(expiry_ms);
            }
            let value_len_at = layout.name.sub(len_bytes(value.len()));
            write_len(value_len_at, value.len());
            let target = layout.name.add(layout.name_len);
            target.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
        }
        self
    }

    /// Sets or drops the expiry. Returns the block from now on.
    ///
    /// # Safety
    /// As [`Block::overwrite`].
    pub unsafe fn set_expiry(self, expiry_ms: Option<i64>) -> Self {
        // SAFETY: as the contract says; the value is copied before the old block is freed.
        unsafe {
            if let (true, Some(expiry_ms)) = (self.has_expiry, expiry_ms) {
                self.start.cast::<i64>().write(expiry_ms);
                return self;
            }
            if !self.has_expiry && expiry_ms.is_none() {
                return self;
            }
            let field = self.field();
            let moved = Block::create(field.name, field.value, expiry_ms);
            self.free();
            moved
        }
    }
}

/// Writes a length and returns the place behind it.
///
/// # Safety
/// [`len_bytes`] of `len` bytes at `at` may be written.
#[inline(always)]
unsafe fn write_len(at: NonNull<u8>, len: usize) -> NonNull<u8> {
    // SAFETY: as the contract says; the arms write 1, 3, 5 and 9 bytes, as `len_bytes` does.
    unsafe {
        match len {
            0..=0xFC => at.write(len as u8),
            0xFD..=0xFFFF => {
                at.write(U16_MARK);
                at.add(1).cast::<[u8; 2]>().write((len as u16).to_le_bytes());
            }
            0x1_0000..=0xFFFF_FFFF => {
                at.write(U32_MARK);
                at.add(1).cast::<[u8; 4]>().write((len as u32).to_le_bytes());
            }
            _ => {
                at.write(U64_MARK);
                at.add(1).cast::<[u8; 8]>().write((len as u64).to_le_bytes());
            }
        }
        at.add(len_bytes(len))
    }
}

/// The length at `at` and the place behind it.
///
/// # Safety
/// `write_len` wrote there.
unsafe fn read_len(at: NonNull<u8>) -> (usize, NonNull<u8>) {
    // SAFETY: as the contract says; the mark tells how many bytes were written.
    unsafe {
        let bytes = at.add(1);
        match at.read() {
            U16_MARK => (usize::from(u16::from_le_bytes(bytes.cast::<[u8; 2]>().read())), at.add(3)),
            U32_MARK => (u32::from_le_bytes(bytes.cast::<[u8; 4]>().read()) as usize, at.add(5)),
            U64_MARK => (u64::from_le_bytes(bytes.cast::<[u8; 8]>().read()) as usize, at.add(9)),
            short => (usize::from(short), bytes),
        }
    }
}
