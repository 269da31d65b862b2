//! Rules of ACL SETUSER: what can be wrong with them, and putting selectors together that were
//! given in several words.

use crate::server::config::{AclPubsubDefault, Config};
use crate::server::spec::CommandTable;

/// What a rule is understood with.
#[derive(Clone, Copy)]
pub struct RuleContext<'a> {
    pub commands: &'a CommandTable,
    /// New selectors may use all channels (`acl-pubsub-default allchannels`).
    pub all_channels: bool,
}

impl<'a> RuleContext<'a> {
    pub fn new(commands: &'a CommandTable, config: &Config) -> Self {
        let all_channels = config.acl_pubsub_default == AclPubsubDefault::AllChannels;
        RuleContext { commands, all_channels }
    }
}

/// Why a rule was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    UnknownCommand,
    Syntax,
    /// A key pattern after `~*`.
    KeyAfterAll,
    /// A channel pattern after `&*`.
    ChannelAfterAll,
    NoSuchPassword,
    BadPasswordHash,
    DuplicateUser,
    FirstArgumentOfSubcommand,
}

impl RuleError {
    /// The text of Redis 7.2.
    pub fn text(self) -> &'static str {
        match self {
            RuleError::UnknownCommand => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::KeyAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::ChannelAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            RuleError::BadPasswordHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::DuplicateUser => {
                "Duplicate user found. A user can only be defined once in config files"
            }
            RuleError::FirstArgumentOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        }
    }
}

/// Joins the words of a selector: `(+get`, `~a)` becomes `(+get ~a)`.
///
/// # Errors
/// The index of the word that opens a parenthesis which nothing closes.
pub fn merge_selectors<W: AsRef<[u8]>>(words: &[W]) -> Result<Vec<Vec<u8>>, usize> {
    let mut merged: Vec<Vec<u8>> = Vec::with_capacity(words.len());
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (index, word) in words.iter().enumerate() {
        let word = word.as_ref();
        match open.take() {
            None if word.starts_with(b"(") && !word.ends_with(b")") => open = Some((index, word.to_vec())),
            None => merged.push(word.to_vec()),
            Some((start, mut text)) => {
                text.push(b' ');
                text.extend_from_slice(word);
                if word.ends_with(b")") {
                    merged.push(text);
                } else {
                    open = Some((start, text));
                }
            }
        }
    }
    match open {
        None => Ok(merged),
        Some((start, _)) => Err(start),
    }
}

#[cfg(test)]
mod tests {
    use super::merge_selectors;

    fn merged(line: &str) -> Result<String, usize> {
        let words: Vec<&str> = line.split(' ').collect();
        merge_selectors(&words).map(|words| {
            let words: Vec<String> =
                words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            words.join("|")
        })
    }

    #[test]
    fn words_of_a_selector_become_one() {
        assert_eq!(merged("on (+get ~a) off"), Ok("on|(+get ~a)|off".into()));
        assert_eq!(merged("(a) (b c) ( d )"), Ok("(a)|(b c)|( d )".into()));
        assert_eq!(merged("(a (b c) d)"), Ok("(a (b c)|d)".into()));
        assert_eq!(merged("on (a b"), Err(1));
        assert_eq!(merged("on ("), Err(1));
    }
}
