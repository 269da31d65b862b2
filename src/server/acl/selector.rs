//! A selector: commands, keys and channels that may be used together.
//!
//! ```text
//!   request ─► command bit set?  (or its first argument listed)  ─► every key matches a pattern
//!                                                                ─► every channel matches one
//! ```
//! Commands are numbered by the command table; a selector has one bit for each, 64 bytes in all, so
//! the test is one load whatever the number of rules. The rules themselves are kept in the order
//! in which they were given, since the text that describes a user is made of them.

use super::rule::RuleContext;
use super::rule::RuleError;
use crate::server::command_docs;
use crate::server::config::split_arguments;
use crate::server::spec::{CommandTable, Found, category};
use std::collections::BTreeMap;

/// Most commands and subcommands that the table may have: Tine has about 370, Redis 7.2 410.
pub const COMMANDS_MAX: usize = 512;

/// One bit a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct CommandBits([u64; COMMANDS_MAX / 64]);

impl CommandBits {
    const NONE: CommandBits = CommandBits([0; COMMANDS_MAX / 64]);
    const ALL: CommandBits = CommandBits([u64::MAX; COMMANDS_MAX / 64]);

    #[inline]
    pub fn has(&self, command: u16) -> bool {
        let command = command as usize;
        self.0.get(command / 64).is_some_and(|word| word >> (command % 64) & 1 != 0)
    }

    fn set(&mut self, command: u16, allow: bool) {
        let command = command as usize;
        let bit = 1 << (command % 64);
        match allow {
            true => self.0[command / 64] |= bit,
            false => self.0[command / 64] &= !bit,
        }
    }
}

/// `+get`, `-@admin`, `+select|0`: what follows `+@all` or `-@all` in the description.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct CommandRule {
    pub allow: bool,
    /// Lower case, without the sign.
    pub text: Vec<u8>,
}

/// `~pattern`, `%R~pattern`, `%W~pattern`. At least one of the two rights is given.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyPattern {
    pub read: bool,
    pub write: bool,
    pub pattern: Vec<u8>,
}

/// Rights that belong together. The default has none.
#[derive(Clone)]
pub(super) struct Selector {
    pub all_keys: bool,
    pub all_channels: bool,
    /// Every bit is set, by `+@all`, and none was taken away since.
    pub all_commands: bool,
    /// The last word on all commands was `+@all`, not `-@all`.
    pub begins_with_all: bool,
    pub commands: CommandBits,
    /// First arguments with which a command without its bit may be called, in any case.
    pub first_arguments: BTreeMap<u16, Vec<Vec<u8>>>,
    pub command_rules: Vec<CommandRule>,
    pub keys: Vec<KeyPattern>,
    pub channels: Vec<Vec<u8>>,
}

