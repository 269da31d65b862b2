//! A server under test: a process in a process group of its own, in a temporary folder that survives
//! restarts, with its log in `server.log` there. Dropping it kills the whole group, children included.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::tools::find_program;
use super::{Client, Reply, free_port, skip};

/// How long a start may take, loading included.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a stop by SIGTERM may take, saving included.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// How long a background save or rewrite may take.
const CHILD_DEADLINE: Duration = Duration::from_secs(30);
/// Pause between two looks at a starting or stopping server.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Starts to try when another process takes the port between choosing and binding it.
const PORT_TRIES_MAX: usize = 5;
/// What both servers log when they accept connections.
const READY_LINE: &str = "Ready to accept";

/// Which server to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// The program that this build made.
    Tine,
    /// Another server with the command line of Redis, by its path.
    Other(PathBuf),
}

impl Program {
    /// The redis-server found on this machine.
    pub fn redis() -> Option<Program> {
        find_program("redis-server").map(Program::Other)
    }

    fn path(&self) -> &Path {
        match self {
            Program::Tine => Path::new(env!("CARGO_BIN_EXE_tine-server")),
            Program::Other(path) => path,
        }
    }
}

/// A server that ended instead of starting.
#[derive(Debug)]
pub struct StartFailure {
    pub status: ExitStatus,
    pub log: String,
}

/// A running (or stopped) server and its folder.
pub struct Server {
    program: Program,
    directives: Vec<String>,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    /// Process groups of all starts: a killed server may have left a child behind.
    groups: Vec<Pid>,
}

impl Server {
    /// Starts the built server with these lines of configuration; panics with its log if it does not start.
    #[track_caller]
    pub fn tine(directives: &[&str]) -> Server {
        Server::start(Program::Tine, new_folder(), directives)
    }

    /// Starts the distribution's redis-server; `None` after a message where there is none.
    #[track_caller]
    pub fn redis(directives: &[&str]) -> Option<Server> {
        let Some(program) = Program::redis() else {
            skip("redis-server is not installed");
            return None;
        };
        Some(Server::start(program, new_folder(), directives))
    }

    /// Starts `program` in `folder`, whose files it finds; panics with its log if it does not start.
    #[track_caller]
    pub fn start(program: Program, folder: TempDir, directives: &[&str]) -> Server {
        match Server::try_start(program, folder, directives) {
            Ok(server) => server,
            Err(failure) => panic!("the server ended with {}:\n{}", failure.status, failure.log),
        }
    }

    /// Starts `program` in `folder`; a server that ends instead of starting is an error, with its log.
    #[track_caller]
    pub fn try_start(program: Program, folder: TempDir, directives: &[&str]) -> Result<Server, StartFailure> {
        let directives = directives.iter().map(|&line| line.to_owned()).collect();
        let mut server = Server { program, directives, folder, port: 0, child: None, groups: Vec::new() };
        server.launch().map(|()| server)
    }

