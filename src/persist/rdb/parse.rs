//! A pull parser: header and opcodes turned into events, one a call.
//!
//! Knows the order of things in a file and nothing of keyspaces; `load` and `check` use it.

use crate::persist::rdb::error::{RdbError, RdbErrorKind, Step};
use crate::persist::rdb::input::{FileInput, Input};
use crate::persist::rdb::string::{self, read_len};
use crate::persist::rdb::{CHECKSUM_VERSION_MIN, REDIS_VERSION_MAX, VALKEY_VERSION, opcode, skip, values};

/// Bytes of magic and version: `REDIS0010`, `VALKEY080`.
pub const MAGIC_BYTES: usize = 9;

/// What stands before a key and belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Unix ms.
    pub expiry_ms: Option<i64>,
    /// Seconds since the last access.
    pub idle_s: Option<u64>,
    /// LFU counter.
    pub frequency: Option<u8>,
}

/// One thing found. Names and values are in the parser's fields of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `key` and `value` hold name and content of a field about the file.
    Aux,
    SelectDb(u64),
    Resize {
        keys: u64,
        volatile: u64,
    },
    /// `value` holds the code.
    Function,
    /// A module's data, skipped.
    ModuleAux(u64),
    /// `key` holds the key; a value of this type follows and must be read or skipped now.
    Key(u8, Attributes),
    /// The end; the checksum has been compared.
    End,
}

/// How the stored checksum compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumState {
    /// The version has none, or the caller did not want it.
    NotLooked,
    /// It was switched off when the file was written.
    Disabled,
    Right,
}

/// Reads a file event by event.
pub struct Parser {
    pub input: FileInput,
    pub version: u32,
    /// Buffers, used again for each event.
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub scratch: Vec<u8>,
    pub checksum: ChecksumState,
    /// What is being read, for messages.
    pub step: Step,
    pub type_number: Option<u8>,
    /// Found since the last key; other opcodes may stand between them and their key (KeyDB).
    attributes: Attributes,
    compare_checksum: bool,
}

impl Parser {
    /// Reads the header.
    ///
    /// # Errors
    /// Not an RDB, or of a version that is not known.
    pub fn new(input: FileInput, compare_checksum: bool) -> Result<Self, RdbError> {
        let mut parser = Parser {
            input,
            version: 0,
            key: Vec::new(),
            value: Vec::new(),
            scratch: Vec::new(),
            checksum: ChecksumState::NotLooked,
            step: Step::Start,
            type_number: None,
            attributes: Attributes::default(),
            compare_checksum,
        };
        match parser.read_header() {
            Ok(version) => parser.version = version,
            Err(kind) => return Err(parser.error(kind)),
        }
        Ok(parser)
    }

    fn read_header(&mut self) -> Result<u32, RdbErrorKind> {
        version_of(&self.input.take_array()?)
    }

    /// Whether a key that comes next has nothing before it.
    pub fn is_between_keys(&self) -> bool {
        self.attributes == Attributes::default()
    }

    /// An error at the present place.
    #[cold]
    pub fn error(&self, kind: RdbErrorKind) -> RdbError {
        let at_key = matches!(self.step, Step::Value);
        RdbError {
            kind,
            offset: self.input.offset(),
            step: self.step,
            key: at_key.then(|| self.key.clone()),
            type_number: self.type_number.filter(|_| at_key || self.step == Step::Key),
        }
    }

