//! redis-py against a server: each test is a scenario of `scenarios.py`, and the recipes for replicas.

use crate::common::{Program, Server, new_folder};
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

/// Runs a script of `tests/clients`; false after a message where redis-py is missing.
#[track_caller]
fn run_script(name: &str, args: &[&str]) -> bool {
    let Some(python) = python() else {
        assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, but redis-py is missing");
        eprintln!("SKIPPED: redis-py is not installed (tests/install-redis-py.sh)");
        return false;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
    let output = Command::new(python).arg(script).args(args).output().expect("Python can be run");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {}\n{out}{errors}", output.status);
    eprint!("{out}");
    true
}

#[track_caller]
fn run(scenario: &str) {
    let server = Server::tine(&["enable-debug-command yes"]);
    run_script("scenarios.py", &[&server.port().to_string(), scenario]);
}

/// Waiting for a replica and its disk, and replacing a dead primary, as docs/replication.md shows them.
#[test]
fn the_recipes_for_replicas() {
    let mut primary = Server::tine(&["repl-diskless-sync-delay 0"]);
    let replica = Server::tine(&["appendonly yes"]);
    let (first, second) = (primary.port().to_string(), replica.port().to_string());
    replica.client().ok(&["REPLICAOF", "127.0.0.1", &first]);
    if !run_script("recipes.py", &["wait", &first, &second]) {
        return;
    }
    primary.kill();
    run_script("recipes.py", &["save", &second]);
    let folder = new_folder();
    std::fs::copy(replica.dir().join("dump.rdb"), folder.path().join("dump.rdb")).expect("copied");
    let fresh = Server::start(Program::Tine, folder, &["repl-diskless-sync-delay 0"]);
    run_script("recipes.py", &["replace", &second, &fresh.port().to_string()]);
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
