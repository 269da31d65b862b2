//! The users that a start begins with: from `user` lines, or from the ACL file. A mistake stops the
//! start, since whoever made the rules counts on them.

use crate::command::acl::read_acl_file;
use crate::server::acl::{Acl, RuleContext, users_from_lines};
use crate::server::config::{ConfigFileError, FileDirectives, LoadedConfig};
use crate::server::{CommandTable, Server};

/// The user `default` with `requirepass`, then the `user` lines.
///
/// # Errors
/// The line that is wrong, as any other wrong line of the configuration is told.
pub fn of_configuration(commands: &CommandTable, loaded: &LoadedConfig) -> Result<Acl, String> {
    let mut acl = Acl::new(commands, &loaded.config);
    let context = RuleContext::new(commands, &loaded.config);
    users_from_lines(&mut acl, &loaded.directives.users, &context).map_err(|(line, reason)| {
        let place = Some((line.number, line.text.clone()));
        ConfigFileError { source: Some(line.source.clone()), line: place, reason }.to_string()
    })?;
    Ok(acl)
}

/// Reads the file that `aclfile` names, if there is one.
///
/// # Errors
/// When there are `user` lines too, or the file is wrong.
pub fn load_acl_file(server: &mut Server, directives: &FileDirectives) -> Result<(), String> {
    tell_of_disabled_users(server, directives);
    if server.config.aclfile.is_empty() {
        return Ok(());
    }
    if !directives.users.is_empty() {
        return Err("Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is \
                    invalid: where the rights of a user come from must be clear. Use either 'user' lines or 'aclfile'."
            .to_owned());
    }
    let users = read_acl_file(server).map_err(|reason| {
        format!("Aborting Redis startup because of ACL errors: {}", String::from_utf8_lossy(&reason))
    })?;
    server.replace_users(users);
    Ok(())
}

fn tell_of_disabled_users(server: &Server, directives: &FileDirectives) {
    for line in &directives.users {
        if server.acl.by_name(&line.words[0]).is_some_and(|user| !user.enabled) {
            let name = String::from_utf8_lossy(&line.words[0]);
            log::info!(
                "The user '{name}' is disabled: its 'user' line has no 'on'. Make sure that this is meant."
            );
        }
    }
}
