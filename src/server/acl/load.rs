//! Users from an ACL file and from the `user` lines of the configuration.
//!
//! One line is one user: `user name rule...`. A file is taken whole or not at all. In an ACL file
//! words are cut at blanks, there are no quotes and no comments, since ACL SAVE writes it anew.

use super::rule::{RuleContext, RuleError, merge_selectors};
use super::selector::has_blank;
use super::user::User;
use super::{Acl, UserId};
use std::collections::BTreeSet;

/// A `user` line of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLine {
    /// The name, then the rules.
    pub words: Vec<Vec<u8>>,
    /// Where it stands: a path or what stands for it, the number from 1, the text.
    pub source: String,
    pub number: usize,
    pub text: String,
}

/// Puts the users of the configuration into `acl`.
///
/// # Errors
/// The line that is wrong, and why.
pub fn users_from_lines<'a>(
    acl: &mut Acl,
    lines: &'a [UserLine],
    context: &RuleContext<'_>,
) -> Result<(), (&'a UserLine, String)> {
    let mut seen = BTreeSet::new();
    for line in lines {
        let (name, rules) = line.words.split_first().expect("a user line has a name");
        acl.put(parse_line(name, rules, !seen.insert(name), context).map_err(|reason| (line, reason))?);
    }
    Ok(())
}

fn parse_line(
    name: &[u8],
    rules: &[Vec<u8>],
    is_repeated: bool,
    context: &RuleContext<'_>,
) -> Result<User, String> {
    let wrong = |word: &[u8], error: RuleError| {
        format!("Error in user declaration '{}': {}", String::from_utf8_lossy(word), error.text())
    };
    if is_repeated {
        return Err(wrong(name, RuleError::DuplicateUser));
    }
    if has_blank(name) {
        return Err("Spaces not allowed in ACL usernames".to_owned());
    }
    let rules = merge_selectors(rules).map_err(|index| wrong(&rules[index], RuleError::Syntax))?;
    let mut user = User::new(name, context);
    for rule in &rules {
        user.apply(rule, context).map_err(|error| wrong(rule, error))?;
    }
    Ok(user)
}

/// The users of an ACL file with this content; the user `default` is added if it is not there.
///
/// # Errors
/// All that is wrong, in one line.
pub fn users_from_file(content: &[u8], path: &str, context: &RuleContext<'_>) -> Result<Vec<User>, Vec<u8>> {
    let mut file = File { path, context, users: Vec::new(), errors: Vec::new() };
    let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() {
            let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            file.read_line(index + 1, &words, &mut seen);
        }
    }
    if !file.errors.is_empty() {
        file.errors.extend_from_slice(
            b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
        );
        return Err(file.errors);
    }
    if !seen.contains(b"default".as_slice()) {
        file.users.push(User::default_user(context));
    }
    Ok(file.users)
}

struct File<'f> {
    path: &'f str,
    context: &'f RuleContext<'f>,
    users: Vec<User>,
    errors: Vec<u8>,
}

impl File<'_> {
    fn read_line<'w>(&mut self, number: usize, words: &[&'w [u8]], seen: &mut BTreeSet<&'w [u8]>) {
        let path = self.path;
        let [b"user", name, rules @ ..] = words else {
            let text = format!("{path}:{number} should start with user keyword followed by the username. ");
            return self.errors.extend_from_slice(text.as_bytes());
        };
        let shown = String::from_utf8_lossy(name);
        if has_blank(name) {
            let text = format!("'{path}:{number}: username '{shown}' contains invalid characters. ");
            return self.errors.extend_from_slice(text.as_bytes());
        }
        if !seen.insert(name) {
            let text = format!("WARNING: Duplicate user '{shown}' found on line {number}. ");
            return self.errors.extend_from_slice(text.as_bytes());
        }
        match merge_selectors(rules) {
            Ok(rules) => self.read_rules(number, name, &rules),
            Err(_) => {
                let text = format!("{path}:{number}: Unmatched parenthesis in selector definition. ");
                self.errors.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// All unknown commands are told, of other errors the first: it may have caused the next.
    fn read_rules(&mut self, number: usize, name: &[u8], rules: &[Vec<u8>]) {
        let path = self.path;
        let mut user = User::new(name, self.context);
        let mut has_told = false;
        for rule in rules {
            let rule = rule.trim_ascii();
            let text = match user.apply(rule, self.context) {
                Ok(()) => continue,
                Err(error @ RuleError::UnknownCommand) => {
                    let rule = String::from_utf8_lossy(rule);
                    format!("{path}:{number}: Error in applying operation '{rule}': {}. ", error.text())
                }
                Err(_) if has_told => continue,
                Err(error) => {
                    has_told = true;
                    format!("{path}:{number}: {}. ", error.text())
                }
            };
            self.errors.extend_from_slice(text.as_bytes());
        }
        self.users.push(user);
    }
}

impl Acl {
    /// Puts the users of a file in the place of all that were. Returns the ids of those that have
    /// gone: all but `default`, even when the file has a user of the same name, as in Redis 7.2.
    pub(super) fn replace_all(&mut self, users: Vec<User>) -> Vec<UserId> {
        let names: Vec<Vec<u8>> = self.users().map(|user| user.name().to_vec()).collect();
        let gone = names.iter().filter_map(|name| self.remove(name)).collect();
        for user in users {
            self.put(user);
        }
        gone
    }

    /// The content of the ACL file.
    pub fn file_content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for user in self.users() {
            content.extend_from_slice(&user.line());
            content.push(b'\n');
        }
        content
    }
}
