//! How the program starts and ends: what it prints, what it returns, what it leaves behind.

mod common;

use common::{Program, Server, free_port, wait_until};
use nix::sys::signal::Signal;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

fn new_folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// Runs the program to its end.
fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tine-server"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the built program can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_quiet_about(log: &str) -> bool {
    !log.contains("Sanitizer") && !log.contains("runtime error")
}

#[test]
fn the_first_lines_are_those_that_harnesses_wait_for() {
    let server = Server::tine(&["always-show-logo yes", "loglevel verbose"]);
    let log = server.log();
    let pid_line = format!(" PID: {}", server.pid());
    let pid_at = log.find(&pid_line).expect("the process id is shown");
    let ready_at = log.find("Ready to accept").expect("ready");
    assert!(pid_at < ready_at, "{log}");
    assert_eq!(log.matches("Ready to accept").count(), 1);
    assert!(is_quiet_about(&log), "{log}");
}

#[test]
fn a_busy_port_ends_the_start_before_the_pid_line() {
    let server = Server::tine(&[]);
    let port = server.port().to_string();
    let second = run(&["--port", &port, "--bind", "127.0.0.1", "--always-show-logo", "yes", "--save", ""]);
    let log = text(&second.stdout);
    assert_eq!(second.status.code(), Some(1), "{log}");
    assert!(log.contains("Failed listening on port") && !log.contains(" PID: "), "{log}");
}

#[test]
fn wrong_configuration_is_said_on_standard_error() {
    let cases: &[(&[&str], &str)] = &[
        (&["--port"], "wrong number of arguments"),
        (&["--port", "abc"], "argument couldn't be parsed into an integer"),
        (&["--nosuch", "1"], "Bad directive or wrong number of arguments"),
        (&["/nonexistent/redis.conf"], "can't open config file"),
        (&["--dir", "/nonexistent"], "Can't chdir to '/nonexistent'"),
        (&["--logfile", "/nonexistent/log"], "Can't open the log file"),
        (&["--cluster-enabled", "yes"], "Tine has no Cluster mode"),
    ];
    for (arguments, reason) in cases {
        let output = run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said.contains("FATAL CONFIG FILE ERROR") && said.contains(reason), "{arguments:?}: {said}");
    }
}

#[test]
fn the_machine_is_looked_at_without_starting() {
    let output = run(&["--check-system", "--maxmemory", "100mb"]);
    let said = text(&output.stdout);
    for name in
        ["listen backlog", "memory overcommit", "transparent huge pages", "memory limit", "open files"]
    {
        assert_eq!(said.lines().filter(|line| line.contains(name)).count(), 1, "{said}");
    }
    let faults = said.lines().filter(|line| line.starts_with("BAD")).count();
    assert_eq!(output.status.code(), Some(i32::from(faults > 0)), "{said}");
    let refused = run(&["--check-system", "--nosuch", "1"]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn what_is_not_there_is_said() {
    let refused = run(&["--port", "0", "--save", "", "--loadmodule", "/x/y.so"]);
    let said = text(&refused.stdout);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("Can't load module from /x/y.so: server aborting"), "{said}");
    let sentinel = run(&["/etc/sentinel.conf", "--sentinel"]);
    assert_eq!(sentinel.status.code(), Some(1));
    assert!(text(&sentinel.stderr).contains("redis-sentinel"));
    let server = Server::tine(&["io-threads 4", "active-expire-effort 1", "tls-port 1"]);
    let mut client = server.client();
    client.ok(&["CONFIG", "SET", "lua-time-limit", "77", "tls-ciphers", ""]);
    let log = server.log();
    for name in ["'io-threads'", "'busy-reply-threshold'", "nothing listens on that port"] {
        assert_eq!(log.matches(name).count(), 1, "{name}: {log}");
    }
    assert!(!log.contains("active-expire-effort") && !log.contains("tls-ciphers"), "{log}");
}

#[test]
fn the_folder_of_the_data_is_shown_whole() {
    let folder = new_folder();
    std::fs::create_dir(folder.path().join("sub")).expect("a folder can be made");
    let whole = std::fs::canonicalize(folder.path()).expect("it is there");
    let server = Server::start(Program::Tine, folder, &["dir ./", "enable-protected-configs yes"]);
    let mut client = server.client();
    let shown = |client: &mut common::Client| client.call(&["CONFIG", "GET", "dir"]).items()[1].text();
    assert_eq!(shown(&mut client), whole.to_str().expect("text"));
    client.ok(&["CONFIG", "SET", "dir", "sub"]);
    assert_eq!(shown(&mut client), whole.join("sub").to_str().expect("text"));
    // What is taken back is entered again.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    assert!(client.call(&["CONFIG", "SET", "dir", "..", "port", &port]).is_error());
    assert_eq!(shown(&mut client), whole.join("sub").to_str().expect("text"));
    let entered = std::fs::read_link(format!("/proc/{}/cwd", server.pid())).expect("it runs");
    assert_eq!(entered, whole.join("sub"));
}

#[test]
fn version_and_help_are_short_answers() {
    for option in ["-v", "--version"] {
        let output = run(&[option]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).starts_with("Tine server v="));
    }
    assert!(text(&run(&["--help"]).stderr).contains("Usage: "));
}

