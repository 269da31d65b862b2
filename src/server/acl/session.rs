//! Clients and their users: logging in, being refused, losing the user.

use super::UserId;
use super::check::{Denial, DeniedBy};
use super::log::{DenialContext, LogEntry};
use super::rule::{RuleContext, merge_selectors};
use super::user::User;
use crate::resp::Args;
use crate::server::client::{Client, ClientRef};
use crate::server::config::{quote, quote_if_needed};
use crate::server::error::{self, ReplyError};
use crate::server::spec::Found;
use crate::server::{Action, Server};

impl Server {
    /// Whether this client must log in before it may do anything.
    #[inline]
    pub fn must_authenticate(&self, client: &Client) -> bool {
        !client.authenticated && client.user.is_some() && !self.acl.default_user().is_open()
    }

    /// The client is whoever a new connection is: `default`, logged in if that asks for no password.
    pub fn reset_user(&mut self, client: ClientRef) {
        let open = self.acl.default_user().is_open();
        if let Some(state) = self.clients.get_mut(client) {
            state.user = Some(UserId::DEFAULT);
            state.authenticated = open;
        }
    }

    /// Logs a client in. A failure is counted and logged; `args` are those of the command.
    ///
    /// # Errors
    /// One text for an unknown user, a wrong password and a user that is off.
    pub fn log_in(
        &mut self,
        client: ClientRef,
        user: &[u8],
        password: &[u8],
        args: Args<'_>,
    ) -> Result<(), ReplyError> {
        let id = self.acl.find(user);
        if !id.and_then(|id| self.acl.user(id)).is_some_and(|user| user.accepts(password)) {
            let context = self.denial_context(client);
            self.add_denial(client, DeniedBy::Auth, context, args.at(0).to_vec(), user.to_vec(), args);
            return Err(error::WRONG_PASS);
        }
        if let Some(state) = self.clients.get_mut(client) {
            state.user = id;
            state.authenticated = true;
        }
        Ok(())
    }

    /// The user's name as CLIENT LIST shows it.
    pub fn user_name(&self, client: &Client) -> &[u8] {
        match client.user {
            None => b"(superuser)",
            Some(id) => self.acl.user(id).map_or(b"", User::name),
        }
    }

    /// Whether the client's user may run this request.
    ///
    /// # Errors
    /// What was refused; [`Server::note_denial`] is to be told.
    #[inline]
    pub fn check_rights(&self, client: &Client, found: Found, args: Args<'_>) -> Result<(), Denial> {
        if self.acl.is_unrestricted(client.user) {
            return Ok(());
        }
        self.check_restricted(client, found, args)
    }

    #[cold]
    fn check_restricted(&self, client: &Client, found: Found, args: Args<'_>) -> Result<(), Denial> {
        match client.user.and_then(|id| self.acl.user(id)) {
            Some(user) => user.check(found, args),
            None => Err(Denial { by: DeniedBy::Command, argument: 0 }),
        }
    }

    /// The error for a refused request.
    pub fn refusal_error(&self, client: &Client, denial: Denial, found: Found, args: Args<'_>) -> ReplyError {
        match client.user.and_then(|id| self.acl.user(id)) {
            Some(user) => user.refusal_error(denial, found, args),
            None => ReplyError::coded("NOPERM the user of this connection is gone"),
        }
    }

    /// Whether the client's user may run this request and read every key besides.
    pub fn may_read_every_key(&self, client: ClientRef, found: Found, args: Args<'_>) -> bool {
        let Some(state) = self.clients.get(client) else { return false };
        let user = state.user.and_then(|id| self.acl.user(id));
        state.user.is_none() || user.is_some_and(|user| user.may_read_every_key(found, args))
    }

    /// `Multi` while the client queues.
    pub fn denial_context(&self, client: ClientRef) -> DenialContext {
        let queues = self.clients.get(client).is_some_and(|state| state.transaction.is_some());
        if queues { DenialContext::Multi } else { DenialContext::TopLevel }
    }

    /// Counts and logs a refusal.
    pub fn note_denial(
        &mut self,
        client: ClientRef,
        denial: Denial,
        context: DenialContext,
        found: Found,
        args: Args<'_>,
    ) {
        let object = match denial.by {
            DeniedBy::Command => found.full_name().into_bytes(),
            DeniedBy::Key | DeniedBy::Channel | DeniedBy::Auth => args.at(denial.argument).to_vec(),
        };
        let user_name =
            self.clients.get(client).map_or_else(Vec::new, |state| self.user_name(state).to_vec());
        self.add_denial(client, denial.by, context, object, user_name, args);
    }

