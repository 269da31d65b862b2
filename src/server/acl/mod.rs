//! Access control lists: who may run which commands on which keys and channels.
//!
//! ```text
//!   client ──user──► Acl: slots of users ──► selectors: command bits, patterns of keys, of channels
//!                                            one selector must allow the whole request
//! ```
//! | file | holds |
//! | --- | --- |
//! | `user.rs` | a user: state, passwords, selectors |
//! | `selector.rs` | rights that belong together, and the rules that change them |
//! | `rule.rs` | what can be wrong with a rule; selectors in several words |
//! | `check.rs` | may this user run this request? |
//! | `describe.rs` | the rules that make a user, as text |
//! | `load.rs` | users from an ACL file and from `user` lines |
//! | `log.rs` | what was refused (ACL LOG) |
//! | `session.rs` | clients: logging in, being refused, losing their user |
//!
//! The user `default` has all rights unless someone took them away; for such a user a request costs
//! one test of a flag. Rights are those of Redis 7.2. A name of a user stays valid in the sense of
//! [`UserId`]: when the user has gone nothing is found, and whoever finds nothing is refused.

mod check;
mod describe;
mod load;
mod log;
mod rule;
mod selector;
mod session;
mod user;

pub use check::{Denial, DeniedBy};
pub use describe::SelectorText;
pub use load::{UserLine, users_from_file, users_from_lines};
pub use log::{AclLog, DenialContext, DenialCounts, LogEntry};
pub use rule::{RuleContext, RuleError, merge_selectors};
pub use selector::{COMMANDS_MAX, has_blank};
pub use user::User;

use crate::server::config::Config;
use crate::server::spec::CommandTable;
use std::collections::BTreeMap;

/// Names a user; finds nothing when the user has gone, even if its slot has a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserId {
    slot: u32,
    generation: u32,
}

impl UserId {
    /// The user `default`, which is always there.
    pub const DEFAULT: UserId = UserId { slot: 0, generation: 0 };
}

struct Slot {
    generation: u32,
    user: Option<User>,
}

/// All users, and what was refused to them.
pub struct Acl {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// In the order of ACL LIST.
    by_name: BTreeMap<Vec<u8>, UserId>,
    /// Of the user `default`, whose requests are nearly all: they need not look for it.
    default_is_unrestricted: bool,
    pub log: AclLog,
}

impl Acl {
    /// The user `default`, with the password of `requirepass`.
    pub fn new(commands: &CommandTable, config: &Config) -> Self {
        let user = User::default_user(&RuleContext::new(commands, config));
        let by_name = BTreeMap::from([(user.name().to_vec(), UserId::DEFAULT)]);
        let slots = vec![Slot { generation: 0, user: Some(user) }];
        let mut acl =
            Acl { slots, free: Vec::new(), by_name, default_is_unrestricted: true, log: AclLog::default() };
        acl.set_default_password(config.requirepass.as_bytes());
        acl
    }

    #[inline]
    pub fn user(&self, id: UserId) -> Option<&User> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.user.as_ref().filter(|_| slot.generation == id.generation)
    }

    pub fn find(&self, name: &[u8]) -> Option<UserId> {
        self.by_name.get(name).copied()
    }

    pub fn by_name(&self, name: &[u8]) -> Option<&User> {
        self.user(self.find(name)?)
    }

    /// In the order of their names, by bytes.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &User> {
        self.by_name.values().map(|id| self.user(*id).expect("a name is of a user that is there"))
    }

    pub fn default_user(&self) -> &User {
        self.user(UserId::DEFAULT).expect("the user `default` is never removed")
    }

    /// Whether nothing is refused to this user; `None` stands for the server itself.
    #[inline]
    pub fn is_unrestricted(&self, user: Option<UserId>) -> bool {
        match user {
            Some(UserId::DEFAULT) => self.default_is_unrestricted,
            None => true,
            Some(id) => self.user(id).is_some_and(|user| user.unrestricted),
        }
    }

    /// Adds a user or gives the one of that name these rights. Returns its id.
    pub(super) fn put(&mut self, user: User) -> UserId {
        if let Some(id) = self.find(user.name()) {
            if id == UserId::DEFAULT {
                self.default_is_unrestricted = user.unrestricted;
            }
            self.slots[id.slot as usize].user = Some(user);
            return id;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, user: None });
            self.slots.len() as u32 - 1
        });
        let place = &mut self.slots[slot as usize];
        let id = UserId { slot, generation: place.generation };
        self.by_name.insert(user.name().to_vec(), id);
        place.user = Some(user);
        id
    }

    /// Takes a user away; its clients are the caller's affair. Not for `default`.
    fn remove(&mut self, name: &[u8]) -> Option<UserId> {
        let id = self.find(name).filter(|id| *id != UserId::DEFAULT)?;
        self.by_name.remove(name);
        let slot = &mut self.slots[id.slot as usize];
        slot.user = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(id)
    }

    /// `requirepass`: the one password of `default`; an empty one means that none is asked for.
    pub fn set_default_password(&mut self, password: &[u8]) {
        let slot = &mut self.slots[UserId::DEFAULT.slot as usize];
        let user = slot.user.as_mut().expect("the user `default` is never removed");
        user.reset_passwords(password.is_empty());
        if !password.is_empty() {
            user.add_clear_password(password);
        }
    }
}

#[cfg(test)]
mod tests;
