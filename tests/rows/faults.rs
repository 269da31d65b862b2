//! Snapshots when something fails, and the ways out: what must be kept, said and healed.

use super::{DEADLINE, error, files_with, last_child, set_some, wait_until};
use crate::common::{Client, Program, Reply, Server, new_folder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn signal_child(server: &Server, signal: Signal) {
    kill(Pid::from_raw(last_child(server)), signal).expect("the child lives");
}

fn assert_refused(reply: &Reply) {
    assert!(
        matches!(reply, Reply::Error(text) if text.starts_with("MISCONF Redis is configured")),
        "{reply:?}"
    );
}

#[test]
fn a_killed_child_stops_writes_until_a_save_succeeds() {
    let server = Server::tine(&["save 3600 1000000", "rdb-key-save-delay 10000"]);
    let mut client = server.client();
    set_some(&mut client, 200, "v");
    client.call(&["BGSAVE"]);
    signal_child(&server, Signal::SIGKILL);
    wait_until("the failure is seen", DEADLINE, || server.info("rdb_last_bgsave_status") == "err");
    assert_refused(&client.call(&["SET", "a", "b"]));
    assert_eq!(server.info("rdb_last_error"), "terminated by signal 9");
    assert!(!server.info("rdb_last_error_age_sec").is_empty());
    assert_eq!(client.call(&["GET", "key:1"]), Reply::bulk("v"));
    assert!(files_with(&server, "temp-").is_empty(), "its file is removed");
    client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    client.call(&["BGSAVE"]);
    server.wait_for_save();
    client.ok(&["SET", "a", "b"]);
    assert_eq!(server.info("rdb_last_error"), "", "gone when it is healed");
}

#[test]
fn a_hung_child_is_killed_after_its_timeout() {
    let server = Server::tine(&["save 3600 1000000", "rdb-key-save-delay 10000", "fork-child-timeout 1"]);
    let mut client = server.client();
    set_some(&mut client, 500, "v");
    client.call(&["BGSAVE"]);
    signal_child(&server, Signal::SIGSTOP);
    wait_until("the hung child is killed", DEADLINE, || server.info("rdb_last_bgsave_status") == "err");
    assert_eq!(server.info("rdb_last_error"), "no progress for 1 seconds (fork-child-timeout)");
    assert!(files_with(&server, "temp-").is_empty());
    // A slow child that shows life is left alone: 160 keys at 10 ms are more than a timeout.
    client.call(&["BGSAVE"]);
    let keys_done = || server.info("current_save_keys_processed").parse::<u64>().unwrap_or(0);
    wait_until("the slow child goes on", DEADLINE, || keys_done() > 160);
    assert_eq!(server.info("rdb_bgsave_in_progress"), "1", "{}", server.log());
    assert_eq!(client.call(&["BGSAVE", "CANCEL"]).text(), "Background saving cancelled");
}

#[test]
fn cancelling_a_stopped_child_does_not_stop_the_server() {
    let server = Server::tine(&["save \"\"", "rdb-key-save-delay 10000"]);
    let mut client = server.client();
    set_some(&mut client, 500, "v");
    client.call(&["BGSAVE"]);
    signal_child(&server, Signal::SIGSTOP);
    assert_eq!(client.call(&["BGSAVE", "CANCEL"]).text(), "Background saving cancelled");
    assert!(client.call(&["BGSAVE", "CANCEL"]).is_error(), "once is enough");
    wait_until("cron kills and reaps it", DEADLINE, || server.info("rdb_bgsave_in_progress") == "0");
    assert_eq!(server.info("rdb_last_bgsave_status"), "ok", "a cancelled save is no failure");
    assert_eq!(server.info("rdb_changes_since_last_save"), "500");
    assert!(files_with(&server, "temp-").is_empty());
    assert!(client.call(&["BGSAVE", "CANCEL"]).is_error());
}

#[test]
fn a_failed_rename_is_told_and_heals_by_itself() {
    let server = Server::tine(&["save 1 1"]);
    let path = server.dir().join("dump.rdb");
    std::fs::create_dir(&path).expect("the folder is writable");
    let mut client = server.client();
    client.ok(&["SET", "key", "value"]);
    wait_until("the save fails", DEADLINE, || server.info("rdb_last_bgsave_status") == "err");
    let reason = server.info("rdb_last_error");
    assert!(
        reason.contains("rename(") && reason.contains("dump.rdb") && reason.contains("Is a directory"),
        "{reason}"
    );
    assert_refused(&client.call(&["SET", "key", "other"]));
    assert_eq!(client.call(&["SAVE"]), error("ERR"));
    std::fs::remove_dir(&path).expect("it is empty");
    wait_until("the save is tried again", DEADLINE, || server.info("rdb_last_bgsave_status") == "ok");
    client.ok(&["SET", "key", "other"]);
    assert!(path.is_file() && server.info("rdb_last_error").is_empty());
}

#[test]
fn a_folder_or_file_that_goes_away_is_no_more_than_a_failed_save() {
    let server = Server::tine(&["save \"\"", "enable-protected-configs yes"]);
    let mut client = server.client();
    client.ok(&["SET", "key", "value"]);
    client.ok(&["SAVE"]);
    let path = server.dir().join("dump.rdb");
    let good = std::fs::read(&path).expect("it is there");
    std::fs::remove_file(&path).expect("it is there");
    client.ok(&["SAVE"]);
    assert_eq!(std::fs::read(&path).expect("written anew").len(), good.len());
    std::fs::write(&path, b"something else").expect("write");
    client.call(&["BGSAVE"]);
    server.wait_for_save();
    assert_eq!(std::fs::read(&path).expect("replaced").len(), good.len());
    let folder = server.dir().join("sub");
    std::fs::create_dir(&folder).expect("the folder is writable");
    client.ok(&["CONFIG", "SET", "dir", folder.to_str().expect("text")]);
    std::fs::remove_dir(&folder).expect("it is empty");
    assert_eq!(client.call(&["SAVE"]), error("ERR"));
    let reason = server.info("rdb_last_error");
    assert!(
        reason.contains("Failed opening the temp RDB file") && reason.contains("No such file"),
        "{reason}"
    );
    client.ok(&["SET", "key", "still served"]);
    std::fs::create_dir(&folder).expect("the folder is writable");
    client.ok(&["SAVE"]);
    assert!(folder.join("dump.rdb").exists() && server.info("rdb_last_error").is_empty());
}

#[test]
fn leftovers_of_dead_processes_are_removed_at_the_start() {
    /// Above the highest process id of Linux (2^22).
    const NOBODY: u32 = 5_000_000;
    let folder = new_folder();
    let dead = [
        format!("temp-{NOBODY}.rdb"),
        format!("temp-rewriteaof-bg-{NOBODY}.aof"),
        format!("temp-rewriteaof-buffer-{NOBODY}.aof"),
        format!("temp-rewriteaof-{NOBODY}.aof"),
    ];
    // A process of another container: nobody here has its id, but it holds its file.
    let foreign = format!("temp-{}.rdb", NOBODY + 1);
    let alive = [
        format!("temp-{}.rdb", std::process::id()),
        "temp-mine.rdb".to_owned(),
        "temp-1.txt".to_owned(),
        foreign.clone(),
    ];
    for name in dead.iter().chain(&alive) {
        std::fs::write(folder.path().join(name), b"part").expect("write");
    }
    let held = std::fs::File::open(folder.path().join(&foreign)).expect("it is there");
    held.lock().expect("nobody else wants it");
    let server = Server::start(Program::Tine, folder, &["appendonly yes"]);
    for name in &dead {
        assert!(!server.dir().join(name).exists(), "{name}");
        let line = format!("{name}, left over by a process that is gone");
        assert!(server.log().contains(&line), "{}", server.log());
    }
    assert!(alive.iter().all(|name| server.dir().join(name).exists()), "not ours to remove");
}

#[test]
fn a_log_that_was_not_read_is_never_overwritten() {
    let mut server = Server::tine(&["appendonly yes"]);
    server.client().ok(&["SET", "key", "precious"]);
    server.kill();
    let path = server.dir().join("appendonly.aof");
    let precious = std::fs::read(&path).expect("it is there");
    server.set_directives(&["appendonly no"]);
    server.restart();
    assert!(server.log().contains("is not loaded, since appendonly is off"), "{}", server.log());
    let mut client = server.client();
    assert_eq!(client.call(&["DBSIZE"]), Reply::Int(0));
    client.ok(&["CONFIG", "SET", "appendonly", "yes"]);
    server.wait_for_rewrite();
    let aside = files_with(&server, "appendonly.aof.unread-");
    assert_eq!(aside.len(), 1);
    assert_eq!(std::fs::read(&aside[0]).expect("it is there"), precious);
    // What the server itself has written is its own to replace.
    client.ok(&["CONFIG", "SET", "appendonly", "no"]);
    client.ok(&["CONFIG", "SET", "appendonly", "yes"]);
    server.wait_for_rewrite();
    assert_eq!(files_with(&server, "unread-").len(), 1);
}

/// The log of the server itself under another name of its folder is no foreign one.
#[test]
fn a_rewrite_never_takes_the_living_log_for_an_unread_one() {
    let mut server = Server::tine(&["appendonly yes", "enable-protected-configs yes"]);
    let mut client = server.client();
    client.ok(&["SET", "before", "1"]);
    let same = server.dir().join("same");
    std::os::unix::fs::symlink(server.dir(), &same).expect("the folder is writable");
    client.ok(&["CONFIG", "SET", "dir", same.to_str().expect("text")]);
    assert!(client.call(&["BGREWRITEAOF"]).text().contains("started"));
    assert!(server.dir().join("appendonly.aof").exists(), "there is a log at every moment");
    server.wait_for_rewrite();
    assert!(files_with(&server, "unread-").is_empty());
    client.ok(&["SET", "after", "2"]);
    server.kill();
    server.restart();
    assert_eq!(server.client().call(&["DBSIZE"]), Reply::Int(2), "{}", server.log());
}

/// Relative folders give one name to two files.
#[test]
fn a_rewrite_into_another_folder_keeps_the_log_that_is_there() {
    let server = Server::tine(&["appendonly yes", "enable-protected-configs yes", "dir ."]);
    let sub = server.dir().join("sub");
    std::fs::create_dir(&sub).expect("the folder is writable");
    std::fs::write(sub.join("appendonly.aof"), b"somebody's").expect("the folder is writable");
    let mut client = server.client();
    client.ok(&["SET", "key", "value"]);
    client.ok(&["CONFIG", "SET", "dir", "sub"]);
    assert!(client.call(&["BGREWRITEAOF"]).text().contains("started"));
    server.wait_for_rewrite();
    let names: Vec<_> = std::fs::read_dir(&sub).expect("it is there").flatten().map(|e| e.path()).collect();
    let kept = names.iter().find(|path| path.to_string_lossy().contains("appendonly.aof.unread-"));
    let kept = kept.unwrap_or_else(|| panic!("{names:?}"));
    assert_eq!(std::fs::read(kept).expect("it is there"), b"somebody's");
    let others = names.iter().filter(|path| path.to_string_lossy().contains("appendonly.aof."));
    assert_eq!(others.count(), 1, "one more name is enough: {names:?}");
    assert!(std::fs::read(sub.join("appendonly.aof")).expect("it is there").starts_with(b"REDIS"));
    assert!(server.dir().join("appendonly.aof").exists(), "the former log stays where it was");
    assert!(!server.log().contains("by somebody else"), "its own log was never lost: {}", server.log());
}

/// A child that outlived its server would replace the file of the next one.
#[test]
fn a_child_ends_with_its_server() {
    let mut server = Server::tine(&["rdb-key-save-delay 10000"]);
    set_some(&mut server.client(), 1000, "v");
    server.client().call(&["BGSAVE"]);
    let child = last_child(&server);
    server.kill();
    let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    // It may stay as a zombie where nobody reaps orphans.
    wait_until("the child ends", DEADLINE, || state().is_empty() || state().contains(") Z "));
    assert!(!server.dir().join("dump.rdb").exists());
}

/// A server in the middle of loading a snapshot of 4000 keys, at 1 ms a key.
fn loading_server() -> (Server, Vec<u8>) {
    let mut server = Server::tine(&["save \"\""]);
    server.client().pipeline(
        &(0..4000).map(|n| vec!["SET".to_owned(), n.to_string(), "v".to_owned()]).collect::<Vec<_>>(),
    );
    server.client().ok(&["SAVE"]);
    server.kill();
    let bytes = std::fs::read(server.dir().join("dump.rdb")).expect("it is there");
    server.set_directives(&[
        "save 900 1",
        "key-load-delay 1000",
        "loading-process-events-interval-bytes 1024",
    ]);
    server.start_until("Loading RDB produced by");
    assert_eq!(server.info("loading"), "1");
    (server, bytes)
}

#[test]
fn signals_and_shutdown_while_loading_leave_the_file_alone() {
    for signal in [Some(Signal::SIGTERM), Some(Signal::SIGINT), None] {
        let (mut server, bytes) = loading_server();
        match signal {
            Some(signal) => server.signal(signal),
            None => server.client().send(&["SHUTDOWN", "SAVE"]),
        }
        assert_eq!(server.wait_exit(DEADLINE).code(), Some(0), "{signal:?}");
        assert_eq!(std::fs::read(server.dir().join("dump.rdb")).expect("it is there"), bytes, "{signal:?}");
    }
}

/// Until cron has made another round: it removes what has expired.
fn wait_for_cron(server: &Server) {
    let expired = || server.info("expired_keys").parse::<u64>().expect("a number");
    let before = expired();
    server.client().ok(&["SET", "expires at once", "v", "PX", "1"]);
    wait_until("a round of cron", DEADLINE, || expired() > before);
}

#[test]
fn a_shutdown_that_cannot_save_goes_on_serving() {
    let mut server = Server::tine(&["save 900 1"]);
    let path = server.dir().join("dump.rdb");
    std::fs::create_dir(&path).expect("the folder is writable");
    let mut client = server.client();
    client.ok(&["SET", "key", "value"]);
    assert_eq!(client.call(&["SHUTDOWN"]), error("ERR Errors trying to SHUTDOWN. Check logs."));
    for _ in 0..2 {
        let before = server.log().matches("Error trying to save the DB, can't exit.").count();
        server.signal(Signal::SIGINT);
        let refusals = || server.log().matches("Error trying to save the DB, can't exit.").count();
        wait_until("the signal's save fails", DEADLINE, || refusals() > before);
        // The next round of cron forgets the interrupt: a later one asks anew and does not insist.
        (0..2).for_each(|_| wait_for_cron(&server));
    }
    assert_eq!(client.call(&["GET", "key"]), Reply::bulk("value"));
    client.send(&["SHUTDOWN", "FORCE"]);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0));
    assert!(server.log().contains("Error trying to save the DB. Exit anyway."), "{}", server.log());
}

