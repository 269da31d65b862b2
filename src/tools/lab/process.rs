//! A server of the laboratory's own: started in a folder of its own, ended with its children whatever happens.
//!
//! Processors: the load takes the last one that this process may use, the server and its children all others. With
//! two processors the server shares one with its child, as on a busy machine.

use crate::sys::affinity::{current_processors, pin_current_thread};
use crate::sys::proc::ProcFs;
use crate::tools::client::{Client, Reply};
use crate::tools::lab::experiment::{Cell, PageSize, SaveKind, server_program};
use crate::tools::own_server;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to serve.
const START_PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How long a reply may take: a fork of much data is slow.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// What the server says, in its folder.
const OUTPUT: &str = "server.out";
/// Lines of it shown when something fails.
const LOG_LINES: usize = 4;
/// What makes jemalloc, which Redis allocates from, ask for huge pages.
const JEMALLOC_HUGE: &str = "thp:always";

/// A folder that goes away with the value.
pub struct Folder(PathBuf);

impl Folder {
    /// # Errors
    /// When it cannot be made.
    pub fn make(base: &Path, name: &str) -> Result<Folder, String> {
        let path = base.join(format!("tine-lab-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| format!("mkdir({}): {e}", path.display()))?;
        // The server has another working directory.
        let whole = fs::canonicalize(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Folder(whole))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: what is left lies in a folder for temporary things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Who runs where.
#[derive(Clone, Debug)]
pub struct Processors {
    pub server: Vec<usize>,
    pub load: Vec<usize>,
}

impl Processors {
    /// Shares what this process may use. One processor is shared by all.
    pub fn share() -> Processors {
        let all = current_processors().unwrap_or_default();
        match all.split_last() {
            Some((last, others)) if !others.is_empty() => {
                Processors { server: others.to_vec(), load: vec![*last] }
            }
            _ => Processors { server: all.clone(), load: all },
        }
    }
}

/// Whether a server is installed: a path, or a name on the PATH.
pub fn is_installed(server: &str) -> bool {
    let Some(program) = server_program(server) else { return true };
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A running server.
pub struct Server {
    child: Child,
    folder: PathBuf,
    pub port: u16,
    /// The command line, to be repeated by hand.
    pub command_line: String,
}

impl Server {
    /// Starts the server of a cell and waits until it answers.
    ///
    /// # Errors
    /// It cannot be started, ends, or does not answer; with the end of its log.
    pub fn start(cell: &Cell, folder: &Path, processors: &Processors) -> Result<Server, String> {
        let port = free_port()?;
        let program = program_of(&cell.server);
        let arguments = arguments(cell, port, folder);
        let log = fs::File::create(folder.join(OUTPUT)).map_err(|e| e.to_string())?;
        let mut command = Command::new(&program);
        command.args(&arguments).current_dir(folder).stdin(Stdio::null());
        command.stderr(log.try_clone().map_err(|e| e.to_string())?).stdout(log);
        let environment = environment(cell);
        command.envs(environment.iter().copied());
        pin(&processors.server);
        let spawned = command.spawn();
        pin(&processors.load);
        let child = spawned.map_err(|e| format!("{}: {e}", program.display()))?;
        let command_line = command_line(&program, &environment, &arguments, folder);
        let mut server = Server { child, folder: folder.to_owned(), port, command_line };
        server.wait_ready()?;
        Ok(server)
    }

    /// The end of what the server has said: `:` and lines, or that there are none.
    pub fn last_words(&self) -> String {
        let log = fs::read(self.folder.join(OUTPUT)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        match lines[lines.len().saturating_sub(LOG_LINES)..].join("\n") {
            end if end.is_empty() => " and said nothing".to_owned(),
            end => format!(":\n{end}"),
        }
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("the server ended at its start ({status}){}", self.last_words()));
            }
            if self.client().is_ok_and(|mut client| client.ask(&[b"PING"]).is_ok()) {
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Err(format!("the server did not answer within {} s", START_PATIENCE.as_secs()))
    }

    /// # Errors
    /// Nobody listens.
    pub fn client(&self) -> Result<Client, String> {
        Client::connect_tcp("127.0.0.1", self.port, REPLY_TIMEOUT).map_err(|e| format!("connect: {e}"))
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its children first: they would go on writing to a folder that is being removed.
        for child in ProcFs::system().children_of(self.pid()).unwrap_or_default() {
            let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
        }
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The version that the server tells: `tine 0.1.0`, `redis 7.0.15`.
pub fn version(client: &mut Client) -> String {
    let info = client.ask(&[b"INFO", b"server"]).unwrap_or(Reply::Null).text();
    for (field, name) in [("tine_version", "tine"), ("valkey_version", "valkey"), ("redis_version", "redis")]
    {
        if let Some(version) = info_field(&info, field) {
            return format!("{name} {version}");
        }
    }
    "unknown".to_owned()
}

/// The value of a field of INFO.
pub fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim_end))
}

/// A path from here, since the server is started elsewhere; a bare name stays one.
fn program_of(server: &str) -> PathBuf {
    let program = server_program(server).map_or_else(own_server, PathBuf::from);
    let is_path = program.components().count() > 1;
    // Not resolved: some programs do what the name says that they were called by.
    if is_path { std::path::absolute(&program).unwrap_or(program) } else { program }
}

fn pin(processors: &[usize]) {
    // A machine that does not allow it is measured as it is.
    let _ = pin_current_thread(processors);
}

fn arguments(cell: &Cell, port: u16, folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let port = port.to_string();
    let mut words: Vec<String> = Vec::new();
    let mut add = |name: &str, value: &str| words.extend([format!("--{name}"), value.to_owned()]);
    add("port", &port);
    add("bind", "127.0.0.1");
    add("daemonize", "no");
    add("save", "");
    add("dir", &folder);
    if cell.save != SaveKind::Rdb {
        add("appendonly", "yes");
        add("auto-aof-rewrite-percentage", "0");
        add("aof-use-rdb-preamble", if cell.save == SaveKind::Hybrid { "yes" } else { "no" });
    }
    for (name, value) in page_directives(cell) {
        add(name, value);
    }
    for (name, value) in &cell.directives {
        add(name, value);
    }
    words
}

fn page_directives(cell: &Cell) -> &'static [(&'static str, &'static str)] {
    let is_tine = cell.server_name() == "tine";
    match (cell.page_size, is_tine) {
        (PageSize::Default, _) => &[],
        (PageSize::Kernel, true) => &[("fork-huge-pages", "no"), ("disable-thp", "no")],
        (PageSize::Small, true) => &[("fork-huge-pages", "no"), ("disable-thp", "yes")],
        (PageSize::Huge, true) => &[("fork-huge-pages", "yes")],
        (PageSize::Kernel | PageSize::Huge, false) => &[("disable-thp", "no")],
        (PageSize::Small, false) => &[("disable-thp", "yes")],
    }
}

/// Redis cannot ask for huge pages, but its allocator can: jemalloc of the system reads the first name, the one
/// that Redis brings along the second.
fn environment(cell: &Cell) -> Vec<(&'static str, &'static str)> {
    match cell.page_size {
        PageSize::Huge if cell.server_name() != "tine" => {
            vec![("MALLOC_CONF", JEMALLOC_HUGE), ("JE_MALLOC_CONF", JEMALLOC_HUGE)]
        }
        _ => Vec::new(),
    }
}

/// The command line with the program's bare name and without the folder: what somebody else can repeat.
fn command_line(program: &Path, environment: &[(&str, &str)], arguments: &[String], folder: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let variables = environment.iter().map(|(variable, value)| format!("{variable}={value}"));
    let folder = folder.display().to_string();
    let quoted = arguments.iter().map(|word| match word.as_str() {
        "" => "''".to_owned(),
        word if word == folder => ".".to_owned(),
        word => word.to_owned(),
    });
    variables.chain([name]).chain(quoted).collect::<Vec<_>>().join(" ")
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| format!("no free port: {e}"))?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

#[cfg(test)]
mod tests {
    use super::{arguments, environment, info_field};
    use crate::tools::lab::experiment::Cell;
    use std::path::Path;

    fn cell(settings: &[(&str, &str)]) -> Cell {
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Cell::new(&settings).expect("good settings")
    }

    #[test]
    fn a_cell_becomes_the_directives_of_its_server() {
        let line = |cell: &Cell| arguments(cell, 7, Path::new("/w")).join(" ");
        let tine = cell(&[("page-size", "2m"), ("save", "hybrid"), ("tine.fork-cow-limit", "1mb")]);
        assert!(
            line(&tine).ends_with("--aof-use-rdb-preamble yes --fork-huge-pages yes --fork-cow-limit 1mb")
        );
        assert!(environment(&tine).is_empty());
        let redis =
            cell(&[("server", "r=/x/redis-server"), ("page-size", "2m"), ("tine.fork-cow-limit", "1mb")]);
        assert!(line(&redis).ends_with("--dir /w --disable-thp no"), "{}", line(&redis));
        assert_eq!(environment(&redis).len(), 2);
    }

    #[test]
    fn fields_of_info_are_found_by_their_whole_name() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrss:1\r\n";
        assert_eq!((info_field(info, "redis_version"), info_field(info, "redis")), (Some("7.0.15"), None));
    }
}
