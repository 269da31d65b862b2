//! The AOF of the real program on a disk that stalls, fails and recovers (DEBUG DISK-FAULT), and
//! under people who move its file.

mod common;

use common::{Client, Reply, Server};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A healthy end comes within this, retries of a second and looks at the file included.
const DEADLINE: Duration = Duration::from_secs(25);

fn server(directives: &[&str]) -> Server {
    let always = ["appendonly yes", "enable-debug-command yes", "auto-aof-rewrite-percentage 0"];
    Server::tine(&[&always, directives].concat())
}

fn fault(client: &mut Client, words: &str) {
    let words: Vec<&str> = ["DEBUG", "DISK-FAULT"].into_iter().chain(words.split(' ')).collect();
    client.ok(&words);
}

fn info(client: &mut Client) -> String {
    client.call(&["INFO", "persistence"]).text()
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    Some(line[name.len() + 1..].trim_end().to_owned())
}

/// Waits until writes are taken again; INFO forgets the fault.
#[track_caller]
fn wait_healed(client: &mut Client) {
    common::wait_until("the end of the fault", DEADLINE, || {
        !client.call(&["SET", "probe", "1"]).is_error() && field(&info(client), "aof_last_error").is_none()
    });
}

/// Waits until writes are refused; returns the refusal.
#[track_caller]
fn wait_refused(client: &mut Client) -> String {
    common::wait_for("the refusal", DEADLINE, || {
        let reply = client.call(&["SET", "probe", "0"]);
        reply.is_error().then(|| reply.text())
    })
}

#[track_caller]
fn rewrite(client: &mut Client) {
    let before = field(&info(client), "aof_rewrites").expect("always shown");
    assert!(!client.call(&["BGREWRITEAOF"]).is_error());
    common::wait_until("the rewrite", DEADLINE, || {
        let text = info(client);
        field(&text, "aof_rewrites").as_ref() != Some(&before)
            && field(&text, "aof_rewrite_in_progress").as_deref() == Some("0")
            && field(&text, "aof_rewrite_scheduled").as_deref() == Some("0")
    });
}

/// Restarts after kill -9 and looks for what was acknowledged.
#[track_caller]
fn check_after_kill(mut server: Server, key: &str, value: &str) {
    server.kill();
    server.restart();
    assert_eq!(server.client().call(&["GET", key]).text(), value);
}

#[test]
fn a_full_disk_refuses_writes_by_name_and_heals_by_itself() {
    let server = server(&[]);
    let mut client = server.client();
    client.ok(&["SET", "before", "kept"]);
    fault(&mut client, "write fail:ENOSPC 2 appendonly");
    client.call(&["SET", "during", "kept"]);
    let refusal = wait_refused(&mut client);
    assert!(refusal.starts_with("MISCONF Errors writing to the AOF file: write("), "{refusal}");
    assert!(refusal.ends_with("appendonly.aof): No space left on device (os error 28)"), "{refusal}");
    assert_eq!(client.call(&["GET", "before"]).text(), "kept", "reads go on");
    let text = info(&mut client);
    assert_eq!(field(&text, "aof_last_error_kind").as_deref(), Some("write"));
    assert!(field(&text, "aof_last_error").expect("shown").contains("os error 28"));
    assert!(field(&text, "aof_last_error_age_sec").is_some());
    assert_eq!(field(&text, "aof_last_write_status").as_deref(), Some("err"));
    wait_healed(&mut client);
    client.ok(&["SET", "after", "kept"]);
    check_after_kill(server, "after", "kept");
}

#[test]
fn a_failed_sync_refuses_writes_until_a_rewrite_has_healed_it() {
    let server = server(&[]);
    let mut client = server.client();
    fault(&mut client, "fdatasync fail:EIO 1 appendonly");
    client.ok(&["SET", "a", "1"]);
    let refusal = wait_refused(&mut client);
    assert!(refusal.contains("fdatasync(") && refusal.contains("os error 5"), "{refusal}");
    wait_healed(&mut client);
    assert!(server.log().contains("AOF fsync error, this file is not trusted any more"));
    client.ok(&["SET", "after", "kept"]);
    check_after_kill(server, "after", "kept");
}