    #[track_caller]
    fn launch(&mut self) -> Result<(), StartFailure> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.port = free_port();
            let log_start = self.log().len();
            self.spawn();
            match self.wait_ready(log_start) {
                Err(failure) if failure.log.contains("in use") && tries < PORT_TRIES_MAX => {}
                outcome => return outcome,
            }
        }
    }

    fn spawn(&mut self) {
        let config = self.folder.path().join("test.conf");
        std::fs::write(&config, self.config_text()).expect("the temporary folder is writable");
        let log = self.open_log();
        let child = Command::new(self.program.path())
            .arg(&config)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be duplicated"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", self.program.path().display()));
        self.groups.push(Pid::from_raw(i32::try_from(child.id()).expect("process ids fit")));
        self.child = Some(child);
    }

    /// The configuration: the frame first, so that a test's own lines win. No save points unless asked for.
    fn config_text(&self) -> String {
        let folder = self.folder.path().display();
        let frame = format!("bind 127.0.0.1\nport {}\ndir {folder}\ndaemonize no\nsave \"\"\n", self.port);
        frame + &self.directives.join("\n") + "\n"
    }

    fn open_log(&self) -> File {
        let path = self.folder.path().join("server.log");
        OpenOptions::new().create(true).append(true).open(path).expect("the temporary folder is writable")
    }

    #[track_caller]
    fn wait_ready(&mut self, log_start: usize) -> Result<(), StartFailure> {
        let start = Instant::now();
        loop {
            let child = self.child.as_mut().expect("spawned just before");
            if let Some(status) = child.try_wait().expect("the child is ours to wait for") {
                self.child = None;
                return Err(StartFailure { status, log: self.log().split_off(log_start) });
            }
            if self.log()[log_start..].contains(READY_LINE) || self.answers_ping() {
                return Ok(());
            }
            assert!(start.elapsed() < START_DEADLINE, "not ready in {START_DEADLINE:?}:\n{}", self.log());
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn answers_ping(&self) -> bool {
        let Ok(mut client) = Client::try_connect(self.port) else {
            return false;
        };
        client.set_timeout(Duration::from_secs(1));
        client.try_call(&["PING"]).is_ok_and(|reply| reply == Reply::Simple("PONG".to_owned()))
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the running server; panics when it is stopped.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().expect("the server runs");
        i32::try_from(child.id()).expect("process ids fit")
    }

    /// The folder with its files.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Everything it logged, over all restarts.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A field of INFO; empty when it is not there.
    #[track_caller]
    pub fn info(&self, name: &str) -> String {
        let text = self.client().call(&["INFO", "everything"]).text();
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        line.unwrap_or_default()
    }

    /// Waits for the end of a background save, which must be a good one.
    #[track_caller]
    pub fn wait_for_save(&self) {
        super::wait_until("the end of the background save", CHILD_DEADLINE, || {
            self.info("rdb_bgsave_in_progress") == "0"
        });
        assert_eq!(self.info("rdb_last_bgsave_status"), "ok", "{}", self.log());
    }

    /// Waits for the end of an AOF rewrite, running or scheduled, which must be a good one.
    #[track_caller]
    pub fn wait_for_rewrite(&self) {
        super::wait_until("the end of the rewrite", CHILD_DEADLINE, || {
            self.info("aof_rewrite_in_progress") == "0" && self.info("aof_rewrite_scheduled") == "0"
        });
        assert_eq!(self.info("aof_last_bgrewrite_status"), "ok", "{}", self.log());
    }

    /// True while the process lives.
    pub fn is_running(&mut self) -> bool {
        let Some(child) = self.child.as_mut() else {
            return false;
        };
        child.try_wait().expect("the child is ours to wait for").is_none()
    }

    /// Sends a signal to the server alone, not to its children.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the process is ours");
    }

    /// Stops it by SIGTERM and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit(STOP_DEADLINE)
    }

    /// Kills it without a chance to save (the crash of the crash tests). Its children live on, as they would.
    #[track_caller]
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::SIGKILL);
        self.wait_exit(STOP_DEADLINE)
    }

    /// Waits for the end of a server that was told to end; panics when it does not.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let pid = self.pid();
        let child = self.child.as_mut().expect("pid() found it");
        let start = Instant::now();
        while start.elapsed() < deadline {
            if let Some(status) = child.try_wait().expect("the child is ours to wait for") {
                self.child = None;
                return status;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        panic!("server {pid} did not end in {deadline:?}:\n{}", self.log());
    }

    /// Starts it again in the same folder (on a new port); stops it by SIGTERM first if it runs.
    #[track_caller]
    pub fn restart(&mut self) {
        if let Err(failure) = self.try_restart() {
            panic!("the restarted server ended with {}:\n{}", failure.status, failure.log);
        }
    }

    /// Starts a stopped server on the port that it had: others look for it there.
    #[track_caller]
    pub fn start_again(&mut self) {
        let log_start = self.log().len();
        self.spawn();
        if let Err(failure) = self.wait_ready(log_start) {
            panic!("the restarted server ended with {}:\n{}", failure.status, failure.log);
        }
    }

    /// Like [`Server::restart`]; a server that ends instead of starting is an error, with its log.
    #[track_caller]
    pub fn try_restart(&mut self) -> Result<(), StartFailure> {
        if self.is_running() {
            self.stop();
        }
        self.launch()
    }

    /// Starts a stopped server and returns once it has logged `line`: a test that wants to see it load.
    #[track_caller]
    pub fn start_until(&mut self, line: &str) {
        self.port = free_port();
        let log_start = self.log().len();
        self.spawn();
        super::wait_until(line, START_DEADLINE, || self.log()[log_start..].contains(line));
    }

    /// Replaces the lines of configuration for the next start.
    pub fn set_directives(&mut self, directives: &[&str]) {
        self.directives = directives.iter().map(|&line| line.to_owned()).collect();
    }

    /// Replaces the program for the next start: the other server reads the same files.
    pub fn set_program(&mut self, program: Program) {
        self.program = program;
    }
}

/// An empty folder that goes away with the value.
pub fn new_folder() -> TempDir {
    tempfile::Builder::new().prefix("tine-test-").tempdir().expect("the temporary folder is writable")
}

impl Drop for Server {
    fn drop(&mut self) {
        for group in &self.groups {
            // An error says that the group is gone already.
            let _ = killpg(*group, Signal::SIGKILL);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.program.path().display(), self.log());
        }
    }
}
