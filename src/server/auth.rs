//! Who a client may be. Until there are ACLs: the user `default` with `requirepass`.

use crate::server::Server;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

impl Server {
    /// Whether `user` may come in with `password`. Without `requirepass` any password fits.
    ///
    /// Digests are compared, in constant time: neither the length nor a common prefix shows in
    /// the time an answer takes.
    pub fn password_fits(&self, user: &[u8], password: &[u8]) -> bool {
        let known = user == b"default";
        let expected = self.config.requirepass.as_bytes();
        let equal = bool::from(Sha256::digest(password).ct_eq(&Sha256::digest(expected)));
        known && (expected.is_empty() || equal)
    }
}

#[cfg(test)]
mod tests {
    use crate::base::clock::Clock;
    use crate::base::rng::Rng;
    use crate::server::config::Config;
    use crate::server::{CommandTable, Server};

    #[test]
    fn only_the_default_user_with_the_whole_password() {
        let config = Config { requirepass: "secret".into(), ..Config::default() };
        let server = Server::new(config, Clock::manual(0), Rng::with_seed(1), CommandTable::new(&[]))
            .expect("helper threads start");
        assert!(server.password_fits(b"default", b"secret"));
        for (user, password) in
            [("default", "secre"), ("default", ""), ("other", "secret"), ("Default", "secret")]
        {
            assert!(!server.password_fits(user.as_bytes(), password.as_bytes()), "{user} {password}");
        }
    }
}
