//! Following a data set that arrives in pieces: is it an RDB whose records, types and databases are known
//! here, and up to where is it whole? Nothing is decoded, nothing is kept but a place; what stands inside
//! of a packed value, and whether a key comes twice, only the load finds out.
//!
//! ```text
//!  fed:  | records that are whole ........ | part of one ....|  next piece
//!        0                                 ^ whole           ^ fed
//! ```
//! A replica asks it before old data are dropped for a file, and, when the data set comes straight from
//! the socket, how far the parser may go without having to wait. About 20 ns a string.

use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::{Input, SliceInput};
use crate::persist::rdb::layout::{self, Part, Walk};
use crate::persist::rdb::parse::{MAGIC_BYTES, version_of};
use crate::persist::rdb::string::read_len;
use crate::persist::rdb::{CHECKSUM_VERSION_MIN, VALKEY_VERSION, opcode, skip, values};

/// The longest head that is read at once, bytes: a module's part, a compressed string.
const HEAD_BYTES_MAX: usize = 32;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Magic,
    Records,
    /// Behind the mark of the end: the checksum may follow.
    End,
}

/// A scan under way.
#[derive(Clone, Debug)]
pub struct Scanner {
    stage: Stage,
    version: u32,
    /// Databases that there are here.
    databases: usize,
    walk: Walk,
    /// Bytes to come that need not be looked at.
    unseen: u64,
    /// The beginning of a head whose end has not come.
    held: Vec<u8>,
    /// What is being read belongs to a key that follows.
    before_key: bool,
    fed: u64,
    whole: u64,
    keys: u64,
}

impl Scanner {
    /// From the first byte on. `databases`: how many may be named.
    pub fn new(databases: usize) -> Self {
        Scanner {
            stage: Stage::Magic,
            version: 0,
            databases,
            walk: Walk::default(),
            unseen: 0,
            held: Vec::with_capacity(HEAD_BYTES_MAX),
            before_key: false,
            fed: 0,
            whole: 0,
            keys: 0,
        }
    }

    /// From behind the header on.
    pub fn behind_header(version: u32, databases: usize) -> Self {
        let header = MAGIC_BYTES as u64;
        Scanner { stage: Stage::Records, version, fed: header, whole: header, ..Scanner::new(databases) }
    }

