//! What stops the main thread, as an operator finds out: latency events, the watchdog.

use super::DEADLINE;
use crate::common::{Client, Server, wait_until};

fn events(client: &mut Client) -> Vec<String> {
    let latest = client.call(&["LATENCY", "LATEST"]);
    latest.items().iter().map(|event| event.items()[0].text()).collect()
}

#[test]
fn the_watchdog_tells_where_the_main_thread_is() {
    let server = Server::tine(&["enable-debug-command yes", "hz 100"]);
    let mut client = server.client();
    client.ok(&["CONFIG", "SET", "watchdog-period", "100"]);
    let id = client.call(&["CLIENT", "ID"]).int();
    client.ok(&["DEBUG", "SLEEP", "0.5"]);
    wait_until("the log tells of the end", DEADLINE, || {
        server.log().contains("The main thread goes on after about")
    });
    let log = server.log();
    let told = log.split("--- WATCHDOG TIMER EXPIRED ---").nth(1).unwrap_or_else(|| panic!("{log}"));
    assert!(told.contains(&format!("it runs 'debug' of client id={id}")), "{told}");
    assert!(told.contains("debugCommand") && told.contains("sleep"), "{told}");
    assert_eq!(log.matches("WATCHDOG TIMER EXPIRED").count(), 1, "one stop is told once: {log}");

    client.ok(&["CONFIG", "SET", "watchdog-period", "0"]);
    client.ok(&["DEBUG", "SLEEP", "0.4"]);
    assert_eq!(server.log().matches("WATCHDOG TIMER EXPIRED").count(), 1, "it is off");
    assert_eq!(client.call(&["PING"]).text(), "PONG");
}

#[test]
fn events_of_the_latency_monitor() {
    let server = Server::tine(&[
        "latency-monitor-threshold 20",
        "enable-debug-command yes",
        "appendonly yes",
        "appendfsync always",
    ]);
    let mut client = server.client();
    client.ok(&["DEBUG", "SLEEP", "0.03"]);
    assert_eq!(events(&mut client), ["command"]);
    assert_eq!(client.call(&["LATENCY", "RESET"]).int(), 1);
    // The disk takes its time with a sync, then with a write.
    client.ok(&["DEBUG", "DISK-FAULT", "fdatasync", "stall:60", "1"]);
    client.ok(&["SET", "k", "1"]);
    wait_until("the sync is noted", DEADLINE, || {
        events(&mut client).iter().any(|event| event == "aof-fsync-always")
    });
    client.ok(&["DEBUG", "DISK-FAULT", "write", "stall:60", "1"]);
    client.ok(&["SET", "k", "2"]);
    wait_until("the write is noted", DEADLINE, || {
        let seen = events(&mut client);
        seen.iter().any(|event| event == "aof-write") && seen.iter().any(|event| event == "aof-write-alone")
    });
}