/// The temporary file, the new file, the rename, the directory: each fails once.
#[test]
fn a_rewrite_that_fails_says_why_and_the_next_one_heals() {
    let faults = [
        ("open-create fail:EROFS 1 temp-rewriteaof", 30),
        ("open-append fail:EACCES 1 temp-rewriteaof", 13),
        ("rename fail:EROFS 1 temp-rewriteaof", 30),
        ("fsync-directory fail:EIO", 5),
    ];
    let server = server(&[]);
    let mut client = server.client();
    client.ok(&["SET", "a", "1"]);
    for (words, errno) in faults {
        fault(&mut client, words);
        rewrite(&mut client);
        let text = info(&mut client);
        let reason = field(&text, "aof_rewrite_last_error").unwrap_or_default();
        // A directory that was not synced is healed at once by another rewrite.
        if errno != 5 {
            // What a child says of its own failure may be its exit code; its log line has the rest.
            let cause = format!("(os error {errno})");
            let told = reason.contains(&cause) || !reason.is_empty() && server.log().contains(&cause);
            assert!(told, "{words}: {reason}");
            assert_eq!(field(&text, "aof_last_bgrewrite_status").as_deref(), Some("err"));
        }
        fault(&mut client, "clear");
        rewrite(&mut client);
        wait_healed(&mut client);
        let text = info(&mut client);
        assert_eq!(field(&text, "aof_rewrite_last_error"), None, "{words}");
        assert_eq!(field(&text, "aof_last_bgrewrite_status").as_deref(), Some("ok"));
    }
    let names = std::fs::read_dir(server.dir()).expect("the folder is there");
    let left =
        names.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().contains("temp-"));
    assert!(!left, "no temporary file is left");
    client.ok(&["SET", "after", "kept"]);
    check_after_kill(server, "after", "kept");
}

/// The server looks at the name every ten seconds only; the way out must not lose what came since.
#[test]
fn a_file_removed_or_replaced_just_before_the_end_is_written_anew() {
    for replaced in [false, true] {
        let mut server = Server::tine(&["appendonly yes", "appendfsync everysec"]);
        let mut client = server.client();
        client.ok(&["SET", "before", "1"]);
        let file = server.dir().join("appendonly.aof");
        std::fs::rename(&file, server.dir().join("moved.aof")).expect("it is there");
        if replaced {
            std::fs::write(&file, "").expect("the folder is writable");
        }
        client.ok(&["SET", "after", "2"]);
        assert!(server.stop().success());
        server.restart();
        let mut client = server.client();
        assert_eq!(client.call(&["GET", "before"]).text(), "1", "replaced: {replaced}");
        assert_eq!(client.call(&["GET", "after"]).text(), "2", "replaced: {replaced}");
    }
}

#[test]
fn a_file_removed_under_the_server_is_noticed_and_written_anew() {
    let server = server(&[]);
    let mut client = server.client();
    client.ok(&["SET", "before", "kept"]);
    std::fs::remove_file(server.dir().join("appendonly.aof")).expect("it is there");
    // A rewrite looks first; so does the clock, a few times a minute.
    common::wait_until("the notice", DEADLINE, || server.log().contains("was removed by somebody else"));
    wait_healed(&mut client);
    assert!(server.dir().join("appendonly.aof").exists());
    check_after_kill(server, "before", "kept");
}

/// Sends a request each millisecond while the call stalls; returns the longest answers.
fn worst_latency(server: &Server, words: &str, stall: Duration) -> Duration {
    let mut client = server.client();
    client.ok(&["SET", "warm", "1"]);
    let stop = AtomicBool::new(false);
    let mut worst = Duration::ZERO;
    thread::scope(|scope| {
        scope.spawn(|| {
            fault(&mut server.client(), words);
            thread::sleep(stall + Duration::from_millis(500));
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            assert_eq!(client.call(&["SET", "k", "v"]), Reply::Simple("OK".into()));
            worst = worst.max(start.elapsed());
            thread::sleep(Duration::from_millis(1));
        }
    });
    worst
}

/// The bounds are wide: other tests run beside this one. README has the figures of a quiet machine.
#[test]
fn stalls_of_the_disk_do_not_reach_clients() {
    let server = server(&[]);
    // The clock's first rounds tell that main has time to spare.
    thread::sleep(Duration::from_millis(300));
    let stall = Duration::from_millis(1500);
    let sync = worst_latency(&server, "fdatasync stall:1500", stall);
    assert!(sync < Duration::from_millis(700), "a stalled sync: {sync:?}");
    let write = worst_latency(&server, "write stall:1500", stall);
    assert!(write < Duration::from_millis(700), "a stalled write: {write:?}");
    assert!(server.log().contains("replies no longer wait for it"), "replies were released late");
}
