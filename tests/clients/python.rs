//! redis-py against a server: each test is a scenario of `scenarios.py`.

use crate::common::Server;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Under this variable, which `.ci/run` sets where redis-py can be had, a skip is a failure.
const REQUIRED: &str = "TINE_REQUIRE_REDIS_PY";

/// A Python that has redis-py: of the environment that `tests/install-redis-py.sh` makes, or the machine's.
fn python() -> Option<PathBuf> {
    // The folder for tests' files lies in the target folder.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    let candidates = [target.join("redis-py/bin/python"), PathBuf::from("python3")];
    candidates.into_iter().find(|python| {
        let tried = Command::new(python).args(["-c", "import redis"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

#[track_caller]
fn run(scenario: &str) {
    let Some(python) = python() else {
        assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, but redis-py is missing");
        return eprintln!("SKIPPED: redis-py is not installed (tests/install-redis-py.sh)");
    };
    let server = Server::tine(&["enable-debug-command yes"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/scenarios.py");
    let output = Command::new(python)
        .arg(script)
        .args([&server.port().to_string(), scenario])
        .output()
        .expect("Python can be run");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{scenario}: {}\n{out}{errors}", output.status);
    eprint!("{out}");
}

#[test]
fn a_market_with_many_players_loses_nothing() {
    run("market");
}

#[test]
fn watched_keys() {
    run("watch_rules");
}

#[test]
fn pipelines() {
    run("pipelines");
}

#[test]
fn locks_without_scripts() {
    run("locks");
}

#[test]
fn publish_subscribe() {
    run("publish_subscribe");
}

#[test]
fn connection_pools() {
    run("pools");
}

#[test]
fn the_newer_protocol() {
    run("resp3");
}
