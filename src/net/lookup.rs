//! The address of a host: a name is looked up by a thread, since a name server may take many seconds or
//! never answer, and clients are served meanwhile.
//!
//! One thread at most: an answer that nobody waits for any more is thrown away when it comes, and only
//! then the next name is looked up. The link's own time-out (`repl-timeout`) ends the waiting; its next try
//! asks anew, since what was true then may have changed.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// How a name becomes an address; tests give their own.
pub(super) type Resolve = fn(&str, u16) -> io::Result<SocketAddr>;

/// A name that is being looked up.
struct Question {
    /// The try that asks.
    number: u64,
    host: String,
    port: u16,
    answer: Receiver<io::Result<SocketAddr>>,
}

/// Looks names up, one at a time.
#[derive(Default)]
pub(super) struct Lookup {
    question: Option<Question>,
}

impl Lookup {
    /// The address of a host; `None`: not known yet, `wake` will be called when there is something new.
    /// An answer is given to the try `number` that has asked, and to no later one.
    pub fn address(
        &mut self,
        number: u64,
        host: &str,
        port: u16,
        resolve: Resolve,
        wake: impl FnOnce() + Send + 'static,
    ) -> Option<io::Result<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Ok(SocketAddr::new(ip, port)));
        }
        if let Some(question) = &self.question {
            let answer = match question.answer.try_recv() {
                Ok(answer) => answer,
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => Err(io::Error::other("the look-up of the name broke")),
            };
            let is_ours = question.number == number && question.host == host && question.port == port;
            self.question = None;
            if is_ours {
                return Some(answer);
            }
        }
        match ask(host.to_owned(), port, resolve, wake) {
            Ok(answer) => {
                self.question = Some(Question { number, host: host.to_owned(), port, answer });
                None
            }
            Err(failure) => Some(Err(failure)),
        }
    }

    /// Whether an answer is awaited.
    pub fn is_waiting(&self) -> bool {
        self.question.is_some()
    }
}

fn ask(
    host: String,
    port: u16,
    resolve: Resolve,
    wake: impl FnOnce() + Send + 'static,
) -> io::Result<Receiver<io::Result<SocketAddr>>> {
    let (sender, answer) = sync_channel(1);
    std::thread::Builder::new().name("lookup".into()).spawn(move || {
        // Nobody may be there any more: then the process is on its way out.
        let _ = sender.send(resolve(&host, port));
        wake();
    })?;
    Ok(answer)
}

/// The first address that the system knows of a host.
pub(super) fn resolve_by_system(host: &str, port: u16) -> io::Result<SocketAddr> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("no address of {host} is known"));
    (host, port).to_socket_addrs()?.next().ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::{Lookup, Resolve, resolve_by_system};
    use std::io;
    use std::net::SocketAddr;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    const PATIENCE: Duration = Duration::from_secs(10);
    /// A name server that is in no hurry.
    const SLOW: Duration = Duration::from_millis(200);

    fn slow(host: &str, port: u16) -> io::Result<SocketAddr> {
        std::thread::sleep(SLOW);
        let last = if host == "first" { 1 } else { 2 };
        Ok(SocketAddr::from(([10, 0, 0, last], port)))
    }

    #[test]
    fn an_address_needs_no_look_up() {
        let mut lookup = Lookup::default();
        let found = lookup.address(1, "::1", 6379, |_, _| panic!("not asked"), || ());
        assert_eq!(found.expect("at once").expect("an address").to_string(), "[::1]:6379");
        assert!(!lookup.is_waiting());
    }

    #[test]
    fn a_slow_answer_is_waited_for_elsewhere_and_one_for_another_host_is_thrown_away() {
        let (sender, woken) = channel();
        let mut lookup = Lookup::default();
        let mut address = |number: u64, host: &str| {
            let sender = sender.clone();
            lookup.address(number, host, 7, slow, move || sender.send(()).unwrap_or(()))
        };
        let begun = Instant::now();
        assert!(address(1, "first").is_none() && address(1, "first").is_none());
        assert!(address(2, "second").is_none());
        assert!(begun.elapsed() < SLOW, "asking waits for nobody");
        woken.recv_timeout(PATIENCE).expect("an answer");
        assert!(address(2, "second").is_none(), "that was the answer for the first");
        woken.recv_timeout(PATIENCE).expect("an answer");
        assert_eq!(address(2, "second").expect("known").expect("known").to_string(), "10.0.0.2:7");
    }

    #[test]
    fn an_answer_to_a_try_that_was_given_up_is_thrown_away() {
        let (sender, woken) = channel();
        let mut lookup = Lookup::default();
        let old: Resolve = |_, port| Ok(SocketAddr::from(([10, 0, 0, 1], port)));
        let new: Resolve = |_, port| Ok(SocketAddr::from(([10, 0, 0, 2], port)));
        let mut address = |number: u64, resolve: Resolve| {
            let sender = sender.clone();
            lookup.address(number, "primary", 7, resolve, move || sender.send(()).unwrap_or(()))
        };
        assert!(address(1, old).is_none());
        woken.recv_timeout(PATIENCE).expect("an answer");
        assert!(address(2, new).is_none(), "it is an old one");
        woken.recv_timeout(PATIENCE).expect("an answer");
        assert_eq!(address(2, old).expect("known").expect("known").to_string(), "10.0.0.2:7");
    }

    #[test]
    fn the_system_knows_this_machine() {
        assert!(resolve_by_system("localhost", 1).expect("known").ip().is_loopback());
    }
}
