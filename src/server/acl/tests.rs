//! Users that come and go.

use super::{Acl, RuleContext, User, UserId};
use crate::server::CommandTable;
use crate::server::config::Config;

fn empty() -> (CommandTable, Acl) {
    let commands = CommandTable::new(&[]);
    let acl = Acl::new(&commands, &Config::default());
    (commands, acl)
}

#[test]
fn an_id_does_not_find_the_slots_next_user() {
    let (commands, mut acl) = empty();
    let context = RuleContext { commands: &commands, all_channels: false };
    let first = acl.put(User::new(b"a", &context));
    assert_eq!(acl.remove(b"a"), Some(first));
    let second = acl.put(User::new(b"b", &context));
    assert_eq!(first.slot, second.slot);
    assert!(acl.user(first).is_none() && !acl.is_unrestricted(Some(first)));
    assert_eq!(acl.user(second).map(User::name), Some(b"b".as_slice()));
    assert_eq!((acl.remove(b"a"), acl.remove(b"default")), (None, None));
    assert!(acl.is_unrestricted(Some(UserId::DEFAULT)) && acl.is_unrestricted(None));
}

#[test]
fn requirepass_is_the_one_password_of_default() {
    let (_, mut acl) = empty();
    assert!(acl.default_user().is_open());
    acl.set_default_password(b"secret");
    acl.set_default_password(b"other");
    assert!(!acl.default_user().is_open());
    assert!(acl.default_user().accepts(b"other") && !acl.default_user().accepts(b"secret"));
    acl.set_default_password(b"");
    assert!(acl.default_user().is_open());
}

#[test]
fn users_of_a_file_take_the_place_of_all() {
    let (commands, mut acl) = empty();
    let context = RuleContext { commands: &commands, all_channels: false };
    let kept = acl.put(User::new(b"a", &context));
    acl.put(User::new(b"b", &context));
    let users = super::users_from_file(b"user a on\n\n  user c off \n", "f", &context).expect("a good file");
    let gone = acl.replace_all(users);
    assert_eq!(gone.len(), 2);
    assert!(gone.contains(&kept), "clients of a user that the file has too lose it");
    let names: Vec<&[u8]> = acl.users().map(User::name).collect();
    assert_eq!(names, [b"a".as_slice(), b"c", b"default"]);
}

#[test]
fn a_wrong_file_is_told_in_one_line() {
    let (commands, _) = empty();
    let context = RuleContext { commands: &commands, all_channels: false };
    let content = "user a on\nuser a on\nalice on\nuser\nuser b +nope +@no >\\x %X~ on)\nuser c (on\n";
    let errors = super::users_from_file(content.as_bytes(), "f", &context).err().expect("mistakes");
    assert_eq!(
        String::from_utf8_lossy(&errors),
        "WARNING: Duplicate user 'a' found on line 2. f:3 should start with user keyword followed by the username. \
         f:4 should start with user keyword followed by the username. f:5: Error in applying operation '+nope': \
         Unknown command or category name in ACL. f:5: Error in applying operation '+@no': Unknown command or \
         category name in ACL. f:5: Syntax error. f:6: Unmatched parenthesis in selector definition. WARNING: ACL \
         errors detected, no change to the previously active ACL rules was performed"
    );
}
