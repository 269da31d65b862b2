//! A user: may it log in, with what, and what may it do.

use super::rule::{RuleContext, RuleError};
use super::selector::Selector;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// SHA-256 of a password: the only form in which one is kept.
pub(super) type PasswordHash = [u8; 32];

/// A user and its rights.
#[derive(Clone)]
pub struct User {
    name: Vec<u8>,
    /// May log in.
    pub enabled: bool,
    /// Any password fits.
    pub no_password: bool,
    /// Payloads of RESTORE are checked in depth where `sanitize-dump-payload` leaves it to the user.
    pub sanitize_payload: bool,
    pub(super) passwords: Vec<PasswordHash>,
    /// The first one is made of the user's own rules, the others of rules in parentheses.
    pub(super) selectors: Vec<Selector>,
    /// One of the selectors refuses nothing.
    pub(super) unrestricted: bool,
}

impl User {
    /// A new user: off, without passwords and rights.
    pub fn new(name: &[u8], context: &RuleContext<'_>) -> Self {
        User {
            name: name.to_vec(),
            enabled: false,
            no_password: false,
            sanitize_payload: true,
            passwords: Vec::new(),
            selectors: vec![Selector::new(context)],
            unrestricted: false,
        }
    }

    /// The user `default` as it is when nothing says otherwise: on, without password, all rights.
    pub fn default_user(context: &RuleContext<'_>) -> Self {
        let mut user = User::new(b"default", context);
        for rule in ["+@all", "~*", "&*", "on", "nopass"] {
            user.apply(rule.as_bytes(), context).expect("these rules name nothing and follow no other");
        }
        user
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether a new connection may begin as this user without AUTH.
    pub fn is_open(&self) -> bool {
        self.enabled && self.no_password
    }

    /// Whether one may log in with this password. The digests are compared in constant time, all of
    /// them: neither a common prefix nor the place of the right one shows.
    pub fn accepts(&self, password: &[u8]) -> bool {
        let given = hash(password);
        let known = self.passwords.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&given));
        self.enabled && (self.no_password || bool::from(known))
    }

    /// Changes the user as one rule of ACL SETUSER says. O(commands) for a category, O(1) for most.
    ///
    /// # Errors
    /// When the rule means nothing; the user may then have changed in part, so rules are tried on a copy.
    pub fn apply(&mut self, rule: &[u8], context: &RuleContext<'_>) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"skip-sanitize-payload" => self.sanitize_payload = false,
            b"sanitize-payload" => self.sanitize_payload = true,
            b"nopass" => self.reset_passwords(true),
            b"resetpass" => self.reset_passwords(false),
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = User::new(&self.name, context),
            _ => self.apply_to_parts(rule, context)?,
        }
        self.unrestricted = self.selectors.iter().any(Selector::is_unrestricted);
        Ok(())
    }

    fn apply_to_parts(&mut self, rule: &[u8], context: &RuleContext<'_>) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(hash(password)),
            [b'#', digits @ ..] => self.add_password(parse_hash(digits)?),
            [b'<', password @ ..] => self.remove_password(&hash(password))?,
            [b'!', digits @ ..] => self.remove_password(&parse_hash(digits)?)?,
            [b'(', .., b')'] => self.selectors.push(Selector::parse(rule, context)?),
            _ => self.selectors[0].apply(rule, context)?,
        }
        Ok(())
    }

    /// Forgets all passwords; any fits, or none.
    pub(super) fn reset_passwords(&mut self, any_fits: bool) {
        self.no_password = any_fits;
        self.passwords.clear();
    }

    pub(super) fn add_clear_password(&mut self, password: &[u8]) {
        self.add_password(hash(password));
    }

    fn add_password(&mut self, password: PasswordHash) {
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, password: &PasswordHash) -> Result<(), RuleError> {
        let place = self.passwords.iter().position(|known| known == password);
        self.passwords.remove(place.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }
}

fn hash(password: &[u8]) -> PasswordHash {
    Sha256::digest(password).into()
}

fn parse_hash(digits: &[u8]) -> Result<PasswordHash, RuleError> {
    let mut hash = PasswordHash::default();
    if digits.len() != 2 * hash.len() {
        return Err(RuleError::BadPasswordHash);
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(hash)
}

/// A lower-case hexadecimal digit.
fn digit(byte: u8) -> Result<u8, RuleError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(RuleError::BadPasswordHash),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::{RuleContext, RuleError};
    use super::User;
    use crate::server::CommandTable;

    /// SHA-256 of `secret`.
    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn passwords_fit_whole_and_while_the_user_is_on() {
        let commands = CommandTable::new(&[]);
        let context = RuleContext { commands: &commands, all_channels: false };
        let mut user = User::new(b"u", &context);
        let mut apply = |rule: &str| user.apply(rule.as_bytes(), &context);
        assert_eq!(apply("#abc"), Err(RuleError::BadPasswordHash));
        assert_eq!(apply(&format!("#{}", HASH.to_uppercase())), Err(RuleError::BadPasswordHash));
        assert_eq!(apply(&format!("#{HASH}")), Ok(()));
        assert_eq!(apply(">other"), Ok(()));
        assert!(!user.accepts(b"secret"), "the user is off");
        user.apply(b"on", &context).expect("a rule");
        assert!(user.accepts(b"secret") && user.accepts(b"other"));
        for wrong in ["secre", "secrets", "", HASH] {
            assert!(!user.accepts(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(user.apply(b"<secret", &context), Ok(()));
        assert_eq!(user.apply(b"<secret", &context), Err(RuleError::NoSuchPassword));
        assert!(!user.accepts(b"secret") && user.accepts(b"other"));
        user.apply(b"nopass", &context).expect("a rule");
        assert!(user.accepts(b"anything") && user.is_open());
        user.apply(b"off", &context).expect("a rule");
        assert!(!user.accepts(b"anything") && !user.is_open());
    }
}
