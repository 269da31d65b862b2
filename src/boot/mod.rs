//! Floor 11: reads the configuration, wires the parts, starts and stops the server.
//!
//! ```text
//!  arguments ─► tools by argv[0], --version, --help
//!            ─► configuration ─► background? ─► log ─► limits ─► Server, signals, Net
//!            ─► bind ─► " PID: n" ─► load the data set ─► "Ready to accept" ─► loop ─► farewell
//! ```
//! The order matters to those who watch: a busy port is reported before the line with the process
//! id, and the ready line comes once, when data and sockets are there.

mod crash;
mod environment;
mod fork;
mod logging;
mod logo;
mod text;
mod users;

use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::command;
use crate::net::Net;
use crate::persist::schedule::temp_name;
use crate::replay::load_at_start;
use crate::replication::replica;
use crate::server::acl::Acl;
use crate::server::config::{
    CommandLine, Config, ConfigText, DiskFiles, LoadedConfig, StartAction, Supervised, load,
    parse_command_line,
};
use crate::server::{CommandTable, Server, machine};
use crate::sys;
use crate::sys::log_sink::LogSink;
use crate::sys::notify::Supervisor;
use crate::sys::signals::{SignalOptions, Signals};
use crate::sys::title::ProcessTitle;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a server in the background leaves its process id when `pidfile` does not say.
const DEFAULT_PIDFILE: &str = "/var/run/tine.pid";

/// Runs the server until it ends; returns the exit status.
pub fn run() -> i32 {
    let arguments: Vec<Vec<u8>> = std::env::args_os().map(|argument| argument.as_bytes().to_vec()).collect();
    let program = arguments.first().map_or(b"".as_slice(), Vec::as_slice);
    let options = arguments.get(1..).unwrap_or(&[]);
    let line = parse_command_line(options);
    match line.action {
        StartAction::ShowVersion => text::show_version(),
        StartAction::ShowHelp => text::show_help(),
        StartAction::Refuse(reason) => {
            eprintln!("{reason}");
            1
        }
        StartAction::CheckSystem => match load(&line, &DiskFiles, &mut std::io::stdin()) {
            Ok(mut loaded) => {
                machine::resolve_memory_limits(&mut loaded.config);
                environment::check_system(&loaded.config)
            }
            Err(failure) => {
                eprintln!("{failure}");
                1
            }
        },
        StartAction::Serve => match serve(&line, program) {
            Ok(code) => code,
            Err(failure) => {
                eprintln!("{failure}");
                1
            }
        },
    }
}

/// From the configuration to the last farewell. An error is for those who have no log yet.
fn serve(line: &CommandLine, program: &[u8]) -> Result<i32, String> {
    let executable = absolute_program(program);
    let title = ProcessTitle::init();
    let mut loaded = load(line, &DiskFiles, &mut std::io::stdin()).map_err(|failure| failure.to_string())?;
    enter_directory(&mut loaded.config)?;
    let commands = CommandTable::new(command::FAMILIES);
    let acl = users::of_configuration(&commands, &loaded)?;
    let supervisor = find_supervisor(&loaded);
    let in_background = loaded.config.daemonize && supervisor.is_none();
    if in_background {
        sys::daemon::daemonize().map_err(|failure| format!("Can't go to the background: {failure}"))?;
    }
    let log = logging::install(&loaded.config)?;
    logging::say_hello(line, &loaded);
    let mut server = match build(loaded, commands, acl) {
        Ok(server) => server,
        Err(failure) => {
            log::warn!("{failure}");
            return Ok(1);
        }
    };
    server.persistence.child_setup.title = title;
    server.persistence.child_setup.log = Some(log);
    server.host.log = Some(log);
    server.host.supervisor = supervisor;
    server.host.in_background = in_background;
    server.run.executable = executable;
    Ok(start(&mut server, log).unwrap_or_else(|failure| {
        log::warn!("{failure}");
        1
    }))
}

/// The server, not listening yet.
fn build(loaded: LoadedConfig, mut commands: CommandTable, acl: Acl) -> Result<Server, String> {
    let show = |failure: std::io::Error| failure.to_string();
    if let Some([path, ..]) = loaded.directives.modules.first().map(Vec::as_slice) {
        log::warn!("Tine loads no modules: the line 'loadmodule' must go");
        return Err(format!("Can't load module from {}: server aborting", String::from_utf8_lossy(path)));
    }
    let mut config = loaded.config;
    machine::raise_open_files(&mut config)?;
    machine::resolve_memory_limits(&mut config);
    for (old, new) in &loaded.directives.renamed_commands {
        if !commands.rename(old, new) {
            return Err(format!("rename-command: no such command '{}'", String::from_utf8_lossy(old)));
        }
    }
    let rng = Rng::from_os().map_err(show)?;
    let mut server = Server::new(config, Clock::system(), rng, commands).map_err(show)?;
    server.config_file = loaded.config_file;
    server.acl = acl;
    users::load_acl_file(&mut server, &loaded.directives)?;
    Ok(server)
}