    /// Up to where all records are whole, bytes from the start.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// Keys so far.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Whether the end has come, with everything before it.
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::End && self.is_between()
    }

    /// Bytes of the record that is not whole.
    pub fn open_bytes(&self) -> u64 {
        self.fed - self.whole
    }

    fn is_between(&self) -> bool {
        self.unseen == 0 && self.walk.part().is_none() && self.held.is_empty()
    }

    /// Takes the next bytes; those behind the end are not looked at.
    ///
    /// # Errors
    /// No server of this version can load what has come.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), RdbErrorKind> {
        while !bytes.is_empty() && !self.has_ended() {
            let used = if self.unseen > 0 {
                self.pass_over(bytes.len())
            } else if self.held.is_empty() {
                self.read_heads(bytes)?
            } else {
                self.read_held(bytes)?
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    fn pass_over(&mut self, ready: usize) -> usize {
        let count = self.unseen.min(ready as u64);
        self.unseen -= count;
        self.advance(count);
        count as usize
    }

    fn advance(&mut self, count: u64) {
        self.fed += count;
        if self.unseen == 0 && self.walk.part().is_none() && !self.before_key {
            self.whole = self.fed;
        }
    }

    /// Reads heads as long as they are whole. Gives how many bytes are used; the rest is held.
    fn read_heads(&mut self, bytes: &[u8]) -> Result<usize, RdbErrorKind> {
        let mut input = SliceInput::new(bytes);
        let mut used = 0;
        while used < bytes.len() && self.unseen == 0 && !self.has_ended() {
            match self.read_head(&mut input) {
                Ok(()) => {
                    let end = input.offset() as usize;
                    self.advance((end - used) as u64);
                    // Most that is not to be seen is here already.
                    let passed = self.pass_over(bytes.len() - end);
                    input.take(passed)?;
                    used = end + passed;
                }
                Err(RdbErrorKind::UnexpectedEof) => {
                    debug_assert!(bytes.len() - used < HEAD_BYTES_MAX);
                    self.held.extend_from_slice(&bytes[used..]);
                    return Ok(bytes.len());
                }
                Err(kind) => return Err(kind),
            }
        }
        Ok(used)
    }

    /// Completes a head that was cut. Gives how many of `bytes` belong to it.
    fn read_held(&mut self, bytes: &[u8]) -> Result<usize, RdbErrorKind> {
        let before = self.held.len();
        let mut head = std::mem::take(&mut self.held);
        head.extend_from_slice(&bytes[..bytes.len().min(HEAD_BYTES_MAX - before)]);
        let mut input = SliceInput::new(&head);
        match self.read_head(&mut input) {
            Ok(()) => {
                let end = input.offset();
                self.advance(end);
                head.clear();
                self.held = head;
                Ok(end as usize - before)
            }
            Err(RdbErrorKind::UnexpectedEof) if head.len() < HEAD_BYTES_MAX => {
                self.held = head;
                Ok(bytes.len())
            }
            Err(kind) => Err(kind),
        }
    }

    /// One head: it is read whole, or nothing has changed.
    #[inline]
    fn read_head(&mut self, input: &mut SliceInput<'_>) -> Result<(), RdbErrorKind> {
        match self.stage {
            Stage::Magic => {
                self.version = version_of(&input.take_array::<MAGIC_BYTES>()?)?;
                self.stage = Stage::Records;
            }
            _ if self.walk.part().is_some() => self.unseen = self.walk.read_head(input)?,
            _ => self.read_opcode(input)?,
        }
        Ok(())
    }

    fn read_opcode(&mut self, input: &mut SliceInput<'_>) -> Result<(), RdbErrorKind> {
        let byte = input.take_u8()?;
        self.before_key = matches!(
            byte,
            opcode::EXPIRETIME_MS | opcode::EXPIRETIME | opcode::FREQ | opcode::IDLE | opcode::SLOT_INFO
        );
        let parts: &'static [Part] = match byte {
            opcode::EXPIRETIME_MS => &[Part::Raw(8)],
            opcode::EXPIRETIME => &[Part::Raw(4)],
            opcode::FREQ => &[Part::Raw(1)],
            opcode::IDLE => &[Part::Number],
            opcode::SLOT_INFO => &[Part::Number, Part::Number, Part::Number],
            opcode::RESIZEDB => &[Part::Number, Part::Number],
            opcode::AUX => &[Part::Text, Part::Text],
            opcode::FUNCTION2 => &[Part::Text],
            opcode::SELECTDB => return self.check_db(read_len(input)?),
            opcode::MODULE_AUX => return Err(RdbErrorKind::Module(skip::module_name(read_len(input)?))),
            opcode::FUNCTION_PRE_GA => return Err(RdbErrorKind::OldFunctions),
            opcode::EOF => {
                self.stage = Stage::End;
                if self.version < CHECKSUM_VERSION_MIN { &[] } else { &[Part::Raw(8)] }
            }
            _ => return self.enter_key(byte),
        };
        if !parts.is_empty() {
            self.walk.enter(parts);
        }
        Ok(())
    }

    fn check_db(&self, db: u64) -> Result<(), RdbErrorKind> {
        if db >= self.databases as u64 {
            return Err(RdbErrorKind::TooManyDatabases { wanted: db, configured: self.databases });
        }
        Ok(())
    }

    fn enter_key(&mut self, byte: u8) -> Result<(), RdbErrorKind> {
        // As in the parser: numbers of this program are no types of a file.
        if !values::is_type(byte) {
            return Err(RdbErrorKind::UnknownType(byte));
        }
        let number = values::number_of(byte, self.version == VALKEY_VERSION);
        if !values::is_loadable(number) {
            // Says which type it is.
            layout::parts_of(number)?;
            return Err(RdbErrorKind::TypeNotSupported(number));
        }
        self.walk.enter(layout::parts_of(number)?);
        self.walk.enter(&[Part::Text]);
        self.keys += 1;
        Ok(())
    }
}
