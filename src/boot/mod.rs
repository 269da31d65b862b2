//! Floor 11: collects the rows, wires the threads, starts and stops the server.

use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::command;
use crate::net::Net;
use crate::server::config::{DiskFiles, load, parse_command_line};
use crate::server::{CommandTable, Server};
use crate::sys::signals::{SignalOptions, Signals};
use std::os::unix::ffi::OsStrExt;

/// Runs the server until it ends; returns the exit status.
pub fn run() -> i32 {
    let arguments: Vec<Vec<u8>> = std::env::args_os().map(|argument| argument.as_bytes().to_vec()).collect();
    match start(&arguments[1..]) {
        Ok(code) => code,
        Err(text) => {
            eprintln!("{text}");
            1
        }
    }
}

fn start(arguments: &[Vec<u8>]) -> Result<i32, String> {
    let line = parse_command_line(arguments);
    let loaded = load(&line, &DiskFiles, &mut std::io::stdin()).map_err(|failure| failure.to_string())?;
    let rng = Rng::from_os().map_err(|failure| failure.to_string())?;
    let commands = CommandTable::new(command::FAMILIES);
    let mut server =
        Server::new(loaded.config, Clock::system(), rng, commands).map_err(|failure| failure.to_string())?;
    let signals = Signals::install(SignalOptions { second_interrupt_exits: true }).map_err(|f| f.to_string())?;
    let mut net = Net::new(Some(signals)).map_err(|failure| failure.to_string())?;
    net.listen(&mut server).map_err(|failure| failure.to_string())?;
    net.run(&mut server);
    Ok(server.run.exit.map_or(0, |exit| exit.code))
}