#[test]
fn signals_and_shutdown_end_it_cleanly() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::tine(&["pidfile tine.pid"]);
        let pidfile = server.dir().join("tine.pid");
        assert_eq!(std::fs::read_to_string(&pidfile).expect("written"), format!("{}\n", server.pid()));
        server.signal(signal);
        let status = server.wait_exit(DEADLINE);
        assert_eq!(status.code(), Some(0), "{signal}: {}", server.log());
        assert!(server.log().contains("bye bye"), "{}", server.log());
        assert!(!pidfile.exists());
    }
    let mut server = Server::tine(&[]);
    let mut client = server.client();
    client.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(client.read_to_close().is_empty(), "no reply, only the end");
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0));
}

#[test]
fn a_hangup_opens_the_log_again() {
    let server = Server::tine(&["logfile tine.log"]);
    let log = server.dir().join("tine.log");
    wait_until("the ready line", DEADLINE, || read(&log).contains("Ready to accept"));
    std::fs::rename(&log, server.dir().join("old.log")).expect("moved");
    server.signal(Signal::SIGHUP);
    wait_until("a new log", DEADLINE, || log.exists());
    let mut client = server.client();
    client.ok(&["CONFIG", "SET", "loglevel", "verbose"]);
    wait_until("lines in it", DEADLINE, || !read(&log).is_empty());
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_title_follows_its_template() {
    let server = Server::tine(&["proc-title-template \"T {title} {listen-addr} {port}\""]);
    let shown = || read(Path::new(&format!("/proc/{}/cmdline", server.pid()))).replace('\0', " ");
    let address = format!("127.0.0.1:{} {}", server.port(), server.port());
    assert!(shown().starts_with("T /") && shown().contains(&address), "{}", shown());
    server.client().ok(&["CONFIG", "SET", "proc-title-template", "other {server-mode}"]);
    wait_until("the new title", DEADLINE, || shown().trim() == "other");
    let refused = server.client().call(&["CONFIG", "SET", "proc-title-template", "{nosuch}"]);
    assert!(refused.is_error());
}

#[test]
fn config_set_port_moves_the_server() {
    let server = Server::tine(&[]);
    let port = free_port();
    server.client().ok(&["CONFIG", "SET", "port", &port.to_string()]);
    wait_until("the new port", DEADLINE, || common::Client::try_connect(port).is_ok());
    assert!(common::Client::try_connect(server.port()).is_err(), "the old one is closed");
}

#[test]
fn systemd_hears_when_it_is_ready() {
    let folder = new_folder();
    let path = folder.path().join("notify");
    let daemon = UnixDatagram::bind(&path).expect("bound");
    daemon.set_read_timeout(Some(DEADLINE)).expect("set");
    let port = free_port().to_string();
    let mut server = Command::new(env!("CARGO_BIN_EXE_tine-server"))
        .args(["--port", &port, "--bind", "127.0.0.1", "--supervised", "systemd", "--save", ""])
        .env("NOTIFY_SOCKET", &path)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let mut buffer = [0u8; 256];
    let count = daemon.recv(&mut buffer).expect("a message");
    assert!(text(&buffer[..count]).contains("READY=1"));
    server.kill().expect("ours");
    server.wait().expect("ours");
}

#[test]
fn a_crash_leaves_a_report() {
    let cases = [
        ("SEGFAULT", Signal::SIGSEGV, "crashed by signal: 11"),
        ("PANIC", Signal::SIGABRT, "DEBUG PANIC called"),
    ];
    for (subcommand, signal, words) in cases {
        let mut server = Server::tine(&["enable-debug-command yes"]);
        let mut client = server.client();
        client.send(&["DEBUG", subcommand]);
        let status = server.wait_exit(DEADLINE);
        assert_eq!(status.signal(), Some(signal as i32), "{subcommand}");
        let log = server.log();
        for part in [
            "=== REDIS BUG REPORT START",
            "STACK TRACE",
            words,
            "debugCommand",
            "tine_version:",
            "REPORT END",
        ] {
            assert!(log.contains(part), "{subcommand}: {part} is missing in {log}");
        }
    }
}

#[test]
fn a_renamed_command_is_gone() {
    let server = Server::tine(&["rename-command config wasconfig", "rename-command latency \"\""]);
    let mut client = server.client();
    assert!(client.call(&["CONFIG", "GET", "hz"]).is_error());
    assert!(!client.call(&["WASCONFIG", "GET", "hz"]).is_error());
    assert!(client.call(&["LATENCY", "LATEST"]).is_error());
    let failure =
        Server::try_start(Program::Tine, new_folder(), &["rename-command nosuch x"]).err().expect("refused");
    assert!(failure.log.contains("rename-command: no such command 'nosuch'"), "{}", failure.log);
}

#[test]
fn idle_clients_are_closed() {
    let server = Server::tine(&["timeout 1"]);
    let mut client = server.client();
    client.ok(&["CONFIG", "SET", "hz", "100"]);
    assert!(client.read_to_close().is_empty());
}
