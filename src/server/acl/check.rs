//! May this user run this request?
//!
//! One selector must allow all of it: the command, each key and each channel. When none does, the
//! refusal that is shown is the one that came closest (channel before key before command, then
//! the argument furthest behind), as in Redis.

use super::selector::{KeyPattern, Selector};
use super::user::User;
use crate::base::glob;
use crate::resp::Args;
use crate::server::error::ReplyError;
use crate::server::key_extraction::{KeyAt, has_keys, keys_of};
use crate::server::spec::{ChannelArguments, Found, flag, key_flag};

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeniedBy {
    Command,
    Key,
    Auth,
    Channel,
}

impl DeniedBy {
    /// The word in ACL LOG.
    pub fn name(self) -> &'static str {
        match self {
            DeniedBy::Command => "command",
            DeniedBy::Key => "key",
            DeniedBy::Auth => "auth",
            DeniedBy::Channel => "channel",
        }
    }
}

/// A refusal, and the argument it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    pub by: DeniedBy,
    pub argument: usize,
}

/// Flags of keys that are read, and of keys that are written.
const READS: u32 = key_flag::ACCESS;
const WRITES: u32 = key_flag::INSERT | key_flag::DELETE | key_flag::UPDATE;

impl User {
    /// Whether the request may run. O(selectors * keys * patterns).
    ///
    /// # Errors
    /// The refusal to show and to log.
    pub fn check(&self, found: Found, args: Args<'_>) -> Result<(), Denial> {
        if self.unrestricted {
            return Ok(());
        }
        let mut keys = None;
        let mut closest = Denial { by: DeniedBy::Command, argument: 0 };
        for selector in &self.selectors {
            match selector.check(found, args, &mut keys) {
                Ok(()) => return Ok(()),
                Err(denial) => closest = closest.max(denial),
            }
        }
        Err(closest)
    }

    /// Whether a selector allows the request and the reading of every key besides (SORT's BY, GET).
    pub fn may_read_every_key(&self, found: Found, args: Args<'_>) -> bool {
        let reads_all = |selector: &Selector| {
            selector.all_keys || selector.keys.iter().any(|known| known.read && known.pattern == b"*")
        };
        let mut keys = None;
        self.unrestricted
            || self
                .selectors
                .iter()
                .any(|selector| reads_all(selector) && selector.check(found, args, &mut keys).is_ok())
    }

    /// Whether a subscription may go on. A pattern must be allowed literally.
    pub fn may_listen(&self, name: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.all_channels || selector.has_channel(name, is_pattern))
    }

    /// The text of a refusal; `verbose` names the key or channel (ACL DRYRUN).
    pub fn refusal(&self, denial: Denial, found: Found, args: Args<'_>, verbose: bool) -> Vec<u8> {
        let (name, argument) = (self.name(), args.at(denial.argument));
        let full_name = found.full_name();
        let (kind, object) = match denial.by {
            DeniedBy::Key => ("key", argument),
            DeniedBy::Channel => ("channel", argument),
            DeniedBy::Command | DeniedBy::Auth => {
                let parts: [&[u8]; 5] =
                    [b"User ", name, b" has no permissions to run the '", full_name.as_bytes(), b"' command"];
                return parts.concat();
            }
        };
        if !verbose {
            return format!("No permissions to access a {kind}").into_bytes();
        }
        let parts: [&[u8]; 6] =
            [b"User ", name, b" has no permissions to access the '", object, b"' ", kind.as_bytes()];
        parts.concat()
    }

    /// The error that a client gets.
    pub fn refusal_error(&self, denial: Denial, found: Found, args: Args<'_>) -> ReplyError {
        ReplyError::coded([b"NOPERM ", self.refusal(denial, found, args, false).as_slice()].concat())
    }
}

impl Selector {
    /// `keys` keeps the key arguments between selectors.
    fn check(&self, found: Found, args: Args<'_>, keys: &mut Option<Vec<KeyAt>>) -> Result<(), Denial> {
        if !self.allows_command(found, args) {
            return Err(Denial { by: DeniedBy::Command, argument: 0 });
        }
        if !self.all_keys && has_keys(found.spec) {
            // Arguments that do not have the shape of the command name no keys; the command refuses them.
            let keys = keys.get_or_insert_with(|| keys_of(found.spec, args).unwrap_or_default());
            let denied = keys.iter().find(|key| !self.allows_key(args.at(key.index), key.flags));
            if let Some(key) = denied {
                return Err(Denial { by: DeniedBy::Key, argument: key.index });
            }
        }
        if !self.all_channels {
            self.check_channels(found.spec.channels, args)?;
        }
        Ok(())
    }

    fn allows_command(&self, found: Found, args: Args<'_>) -> bool {
        if self.all_commands || self.commands.has(found.id) || found.spec.has(flag::NO_AUTH) {
            return true;
        }
        let (Some(listed), Some(first)) = (self.first_arguments.get(&found.id), args.get(1)) else {
            return false;
        };
        listed.iter().any(|known| known.eq_ignore_ascii_case(first))
    }

    fn allows_key(&self, key: &[u8], flags: u32) -> bool {
        let fits =
            |known: &&KeyPattern| (known.read || flags & READS == 0) && (known.write || flags & WRITES == 0);
        self.keys.iter().filter(fits).any(|known| glob::matches(&known.pattern, key, glob::Case::Sensitive))
    }

    fn check_channels(&self, channels: ChannelArguments, args: Args<'_>) -> Result<(), Denial> {
        let (end, is_pattern) = match channels {
            ChannelArguments::None => return Ok(()),
            ChannelArguments::First => (args.len().min(2), false),
            ChannelArguments::All => (args.len(), false),
            ChannelArguments::AllPatterns => (args.len(), true),
        };
        match (1..end).find(|index| !self.has_channel(args.at(*index), is_pattern)) {
            None => Ok(()),
            Some(argument) => Err(Denial { by: DeniedBy::Channel, argument }),
        }
    }

    fn has_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.channels.iter().any(|known| match is_pattern {
            true => known == name,
            false => glob::matches(known, name, glob::Case::Sensitive),
        })
    }
}