    fn add_denial(
        &mut self,
        client: ClientRef,
        by: DeniedBy,
        context: DenialContext,
        object: Vec<u8>,
        user_name: Vec<u8>,
        args: Args<'_>,
    ) {
        let mut line = Vec::new();
        self.describe_client(client, Some(args), &mut line);
        let now_ms = self.now_ms();
        let entry = LogEntry {
            count: 1,
            by,
            context,
            object,
            user_name,
            client: line,
            id: 0,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        self.acl.log.add(entry, self.config.acllog_max_len);
    }

    /// ACL SETUSER: all rules or none.
    ///
    /// # Errors
    /// The rule that is wrong, and why.
    pub fn set_user(&mut self, name: &[u8], rules: &[&[u8]]) -> Result<(), ReplyError> {
        let rules = merge_selectors(rules).map_err(|start| {
            let start = [b"Unmatched parenthesis in acl selector starting at '", rules[start], b"'."];
            ReplyError::err(start.concat())
        })?;
        let context = RuleContext::new(&self.commands, &self.config);
        let known = self.acl.by_name(name);
        let is_new = known.is_none();
        let mut user = known.cloned().unwrap_or_else(|| User::new(name, &context));
        for rule in &rules {
            user.apply(rule, &context).map_err(|error| {
                let parts: [&[u8]; 4] =
                    [b"Error in ACL SETUSER modifier '", rule, b"': ", error.text().as_bytes()];
                ReplyError::err(parts.concat())
            })?;
        }
        let id = self.acl.put(user);
        if !is_new && !self.pubsub.is_empty() {
            self.close_forbidden_subscribers(id);
        }
        Ok(())
    }

    /// ACL DELUSER: the user's clients are closed. False when there is no such user, or it is `default`.
    pub fn delete_user(&mut self, name: &[u8]) -> bool {
        let Some(id) = self.acl.remove(name) else { return false };
        self.close_clients_of(&[id]);
        true
    }

    /// ACL LOAD: these users and no others. Clients of all but `default` are closed.
    pub fn replace_users(&mut self, users: Vec<User>) {
        let gone = self.acl.replace_all(users);
        self.close_clients_of(&gone);
    }

    fn close_clients_of(&mut self, users: &[UserId]) {
        let lost = |client: &&Client| client.user.is_some_and(|id| users.contains(&id));
        let doomed: Vec<ClientRef> =
            self.clients.iter().filter(lost).map(|client| client.reference).collect();
        for client in doomed {
            if let Some(state) = self.clients.get_mut(client) {
                // Whatever happens before the connection is closed: it has no rights left.
                state.user = Some(UserId::DEFAULT);
                state.authenticated = false;
            }
            self.disconnect(client);
        }
    }

    /// Closes the user's subscribers that listen to what it may not listen to any more. O(clients).
    fn close_forbidden_subscribers(&mut self, id: UserId) {
        let Some(user) = self.acl.user(id) else { return };
        let forbidden = |client: &&Client| {
            let listens = client.channels.iter().chain(&client.shard_channels);
            client.user == Some(id)
                && (client.patterns.iter().any(|pattern| !user.may_listen(pattern, true))
                    || listens.into_iter().any(|channel| !user.may_listen(channel, false)))
        };
        let doomed: Vec<ClientRef> =
            self.clients.iter().filter(forbidden).map(|client| client.reference).collect();
        for client in doomed {
            self.disconnect(client);
        }
    }

    /// Forgets a client at once, so that nothing more of it runs or shows; its socket is closed at
    /// the end of the turn. The client whose command runs gets its reply first.
    pub fn disconnect(&mut self, client: ClientRef) {
        if self.call.client == Some(client) {
            if let Some(state) = self.clients.get_mut(client) {
                state.close_after_reply = true;
            }
            return;
        }
        self.remove_client(client);
        self.actions.push(Action::Close(client));
    }

    /// The users as CONFIG REWRITE writes them, each as the text after `user `: words that a line
    /// cannot have bare are quoted.
    pub fn user_lines(&self) -> Vec<Vec<u8>> {
        let line = |user: &User| {
            let mut words = vec![quote_if_needed(user.name())];
            words.extend(user.rules().iter().map(|rule| as_line_word(rule)));
            words.join(&b' ')
        };
        self.acl.users().map(line).collect()
    }
}

/// A rule is a word of the line, the words of a selector are several: they are joined again when the
/// line is read. Only quotes, and nothing at all, would be lost.
fn as_line_word(rule: &[u8]) -> Vec<u8> {
    let stays = !rule.is_empty() && !rule.iter().any(|byte| matches!(byte, b'"' | b'\''));
    if stays { rule.to_vec() } else { quote(rule) }
}
