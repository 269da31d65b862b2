//! The fork door and snapshots by a child, in a program of its own (no other threads but ours).

use std::time::{Duration, Instant};

use tine::base::hash::HashSeed;
use tine::keyspace::{ExpiryChange, Keyspace, NewValue};
use tine::persist::Persistence;
use tine::persist::fork::{ChildEnd, ChildKind, ChildResult, ForkError};

/// A child that takes longer hangs.
const HUNG: Duration = Duration::from_secs(20);

fn main() {
    results_are_told();
    one_child_at_a_time();
    println!("persist_fork: all checks passed");
}

fn keyspace() -> Keyspace {
    Keyspace::new(2, HashSeed::from_os().expect("random numbers")).expect("a thread")
}

fn fill(keyspace: &mut Keyspace, db: usize, keys: usize) {
    for number in 0..keys {
        let key = format!("key:{number}");
        let hash = keyspace.hash(key.as_bytes());
        let value = NewValue::Encoded(key.as_bytes());
        keyspace.set(db, hash, key.as_bytes(), value, ExpiryChange::Clear);
    }
}

fn end_of(persistence: &mut Persistence, keyspace: &mut Keyspace) -> ChildEnd {
    let deadline = Instant::now() + HUNG;
    loop {
        if let Some(end) = persistence.poll_child(keyspace) {
            return end;
        }
        assert!(Instant::now() < deadline, "the child hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn results_are_told() {
    let (mut keyspace, mut persistence) = (keyspace(), Persistence::default());
    fill(&mut keyspace, 0, 1000);
    let started = persistence.fork(ChildKind::Snapshot, &mut keyspace, |keyspace, link| {
        assert_eq!(keyspace.total_keys(), 1000);
        link.advance(1000);
        link.set_bytes_written(77);
        Ok(())
    });
    assert!(started.expect("fork").pid > 0);
    assert!(keyspace.access.frozen);
    let end = end_of(&mut persistence, &mut keyspace);
    assert_eq!((end.kind, &end.result), (ChildKind::Snapshot, &ChildResult::Done));
    assert_eq!((end.progress.keys_done, end.progress.bytes_written), (1000, 77));
    assert!(!keyspace.access.frozen && persistence.child.is_none());

    let failing: [fn() -> Result<(), String>; 3] =
        [|| Err("on purpose".into()), || panic!("on purpose"), || std::process::abort()];
    for job in failing {
        persistence.fork(ChildKind::AofRewrite, &mut keyspace, move |_, _| job()).expect("fork");
        let end = end_of(&mut persistence, &mut keyspace);
        assert!(matches!(end.result, ChildResult::Failed(_)), "{:?}", end.result);
    }
    assert_eq!(persistence.forks.total, 4);
    assert!(persistence.forks.events.iter().all(|event| event.result.is_some() && event.rss_bytes > 0));
}

fn one_child_at_a_time() {
    let (mut keyspace, mut persistence) = (keyspace(), Persistence::default());
    let sleep = || loop {
        std::thread::sleep(Duration::from_secs(1));
    };
    persistence.fork(ChildKind::AofRewrite, &mut keyspace, move |_, _| sleep()).expect("fork");
    let second = persistence.fork(ChildKind::Snapshot, &mut keyspace, |_, _| Ok(()));
    assert!(matches!(second, Err(ForkError::ChildActive(ChildKind::AofRewrite))));
    let end = persistence.cancel_child(&mut keyspace).expect("there is a child");
    assert_eq!(end.result, ChildResult::Cancelled);
    persistence.fork(ChildKind::Snapshot, &mut keyspace, move |_, _| sleep()).expect("fork");
    persistence.child.as_mut().expect("it lives").kill();
    let end = end_of(&mut persistence, &mut keyspace);
    assert!(matches!(end.result, ChildResult::Failed(_)), "a kill that nobody asked for is a failure");
}
