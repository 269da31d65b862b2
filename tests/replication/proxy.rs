//! A proxy inside the test: what stands between a replica and its primary is cut, slowed, made one-way.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long a thread waits for bytes before it looks at the orders again.
const LOOK: Duration = Duration::from_millis(10);

/// Orders to all connections.
#[derive(Default)]
struct Orders {
    /// Bytes from the primary that still pass before everything is cut; negative: no end.
    passes: AtomicI64,
    /// Bytes from the primary are kept back, those of the replica pass.
    one_way: AtomicBool,
    /// Pause after each block, ms.
    slow_ms: AtomicU64,
    /// Connections are refused.
    closed: AtomicBool,
    /// The cut that is ordered closes too.
    closes: AtomicBool,
    /// Raised by each cut.
    era: AtomicU64,
    target: AtomicU16,
    ended: AtomicBool,
}

/// Listens on a port of its own and passes on to the primary's.
pub struct Proxy {
    port: u16,
    orders: Arc<Orders>,
}

impl Proxy {
    pub fn to(target: u16) -> Proxy {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback address has a free port");
        let port = listener.local_addr().expect("bound").port();
        listener.set_nonblocking(true).expect("set");
        let orders = Arc::new(Orders::default());
        orders.passes.store(-1, Ordering::SeqCst);
        orders.target.store(target, Ordering::SeqCst);
        let shared = Arc::clone(&orders);
        thread::spawn(move || accept(&listener, &shared));
        Proxy { port, orders }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection now; new ones work.
    pub fn cut(&self) {
        self.orders.era.fetch_add(1, Ordering::SeqCst);
    }

    /// Cuts after so many more bytes of the primary, once.
    pub fn cut_after(&self, bytes: i64) {
        self.orders.passes.store(bytes, Ordering::SeqCst);
    }

    /// As [`Proxy::cut_after`], and connections are refused from then on.
    pub fn close_after(&self, bytes: i64) {
        self.orders.closes.store(true, Ordering::SeqCst);
        self.cut_after(bytes);
    }

    pub fn is_closed(&self) -> bool {
        self.orders.closed.load(Ordering::SeqCst)
    }

    /// Refuses connections, and cuts those that are.
    pub fn close(&self, closed: bool) {
        self.orders.closed.store(closed, Ordering::SeqCst);
        if closed {
            self.cut();
        }
    }

    /// Nothing of the primary arrives, and nobody is told.
    pub fn one_way(&self, on: bool) {
        self.orders.one_way.store(on, Ordering::SeqCst);
    }

    /// A pause after each block.
    pub fn slow(&self, pause_ms: u64) {
        self.orders.slow_ms.store(pause_ms, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.orders.ended.store(true, Ordering::SeqCst);
        self.cut();
    }
}

fn accept(listener: &TcpListener, orders: &Arc<Orders>) {
    while !orders.ended.load(Ordering::SeqCst) {
        let Ok((replica, _)) = listener.accept() else {
            thread::sleep(LOOK);
            continue;
        };
        let target = (Ipv4Addr::LOCALHOST, orders.target.load(Ordering::SeqCst));
        if orders.closed.load(Ordering::SeqCst) {
            continue;
        }
        let Ok(primary) = TcpStream::connect(target) else { continue };
        let era = orders.era.load(Ordering::SeqCst);
        for (from, to, is_down) in [(&primary, &replica, true), (&replica, &primary, false)] {
            let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
            let orders = Arc::clone(orders);
            thread::spawn(move || pass_on(from, to, is_down, era, &orders));
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, is_down: bool, era: u64, orders: &Orders) {
    from.set_nonblocking(false).expect("set");
    from.set_read_timeout(Some(LOOK)).expect("set");
    let mut block = [0; 4096];
    while orders.era.load(Ordering::SeqCst) == era {
        if is_down && orders.one_way.load(Ordering::SeqCst) {
            thread::sleep(LOOK);
            continue;
        }
        let count = match from.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(failure) if failure.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        };
        let passes = if is_down { orders.take(count) } else { count };
        if to.write_all(&block[..passes]).is_err() {
            break;
        }
        if passes < count {
            if orders.closes.swap(false, Ordering::SeqCst) {
                orders.closed.store(true, Ordering::SeqCst);
            }
            orders.era.fetch_add(1, Ordering::SeqCst);
            break;
        }
        thread::sleep(Duration::from_millis(orders.slow_ms.load(Ordering::SeqCst)));
    }
    // The other direction ends with this one.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

impl Orders {
    /// How many of `count` bytes may pass.
    fn take(&self, count: usize) -> usize {
        let left = self.passes.load(Ordering::SeqCst);
        if left < 0 {
            return count;
        }
        let passes = count.min(left as usize);
        let rest = left - passes as i64;
        // Cut once.
        self.passes.store(if passes < count { -1 } else { rest }, Ordering::SeqCst);
        passes
    }
}