impl Selector {
    /// No rights, but all channels where `acl-pubsub-default` says so.
    pub fn new(context: &RuleContext<'_>) -> Self {
        Selector {
            all_keys: false,
            all_channels: context.all_channels,
            all_commands: false,
            begins_with_all: false,
            commands: CommandBits::NONE,
            first_arguments: BTreeMap::new(),
            command_rules: Vec::new(),
            keys: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// A selector from its rules in parentheses, `(+@read ~a)`. O(rules * commands).
    pub fn parse(text: &[u8], context: &RuleContext<'_>) -> Result<Self, RuleError> {
        let inner = text.strip_prefix(b"(").and_then(|text| text.strip_suffix(b")"));
        let rules = split_arguments(inner.ok_or(RuleError::Syntax)?).ok_or(RuleError::Syntax)?;
        let mut selector = Selector::new(context);
        for rule in rules {
            selector.apply(&rule, context)?;
        }
        Ok(selector)
    }

    /// Nothing is refused to whoever has this selector.
    pub fn is_unrestricted(&self) -> bool {
        self.all_keys && self.all_channels && self.all_commands
    }

    /// Changes the rights as one rule says.
    ///
    /// # Errors
    /// When the rule means nothing; the selector is then as before.
    pub fn apply(&mut self, rule: &[u8], context: &RuleContext<'_>) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.set_all_keys(true),
            b"resetkeys" => self.set_all_keys(false),
            b"allchannels" | b"&*" => self.set_all_channels(true),
            b"resetchannels" => self.set_all_channels(false),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            _ => return self.apply_named(rule, context),
        }
        Ok(())
    }

    fn apply_named(&mut self, rule: &[u8], context: &RuleContext<'_>) -> Result<(), RuleError> {
        match rule {
            [b'~', pattern @ ..] => self.add_key_pattern(true, true, pattern),
            [b'%', ..] if self.all_keys => Err(RuleError::KeyAfterAll),
            [b'%', rest @ ..] => {
                let (read, write, pattern) = key_rights(rest)?;
                self.add_key_pattern(read, write, pattern)
            }
            [b'&', pattern @ ..] => self.add_channel(pattern),
            [b'+', b'@', name @ ..] => self.change_category(name, true, context.commands),
            [b'-', b'@', name @ ..] => self.change_category(name, false, context.commands),
            [b'+', name @ ..] if name.contains(&b'|') => self.allow_part(name, context.commands),
            [b'+', name @ ..] => self.change_command(name, true, context.commands),
            [b'-', name @ ..] => self.change_command(name, false, context.commands),
            _ => Err(RuleError::Syntax),
        }
    }

    fn set_all_keys(&mut self, allow: bool) {
        self.all_keys = allow;
        self.keys.clear();
    }

    fn set_all_channels(&mut self, allow: bool) {
        self.all_channels = allow;
        self.channels.clear();
    }

    fn set_all_commands(&mut self, allow: bool) {
        self.commands = if allow { CommandBits::ALL } else { CommandBits::NONE };
        self.all_commands = allow;
        self.begins_with_all = allow;
        self.command_rules.clear();
        self.first_arguments.clear();
    }

    fn add_key_pattern(&mut self, read: bool, write: bool, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeyAfterAll);
        }
        if has_blank(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.read |= read;
                known.write |= write;
            }
            None => self.keys.push(KeyPattern { read, write, pattern: pattern.to_vec() }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelAfterAll);
        }
        if has_blank(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// `+@name`, `-@name`: all commands of the category, with the subcommands of each.
    fn change_category(
        &mut self,
        name: &[u8],
        allow: bool,
        commands: &CommandTable,
    ) -> Result<(), RuleError> {
        let wanted = category::by_name(name).ok_or(RuleError::UnknownCommand)?;
        self.keep_rule(allow, &[b"@", name].concat());
        for found in commands.all().iter().filter(|found| found.spec.all_categories() & wanted != 0) {
            self.change(*found, allow, commands);
        }
        Ok(())
    }

    fn change_command(&mut self, name: &[u8], allow: bool, commands: &CommandTable) -> Result<(), RuleError> {
        let Some(found) = commands.find_original(name) else { return self.keep_missing(allow, name, name) };
        self.change(found, allow, commands);
        self.keep_rule(allow, found.full_name().as_bytes());
        Ok(())
    }

    /// `+config|get`, or `+select|0` where the command has no subcommands.
    fn allow_part(&mut self, name: &[u8], commands: &CommandTable) -> Result<(), RuleError> {
        let bar = name.iter().rposition(|byte| *byte == b'|').ok_or(RuleError::Syntax)?;
        let (command, part) = (&name[..bar], &name[bar + 1..]);
        let Some(found) = commands.find_original(command) else {
            let known_by = if command_docs::has_subcommands(command) { name } else { command };
            return self.keep_missing(true, known_by, name);
        };
        if found.parent.is_some() {
            return Err(RuleError::FirstArgumentOfSubcommand);
        }
        if part.is_empty() {
            return Err(RuleError::Syntax);
        }
        if !found.spec.subcommands.is_empty() {
            let Some(found) = commands.find_original(name) else {
                return self.keep_missing(true, name, name);
            };
            self.change(found, true, commands);
        } else {
            self.allow_first_argument(found.id, part)?;
        }
        self.keep_rule(true, name);
        Ok(())
    }

    /// A rule on a command of Redis 7.2 that is not here changes no right, but is kept: users and ACL
    /// files move between servers, and a later version that has the command must find it.
    fn keep_missing(&mut self, allow: bool, known_by: &[u8], text: &[u8]) -> Result<(), RuleError> {
        if !command_docs::is_known(known_by) {
            return Err(RuleError::UnknownCommand);
        }
        log::debug!(
            "ACL: '{}' is not a command of this version; the rule on it is kept, without effect",
            String::from_utf8_lossy(text)
        );
        self.keep_rule(allow, text);
        Ok(())
    }

    /// What cannot stand in a line that is cut at blanks and quotes is refused.
    fn allow_first_argument(&mut self, command: u16, part: &[u8]) -> Result<(), RuleError> {
        if has_blank(part) || part.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            return Err(RuleError::Syntax);
        }
        log::warn!(
            "Deprecation warning: a first argument of an otherwise blocked command is allowed by a rule ('+...|{}'); \
             this may not be possible in future versions",
            String::from_utf8_lossy(part)
        );
        let known = self.first_arguments.entry(command).or_default();
        if !known.iter().any(|other| other.eq_ignore_ascii_case(part)) {
            known.push(part.to_vec());
        }
        Ok(())
    }

    /// A command changes with all its subcommands.
    fn change(&mut self, found: Found, allow: bool, commands: &CommandTable) {
        self.all_commands &= allow;
        self.commands.set(found.id, allow);
        self.first_arguments.remove(&found.id);
        for child in commands.children(found) {
            self.commands.set(child.id, allow);
        }
    }

    /// Notes a rule; earlier ones on the same command, or on its parts, say nothing any more.
    fn keep_rule(&mut self, allow: bool, text: &[u8]) {
        let text = text.to_ascii_lowercase();
        self.command_rules.retain(|old| {
            let rest = old.text.strip_prefix(text.as_slice());
            !rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'|')
        });
        self.command_rules.push(CommandRule { allow, text });
    }
}

/// The letters between `%` and `~`. As in Redis the `~` may be missing when no pattern follows.
fn key_rights(rule: &[u8]) -> Result<(bool, bool, &[u8]), RuleError> {
    let (mut read, mut write) = (false, false);
    let mut rest = rule;
    while let [letter, after @ ..] = rest {
        rest = after;
        match letter.to_ascii_lowercase() {
            b'r' if !read => read = true,
            b'w' if !write => write = true,
            b'~' => break,
            _ => return Err(RuleError::Syntax),
        }
    }
    if read || write { Ok((read, write, rest)) } else { Err(RuleError::Syntax) }
}

/// Blanks and zero bytes, which names and patterns may not have: they are shown in lines.
pub fn has_blank(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}
