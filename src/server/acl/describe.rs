//! Users as text: the rules that would make them again, in the order of Redis 7.2.
//!
//! ```text
//!   on nopass sanitize-payload #hash... ~key... &channel... +@all -command... (selector)...
//! ```

use super::selector::{CommandRule, KeyPattern, Selector};
use super::user::User;
use crate::base::numbers::push_hex_byte;
use crate::server::config::quote;

/// What ACL GETUSER shows of a selector.
pub struct SelectorText {
    pub commands: Vec<u8>,
    pub keys: Vec<u8>,
    pub channels: Vec<u8>,
}

impl User {
    /// The words of state, in order: `on` or `off` first.
    pub fn flag_names(&self) -> Vec<&'static str> {
        let mut names = vec![if self.enabled { "on" } else { "off" }];
        names.extend(self.no_password.then_some("nopass"));
        names.push(if self.sanitize_payload { "sanitize-payload" } else { "skip-sanitize-payload" });
        names
    }

    /// Hashes of the passwords, in hexadecimal digits.
    pub fn password_hashes(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.passwords.iter().map(|hash| {
            let mut digits = Vec::with_capacity(2 * hash.len());
            hash.iter().for_each(|byte| push_hex_byte(*byte, &mut digits));
            digits
        })
    }

    /// The selectors in parts; the first one is the user's own.
    pub fn selector_texts(&self) -> Vec<SelectorText> {
        self.selectors.iter().map(Selector::texts).collect()
    }

    /// The rules that make this user, each a word. Of those in parentheses too.
    pub fn rules(&self) -> Vec<Vec<u8>> {
        let mut rules: Vec<Vec<u8>> = self.flag_names().iter().map(|name| name.as_bytes().to_vec()).collect();
        rules.extend(self.password_hashes().map(|hash| [b"#", hash.as_slice()].concat()));
        rules.extend(self.selectors[0].rules());
        for selector in &self.selectors[1..] {
            let inner: Vec<Vec<u8>> = selector.rules().into_iter().map(quoted).collect();
            rules.push([b"(", inner.join(&b' ').as_slice(), b")"].concat());
        }
        rules
    }

    /// The line of ACL LIST: `user name rules`.
    pub fn line(&self) -> Vec<u8> {
        let mut line = [b"user ", self.name(), b" "].concat();
        line.extend_from_slice(&self.rules().join(&b' '));
        line
    }
}

/// The words of a selector are cut at blanks and quotes when it is read again, and one that ends in a
/// parenthesis would end it.
fn quoted(rule: Vec<u8>) -> Vec<u8> {
    let is_plain = !rule.ends_with(b")") && !rule.iter().any(|byte| matches!(byte, b'"' | b'\''));
    if is_plain { rule } else { quote(&rule) }
}

impl Selector {
    fn rules(&self) -> Vec<Vec<u8>> {
        let mut rules = self.key_rules();
        if !self.all_channels {
            rules.push(b"resetchannels".to_vec());
        }
        rules.extend(self.channel_rules());
        rules.extend(self.command_rules());
        rules
    }

    fn texts(&self) -> SelectorText {
        SelectorText {
            commands: self.command_rules().join(&b' '),
            keys: self.key_rules().join(&b' '),
            channels: self.channel_rules().join(&b' '),
        }
    }

    fn key_rules(&self) -> Vec<Vec<u8>> {
        if self.all_keys {
            return vec![b"~*".to_vec()];
        }
        self.keys.iter().map(KeyPattern::rule).collect()
    }

    fn channel_rules(&self) -> Vec<Vec<u8>> {
        if self.all_channels {
            return vec![b"&*".to_vec()];
        }
        self.channels.iter().map(|pattern| [b"&", pattern.as_slice()].concat()).collect()
    }

    fn command_rules(&self) -> Vec<Vec<u8>> {
        let start: &[u8] = if self.begins_with_all { b"+@all" } else { b"-@all" };
        let mut rules = vec![start.to_vec()];
        rules.extend(self.command_rules.iter().map(CommandRule::rule));
        rules
    }
}

impl KeyPattern {
    fn rule(&self) -> Vec<u8> {
        let prefix: &[u8] = match (self.read, self.write) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        };
        [prefix, &self.pattern].concat()
    }
}

impl CommandRule {
    fn rule(&self) -> Vec<u8> {
        let sign: &[u8] = if self.allow { b"+" } else { b"-" };
        [sign, &self.text].concat()
    }
}