#[test]
fn a_signal_during_a_save_kills_the_child_and_saves_everything() {
    let mut server = Server::tine(&["save 900 100000", "rdb-key-save-delay 10000"]);
    let mut client = server.client();
    set_some(&mut client, 100, "v");
    client.call(&["BGSAVE"]);
    client.ok(&["SET", "after the fork", "v"]);
    client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    assert!(server.stop().success());
    assert!(server.log().contains("There is a child saving an .rdb. Killing it!"), "{}", server.log());
    assert!(files_with(&server, "temp-").is_empty());
    server.restart();
    assert_eq!(server.client().call(&["DBSIZE"]), Reply::Int(101));
}

#[test]
fn an_insistent_interrupt_removes_the_half_written_file() {
    let mut server = Server::tine(&["save 900 1", "rdb-key-save-delay 20000"]);
    set_some(&mut server.client(), 200, "v");
    let temp = server.dir().join(format!("temp-{}.rdb", server.pid()));
    server.signal(Signal::SIGINT);
    wait_until("the last save begins", DEADLINE, || temp.exists());
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(1));
    assert!(!temp.exists() && !server.dir().join("dump.rdb").exists());
}

#[test]
fn nothing_is_acknowledged_behind_the_last_save() {
    let mut server = Server::tine(&["save 900 1"]);
    let mut client = server.client();
    let commands = [["SET", "before", "1"], ["SHUTDOWN", "SAVE", "NOW"], ["SET", "behind", "1"]];
    client.send_raw(
        &commands.iter().flat_map(|words| crate::common::encode_command(words)).collect::<Vec<u8>>(),
    );
    let replies = client.read_to_close();
    assert_eq!(replies, b"+OK\r\n", "the command behind SHUTDOWN is not answered");
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0));
    for round in 0..5 {
        server.restart();
        let (port, highest) = (server.port(), AtomicU64::new(0));
        let begun = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| count_up(port, &highest, &begun));
            }
            wait_until("the counting begins", DEADLINE, || begun.load(Ordering::SeqCst));
            server.stop();
        });
        server.restart();
        let mut client = server.client();
        let kept: u64 = client.call(&["GET", "counter"]).text().parse().expect("a number");
        let acknowledged = highest.load(Ordering::SeqCst);
        assert!(kept >= acknowledged, "round {round}: {kept} kept, {acknowledged} acknowledged");
        assert_eq!(client.call(&["EXISTS", "behind"]), Reply::Int(0));
    }
}

/// Increments until the connection breaks; notes the highest number that was answered.
fn count_up(port: u16, highest: &AtomicU64, begun: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(port) else { return };
    while let Ok(Reply::Int(number)) = client.try_call(&["INCR", "counter"]) {
        highest.fetch_max(number as u64, Ordering::SeqCst);
        begun.fetch_or(number > 200, Ordering::SeqCst);
    }
}
