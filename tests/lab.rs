//! tine-lab end to end: a tiny experiment with a real server, its report and files; the live view in lines.
//!
//! Parsing, statistics, scales and drawings have their tests beside them, in src/tools/lab.

mod common;

use common::{Server, wait_until};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn tool(arguments: &[&str], folder: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_tine-lab");
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    output.expect("the tool was built")
}

#[track_caller]
fn tool_ends(status: i32, arguments: &[&str], folder: &Path) -> String {
    let output = tool(arguments, folder);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
    text
}

const EXPERIMENT: &str = "
title = A tiny one
saves = 2
before = 200ms
pause = 100ms
write-rate = 2000
[Two sizes]
size = 1mb, 4mb
[Kinds]
size = 1mb
save = rdb, hybrid
tine.hz = 20
";

#[test]
fn an_experiment_is_measured_drawn_and_drawn_again() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let here = folder.path();
    std::fs::write(here.join("tiny.lab"), EXPERIMENT).expect("it can be written");
    let work = here.join("work");
    std::fs::create_dir(&work).expect("it can be made");
    let text = tool_ends(0, &["run", "tiny.lab", "--out", "out", "--work", "work"], here);
    assert!(text.contains("4/4") && !text.contains("not measured"), "{text}");
    assert_eq!(std::fs::read_dir(&work).expect("it is there").count(), 0, "the servers' folders are gone");

    let read = |name: &str| std::fs::read_to_string(here.join("out").join(name)).expect(name);
    let page = read("report.html");
    assert!(page.contains("A tiny one") && page.contains("tine-lab run tiny.lab --out out"));
    let results: serde_json::Value = serde_json::from_str(&read("results.json")).expect("it is JSON");
    let saves = results["cells"][1]["runs"][0]["saves"].as_array().expect("there are saves");
    assert_eq!(saves.len(), 2);
    for save in saves {
        assert!(save["fork_us"].as_u64() > Some(0) && save["rss_bytes"].as_u64() > Some(4 << 20), "{save}");
        assert!(save["during"][0].as_u64() > Some(0), "requests were answered meanwhile: {save}");
    }
    assert_eq!(read("saves.csv").lines().count(), 1 + 4 * 2);

    std::fs::remove_file(here.join("out/report.html")).expect("it is there");
    tool_ends(0, &["report", "out"], here);
    assert_eq!(read("report.html"), page, "the same results give the same page");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text =
        tool_ends(1, &["run", "--server", "x=/no/such/server", "--size", "1mb", "--out", "o"], folder.path());
    assert!(text.contains("/no/such/server"), "{text}");
    let text = tool_ends(1, &["run", "--size", "1mb", "--set", "tine.hz=none", "--out", "o"], folder.path());
    assert!(text.contains("ended at its start") && text.contains("hz"), "the server's own words: {text}");
    let text = tool_ends(1, &["run", "--server", "/bin/false", "--size", "1mb", "--out", "o"], folder.path());
    assert!(text.contains("and said nothing"), "{text}");
    assert!(tool_ends(1, &["run", "--size", "q"], folder.path()).starts_with("tine-lab: ["), "no empty name");
    tool_ends(2, &["walk"], folder.path());
    assert!(tool_ends(0, &["list"], folder.path()).contains("default"));
}

#[test]
fn an_interrupted_run_leaves_no_server_behind() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let work = folder.path().join("work");
    std::fs::create_dir(&work).expect("it can be made");
    let mut lab = Command::new(env!("CARGO_BIN_EXE_tine-lab"))
        .args(["run", "--size", "1mb", "--before", "60s", "--out", "o", "--work", "work"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the tool was built");
    let children = format!("/proc/{0}/task/{0}/children", lab.id());
    let server = || std::fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
    wait_until("the server of the laboratory", Duration::from_secs(20), || !server().is_empty());
    let pid = server();
    let signal = nix::sys::signal::Signal::SIGINT;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(lab.id() as i32), signal).expect("it runs");
    wait_until("the end of the laboratory", Duration::from_secs(20), || {
        lab.try_wait().expect("it is ours").is_some()
    });
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "server {pid} is gone");
    assert_eq!(std::fs::read_dir(&work).expect("it is there").count(), 0, "so is its folder");
}

#[test]
fn the_live_view_prints_lines_where_there_is_no_terminal() {
    let server = Server::tine(&[]);
    let port = server.port().to_string();
    server.client().call(&["BGSAVE"]);
    let text =
        tool_ends(0, &["watch", "--port", &port, "--interval", "50ms", "--count", "3"], Path::new("/"));
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.lines().all(|line| line.contains("resident") && line.contains("last fork")), "{text}");
    let text = tool_ends(1, &["watch", "--port", "1", "--count", "1"], Path::new("/"));
    assert!(text.contains("127.0.0.1:1"), "{text}");
}