    /// The next event.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn next_event(&mut self) -> Result<Event, RdbError> {
        self.read_event().map_err(|kind| self.error(kind))
    }

    fn read_event(&mut self) -> Result<Event, RdbErrorKind> {
        loop {
            self.step = Step::Type;
            let byte = self.input.take_u8()?;
            match byte {
                opcode::EXPIRETIME_MS => {
                    self.step = Step::Expire;
                    self.attributes.expiry_ms = Some(i64::from_le_bytes(self.input.take_array()?));
                }
                opcode::EXPIRETIME => {
                    self.step = Step::Expire;
                    let seconds = i32::from_le_bytes(self.input.take_array()?);
                    self.attributes.expiry_ms = Some(i64::from(seconds) * 1000);
                }
                opcode::FREQ => self.attributes.frequency = Some(self.input.take_u8()?),
                opcode::IDLE => self.attributes.idle_s = Some(read_len(&mut self.input)?),
                opcode::SLOT_INFO => {
                    self.step = Step::Len;
                    (0..3).try_for_each(|_| read_len(&mut self.input).map(|_| ()))?;
                }
                _ if values::is_type(byte) => {
                    self.step = Step::Key;
                    let number = values::number_of(byte, self.version == VALKEY_VERSION);
                    self.type_number = Some(number);
                    string::read_bytes(&mut self.input, &mut self.scratch, &mut self.key)?;
                    self.step = Step::Value;
                    return Ok(Event::Key(number, std::mem::take(&mut self.attributes)));
                }
                _ => return self.read_opcode(byte),
            }
        }
    }

    fn read_opcode(&mut self, byte: u8) -> Result<Event, RdbErrorKind> {
        match byte {
            opcode::SELECTDB => {
                self.step = Step::Len;
                read_len(&mut self.input).map(Event::SelectDb)
            }
            opcode::RESIZEDB => {
                self.step = Step::Len;
                let keys = read_len(&mut self.input)?;
                let volatile = read_len(&mut self.input)?;
                Ok(Event::Resize { keys, volatile })
            }
            opcode::AUX => {
                self.step = Step::Aux;
                string::read_bytes(&mut self.input, &mut self.scratch, &mut self.key)?;
                string::read_bytes(&mut self.input, &mut self.scratch, &mut self.value)?;
                Ok(Event::Aux)
            }
            opcode::FUNCTION2 => {
                self.step = Step::Functions;
                string::read_bytes(&mut self.input, &mut self.scratch, &mut self.value)?;
                Ok(Event::Function)
            }
            opcode::FUNCTION_PRE_GA => Err(RdbErrorKind::OldFunctions),
            opcode::MODULE_AUX => self.read_module_aux(),
            opcode::EOF => self.read_end(),
            _ => Err(RdbErrorKind::UnknownType(byte)),
        }
    }

    fn read_module_aux(&mut self) -> Result<Event, RdbErrorKind> {
        const WHEN_IS_UINT: u64 = 2;
        self.step = Step::ModuleAux;
        let id = read_len(&mut self.input)?;
        if read_len(&mut self.input)? != WHEN_IS_UINT {
            return Err(RdbErrorKind::Corrupt("bad when_opcode"));
        }
        read_len(&mut self.input)?;
        skip::skip_module_value(&mut self.input, &mut self.scratch)?;
        Ok(Event::ModuleAux(id))
    }

    fn read_end(&mut self) -> Result<Event, RdbErrorKind> {
        if self.version < CHECKSUM_VERSION_MIN {
            return Ok(Event::End);
        }
        self.step = Step::Checksum;
        let expected = self.input.checksum();
        let got = u64::from_le_bytes(self.input.take_array()?);
        if got == 0 {
            self.checksum = ChecksumState::Disabled;
        } else if self.compare_checksum {
            if got != expected {
                return Err(RdbErrorKind::Checksum { expected, got });
            }
            self.checksum = ChecksumState::Right;
        }
        Ok(Event::End)
    }
}

/// The version that a header names.
///
/// # Errors
/// Not an RDB, or of a version that is not known.
pub fn version_of(magic: &[u8; MAGIC_BYTES]) -> Result<u32, RdbErrorKind> {
    let (digits, wanted) = match magic {
        [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (&digits[..], 1..=REDIS_VERSION_MAX),
        [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (&digits[..], VALKEY_VERSION..=VALKEY_VERSION),
        _ => return Err(RdbErrorKind::WrongSignature),
    };
    let text = String::from_utf8_lossy(digits);
    let version = text.parse().ok().filter(|version| wanted.contains(version));
    version.ok_or_else(|| RdbErrorKind::UnsupportedVersion(text.trim_start_matches('0').to_owned()))
}
