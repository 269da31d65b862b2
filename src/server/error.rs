//! Reply errors: the exact texts of Redis 7.2, in one file.
//!
//! Clients and tests match these texts, so they are facts of the protocol. A handler returns
//! `Err(error::SYNTAX)`; texts with parts are made by the functions at the end.

use crate::value::zset::NotANumber;
use std::borrow::Cow;

/// An error reply, without the leading `-` and the line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError(Cow<'static, [u8]>);

/// What a command handler returns: its reply is written, or this error is to be sent instead.
pub type CommandResult = Result<(), ReplyError>;

impl ReplyError {
    pub const fn fixed(text: &'static str) -> Self {
        ReplyError(Cow::Borrowed(text.as_bytes()))
    }

    /// An error with the code `ERR`.
    pub fn err(text: impl AsRef<[u8]>) -> Self {
        ReplyError(Cow::Owned([b"ERR ", text.as_ref()].concat()))
    }

    /// A whole error line, code included.
    pub fn coded(text: impl Into<Vec<u8>>) -> Self {
        ReplyError(Cow::Owned(text.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The code: the text up to the first blank (`ERR`, `WRONGTYPE`).
    pub fn code(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == b' ').unwrap_or(self.0.len());
        &self.0[..end]
    }

    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

macro_rules! errors {
    ($($name:ident = $text:literal;)*) => {
        $(pub const $name: ReplyError = ReplyError::fixed($text);)*
    };
}

errors! {
    SYNTAX = "ERR syntax error";
    WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    NO_SUCH_KEY = "ERR no such key";
    NOT_INTEGER = "ERR value is not an integer or out of range";
    NOT_FLOAT = "ERR value is not a valid float";
    OUT_OF_RANGE = "ERR value is out of range";
    MUST_BE_POSITIVE = "ERR value is out of range, must be positive";
    INDEX_OUT_OF_RANGE = "ERR index out of range";
    SAME_OBJECT = "ERR source and destination objects are the same";
    OVERFLOW = "ERR increment or decrement would overflow";
    DECR_OVERFLOW = "ERR decrement would overflow";
    NAN_SCORE = "ERR resulting score is not a number (NaN)";
    NAN_OR_INFINITY = "ERR increment would produce NaN or Infinity";
    STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    OFFSET_OUT_OF_RANGE = "ERR offset is out of range";
    BIT_OFFSET = "ERR bit offset is not an integer or out of range";
    BIT_VALUE = "ERR bit is not an integer or out of range";
    INVALID_DB = "ERR invalid DB index";
    DB_OUT_OF_RANGE = "ERR DB index is out of range";
    NO_AUTH = "NOAUTH Authentication required.";
    WRONG_PASS = "WRONGPASS invalid username-password pair or user is disabled.";
    AUTH_NOT_CONFIGURED = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
    LOADING = "LOADING Redis is loading the dataset in memory";
    BUSY_SCRIPT = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    MISCONF_RDB = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";
    OOM = "OOM command not allowed when used memory > 'maxmemory'.";
    READ_ONLY = "READONLY You can't write against a read only replica.";
    MASTER_DOWN = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    NO_REPLICAS = "NOREPLICAS Not enough good replicas to write.";
    EXEC_ABORT = "EXECABORT Transaction discarded because of previous errors.";
    MULTI_NESTED = "ERR MULTI calls can not be nested";
    EXEC_WITHOUT_MULTI = "ERR EXEC without MULTI";
    DISCARD_WITHOUT_MULTI = "ERR DISCARD without MULTI";
    WATCH_IN_MULTI = "ERR WATCH inside MULTI is not allowed";
    NOT_ALLOWED_IN_MULTI = "ERR Command not allowed inside a transaction";
    BUSY_KEY = "BUSYKEY Target key name already exists.";
    BAD_DUMP = "ERR DUMP payload version or checksum are wrong";
    BAD_DATA_FORMAT = "ERR Bad data format";
    INVALID_TTL = "ERR Invalid TTL value, must be >= 0";
    INVALID_IDLETIME = "ERR Invalid IDLETIME value, must be >= 0";
    INVALID_FREQ = "ERR Invalid FREQ value, must be >= 0 and <= 255";
    BGSAVE_IN_PROGRESS = "ERR Background save already in progress";
    INVALID_CURSOR = "ERR invalid cursor";
    MAX_CLIENTS = "ERR max number of clients reached";
    UNBLOCKED = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    ROLE_CHANGED = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
    NO_PROTO = "NOPROTO unsupported protocol version";
    PROTOCOL_VERSION = "ERR Protocol version is not an integer or out of range";
    HELLO_NO_AUTH = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
    CLIENT_NAME = "ERR Client names cannot contain spaces, newlines or special characters.";
    TIMEOUT_NOT_INTEGER = "ERR timeout is not an integer or out of range";
    TIMEOUT_NOT_FLOAT = "ERR timeout is not a float or out of range";
    TIMEOUT_NEGATIVE = "ERR timeout is negative";
    TIMEOUT_OUT_OF_RANGE = "ERR timeout is out of range";
}

impl From<NotANumber> for ReplyError {
    fn from(_: NotANumber) -> Self {
        NAN_SCORE
    }
}

/// EXEC itself was refused: `EXECABORT Transaction discarded because of: ...`.
pub fn exec_abort(reason: &ReplyError) -> ReplyError {
    let reason = reason.as_bytes();
    let reason = reason.strip_prefix(b"ERR ").unwrap_or(reason);
    ReplyError::coded([b"EXECABORT Transaction discarded because of: ", reason].concat())
}

/// `ERR value is out of range, value must between 0 and 10` (the grammar is Redis's).
pub fn out_of_int_range(min: i64, max: i64) -> ReplyError {
    ReplyError::err(format!("value is out of range, value must between {min} and {max}"))
}

/// `ERR wrong number of arguments for 'get' command`.
pub fn wrong_arity(full_name: &str) -> ReplyError {
    ReplyError::err(format!("wrong number of arguments for '{full_name}' command"))
}

/// `ERR invalid expire time in 'set' command`.
pub fn invalid_expire(full_name: &str) -> ReplyError {
    ReplyError::err(format!("invalid expire time in '{full_name}' command"))
}

/// `ERR unknown subcommand 'x'. Try CONFIG HELP.` (at most 128 bytes of the name, as Redis).
pub fn unknown_subcommand(given: &[u8], parent: &str) -> ReplyError {
    let shown = &given[..given.len().min(128)];
    let mut text = b"unknown subcommand '".to_vec();
    text.extend_from_slice(shown);
    text.extend_from_slice(format!("'. Try {} HELP.", parent.to_uppercase()).as_bytes());
    ReplyError::err(text)
}

/// `ERR unknown subcommand or wrong number of arguments for 'x'. Try CONFIG HELP.`
pub fn wrong_subcommand_syntax(given: &[u8], parent: &str) -> ReplyError {
    let mut text = b"unknown subcommand or wrong number of arguments for '".to_vec();
    text.extend_from_slice(&given[..given.len().min(128)]);
    text.extend_from_slice(format!("'. Try {} HELP.", parent.to_uppercase()).as_bytes());
    ReplyError::err(text)
}

/// `ERR unknown command 'x', with args beginning with: 'a' 'b' `. As in Redis a zero byte ends the
/// text of an argument.
pub fn unknown_command(name: &[u8], args: impl Iterator<Item = impl AsRef<[u8]>>) -> ReplyError {
    const SHOWN_MAX: usize = 128;
    let mut list = Vec::new();
    for argument in args {
        if list.len() >= SHOWN_MAX {
            break;
        }
        let argument = until_zero(argument.as_ref());
        list.push(b'\'');
        list.extend_from_slice(&argument[..argument.len().min(SHOWN_MAX - (list.len() - 1).min(SHOWN_MAX))]);
        list.extend_from_slice(b"' ");
    }
    let name = until_zero(name);
    let mut text = b"unknown command '".to_vec();
    text.extend_from_slice(&name[..name.len().min(SHOWN_MAX)]);
    text.extend_from_slice(b"', with args beginning with: ");
    text.extend_from_slice(&list);
    ReplyError::err(text)
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