/// Binds, loads, serves, leaves.
fn start(server: &mut Server, log: &'static LogSink) -> Result<i32, String> {
    crash::prepare(&server.config, log);
    environment::warn_about_kernel(&server.config);
    fork::check_fork(&server.config)?;
    let signals = Signals::install(signal_options()).map_err(|failure| failure.to_string())?;
    let mut net = Net::new(Some(signals)).map_err(|failure| failure.to_string())?;
    net.listen(server).map_err(|failure| failure.to_string())?;
    let pidfile = write_pidfile(server);
    server.refresh_title();
    logo::show(server);
    log::info!("Server initialized");
    server.memory_at_start_bytes = server.used_memory();
    command::config::apply_at_start(server);
    server.persistence.pages.probes_apart = true;
    load_data(server, &mut net)?;
    if server.run.exit.is_none() {
        log::info!("Ready to accept connections tcp");
        tell_ready(server);
        replica::start(server);
    }
    net.run(server);
    farewell(server, &mut net, pidfile.as_deref());
    Ok(server.run.exit.map_or(0, |exit| exit.code))
}

/// A second SIGINT ends the process in the middle of a save in the foreground, whose file goes then.
fn signal_options() -> SignalOptions {
    let name = CString::new(temp_name(std::process::id())).expect("digits and letters hold no zero byte");
    // Leaked: the handler may run until the very end.
    SignalOptions { second_interrupt_exits: true, remove_on_exit: Some(Box::leak(name.into_boxed_c_str())) }
}

/// Brings the data set back; clients are served (with LOADING) meanwhile.
fn load_data(server: &mut Server, net: &mut Net) -> Result<(), String> {
    server.persistence.aof.attach_waker(net.waker());
    load_at_start(server, &mut |server| net.turn(server, Duration::ZERO)).map(|_| ())
}

fn farewell(server: &mut Server, net: &mut Net, pidfile: Option<&Path>) {
    if let Some(supervisor) = &server.host.supervisor
        && let Err(failure) = supervisor.state("STOPPING=1\n")
    {
        log::warn!("Can't tell the service manager: {failure}");
    }
    net.flush_all(server);
    if let Some(path) = pidfile {
        log::info!("Removing the pid file.");
        if let Err(failure) = sys::daemon::remove_pidfile(path) {
            log::warn!("Can't remove the pid file {}: {failure}", path.display());
        }
    }
    net.remove_socket_file();
    log::warn!("Tine is now ready to exit, bye bye...");
}

fn tell_ready(server: &Server) {
    if let Some(supervisor) = &server.host.supervisor
        && let Err(failure) = supervisor.ready("Ready to accept connections")
    {
        log::warn!("Can't tell the service manager: {failure}");
    }
}

fn find_supervisor(loaded: &LoadedConfig) -> Option<Supervisor> {
    let found = match loaded.config.supervised {
        Supervised::No => return None,
        Supervised::Auto => Supervisor::detect(),
        Supervised::Systemd => Supervisor::systemd_from_environment(),
        Supervised::Upstart => Supervisor::upstart_from_environment(),
    };
    if found.is_none() && loaded.config.supervised != Supervised::Auto {
        eprintln!("supervised: no service manager is named in the environment");
    }
    found
}

/// `dir`: everything relative lies there, the log too. From here on it is absolute: that is what CONFIG
/// GET shows, and what a CONFIG SET that is taken back returns to.
fn enter_directory(config: &mut Config) -> Result<(), String> {
    let directory = config.dir.as_path();
    let entered = std::env::set_current_dir(directory).and_then(|()| std::env::current_dir());
    let entered = entered.map_err(|failure| {
        format!(
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n>>> 'dir {0}'\nCan't chdir to '{0}': {failure}\n",
            directory.display()
        )
    })?;
    if !directory.is_absolute() {
        config.dir = ConfigText::from(entered.as_os_str().as_bytes());
    }
    Ok(())
}

/// Written when asked for, or when nobody else would know the process id.
fn write_pidfile(server: &Server) -> Option<PathBuf> {
    let configured = server.config.pidfile.as_path();
    let path = if !server.config.pidfile.is_empty() {
        configured.to_path_buf()
    } else if server.host.in_background {
        PathBuf::from(DEFAULT_PIDFILE)
    } else {
        return None;
    };
    match sys::daemon::write_pidfile(&path) {
        Ok(()) => Some(std::path::absolute(&path).unwrap_or(path)),
        Err(failure) => {
            log::warn!("Failed to write PID file {}: {failure}", path.display());
            None
        }
    }
}

/// The program's path as INFO and the title show it: absolute, links kept.
fn absolute_program(program: &[u8]) -> String {
    let path = Path::new(std::ffi::OsStr::from_bytes(program));
    if !program.contains(&b'/') {
        let own = sys::proc::ProcFs::system().exe_path();
        return own.map_or_else(|_| path.display().to_string(), |own| own.display().to_string());
    }
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}
