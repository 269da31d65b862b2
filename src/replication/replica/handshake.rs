//! From the connection to the answer to PSYNC. The answers come in the order of the questions, so
//! they are taken line by line, each by the state that waits for it.

use crate::replication::replica::{now_ms, stream, transfer};
use crate::server::Server;
use crate::server::propagation::push_command;
use crate::server::replication::ID_DIGITS;
use crate::server::replication::link::{FailoverState, LinkState};

/// Longest line taken as an answer, bytes: those of Redis are far shorter.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Longest wait after a data set was refused, seconds.
const REFUSAL_WAIT_MAX_S: u64 = 60;
/// A try that failed sooner than this after it began waits for cron before the next, ms.
const TRY_MS_MIN: u64 = 50;

/// Begins to connect; `net` takes the wish up in this turn.
pub(super) fn connect(server: &mut Server) {
    let Some(primary) = &server.config.replicaof else { return };
    log::info!("Connecting to MASTER {}:{}", primary.host.to_text(), primary.port);
    connect_again(server);
}

fn connect_again(server: &mut Server) {
    server.link.wish_socket();
    server.link.state = LinkState::Connecting;
    server.link.last_heard_ms = now_ms(server);
    server.link.tried_ms = server.link.last_heard_ms;
    log::info!("MASTER <-> REPLICA sync started");
}

/// As after a link that was lost: at once, which may save a full synchronization.
pub(super) fn reconnect(server: &mut Server) {
    let Some(primary) = &server.config.replicaof else { return };
    let tried_ms = server.link.tried_ms;
    log::info!("Reconnecting to MASTER {}:{} after failure", primary.host.to_text(), primary.port);
    if now_ms(server).saturating_sub(tried_ms) < TRY_MS_MIN {
        // A primary that refuses at once would be asked in a circle.
        give_up(server);
        return;
    }
    connect_again(server);
}

/// Ends the try; cron makes the next one.
pub(super) fn give_up(server: &mut Server) {
    transfer::discard(server);
    server.link.drop_socket();
    server.link.state = LinkState::Connect;
}

/// Ends the try; the next one comes after 1, 2, 4 ... seconds: the primary would send the same again.
pub(super) fn give_up_for_longer(server: &mut Server) {
    let wait_s = (1u64 << server.link.refusals.min(6)).min(REFUSAL_WAIT_MAX_S);
    server.link.refusals = server.link.refusals.saturating_add(1);
    server.link.retry_not_before_ms = now_ms(server) + wait_s * 1000;
    log::warn!("The next try to synchronize with MASTER is in {wait_s} seconds");
    give_up(server);
}

/// Ends a handshake or a transfer. Returns whether there was one.
pub(super) fn cancel(server: &mut Server, again: bool) -> bool {
    let state = server.link.state;
    if state != LinkState::Connecting && state != LinkState::Transfer && !state.is_handshake() {
        return false;
    }
    give_up(server);
    if again {
        reconnect(server);
    }
    true
}

/// The socket could not be connected.
pub fn connect_failed(server: &mut Server, reason: &str) {
    log::warn!("Error condition on socket for SYNC: {reason}");
    give_up(server);
}

/// The socket is connected.
pub fn connected(server: &mut Server) {
    if server.link.state != LinkState::Connecting {
        return;
    }
    log::info!("Non blocking connect for SYNC fired the event.");
    server.link.state = LinkState::AwaitPing;
    server.link.last_heard_ms = now_ms(server);
    send(server, &[b"PING"]);
}

/// The primary has closed the connection instead of answering.
pub(super) fn closed(server: &mut Server) {
    if server.link.state == LinkState::AwaitPsync {
        log::warn!("Master did not reply to PSYNC, will try later");
        failover_refused(server);
    } else {
        log::warn!("Master did not respond to command during SYNC handshake");
    }
    if server.link.state != LinkState::None {
        give_up(server);
    }
}

fn send(server: &mut Server, command: &[&[u8]]) {
    push_command(&mut server.link.outgoing, command);
}

/// Takes the lines that are complete.
pub(super) fn receive(server: &mut Server, bytes: &[u8]) {
    server.link.incoming.extend_from_slice(bytes);
    while server.link.state.is_handshake() {
        let Some(line) = take_line(server) else { return };
        take_answer(server, &line);
    }
    hand_on(server);
}

/// What stands behind the last answer belongs to the next stage.
fn hand_on(server: &mut Server) {
    let rest = std::mem::take(&mut server.link.incoming);
    let rest = rest.get(server.link.position..).unwrap_or_default().to_vec();
    server.link.position = 0;
    match server.link.state {
        LinkState::Transfer => transfer::receive(server, &rest),
        LinkState::Connected => stream::receive(server, &rest),
        _ => {}
    }
}

/// The next line, without its end.
fn take_line(server: &mut Server) -> Option<Vec<u8>> {
    let link = &mut server.link;
    let rest = &link.incoming[link.position..];
    let Some(end) = memchr::memchr(b'\n', rest) else {
        if rest.len() > LINE_BYTES_MAX {
            log::warn!("The answer of MASTER to a command of the handshake does not end");
            give_up(server);
        }
        return None;
    };
    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]).to_vec();
    link.position += end + 1;
    Some(line)
}

fn take_answer(server: &mut Server, line: &[u8]) {
    match server.link.state {
        LinkState::AwaitPing => take_pong(server, line),
        LinkState::AwaitAuth if line.starts_with(b"-") => {
            log::warn!("Unable to AUTH to MASTER: {}", shown(line));
            give_up(server);
        }
        LinkState::AwaitAuth => server.link.state = LinkState::AwaitPort,
        LinkState::AwaitPort => {
            note_refusal("listening-port", line);
            let announced = !server.config.replica_announce_ip.is_empty();
            server.link.state =
                if announced { LinkState::AwaitAddress } else { LinkState::AwaitCapabilities };
        }
        LinkState::AwaitAddress => {
            note_refusal("ip-address", line);
            server.link.state = LinkState::AwaitCapabilities;
        }
        LinkState::AwaitCapabilities => {
            note_refusal("capa", line);
            ask_for_stream(server);
        }
        // A line end alone keeps the link alive while the primary is busy.
        LinkState::AwaitPsync if line.is_empty() => {}
        LinkState::AwaitPsync => take_psync_answer(server, line),
        _ => {}
    }
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// Old primaries do not know every option of REPLCONF.
fn note_refusal(option: &str, line: &[u8]) {
    if line.starts_with(b"-") {
        log::info!("(Non critical) Master does not understand REPLCONF {option}: {}", shown(line));
    }
}

fn take_pong(server: &mut Server, line: &[u8]) {
    let accepted: [&[u8]; 4] = [b"+", b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];
    if !accepted.iter().any(|start| line.starts_with(start)) {
        log::warn!("Error reply to PING from master: '{}'", shown(line));
        give_up(server);
        return;
    }
    log::info!("Master replied to PING, replication can continue...");
    introduce(server);
}

/// Says who this server is: all questions at once, the answers come in their order.
fn introduce(server: &mut Server) {
    let config = &server.config;
    let (user, password) = (config.masteruser.as_bytes(), config.masterauth.as_bytes());
    let port = if config.replica_announce_port != 0 { config.replica_announce_port } else { config.port };
    let port = port.to_string();
    let out = &mut server.link.outgoing;
    if !password.is_empty() {
        match user.is_empty() {
            true => push_command(out, &[b"AUTH", password]),
            false => push_command(out, &[b"AUTH", user, password]),
        }
    }
    push_command(out, &[b"REPLCONF", b"listening-port", port.as_bytes()]);
    if !config.replica_announce_ip.is_empty() {
        push_command(out, &[b"REPLCONF", b"ip-address", config.replica_announce_ip.as_bytes()]);
    }
    push_command(out, &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
    server.link.state = if password.is_empty() { LinkState::AwaitPort } else { LinkState::AwaitAuth };
}

/// PSYNC: from where this server could go on, if it could.
fn ask_for_stream(server: &mut Server) {
    server.link.announced = None;
    server.link.without_offsets = false;
    let (id, offset) = if server.link.resumable {
        let offset = server.replication.offset + 1;
        log::info!("Trying a partial resynchronization (request {}:{offset}).", server.replication.id);
        (server.replication.id.clone(), offset.to_string())
    } else {
        log::info!("Partial resynchronization not possible (no cached master)");
        ("?".to_owned(), "-1".to_owned())
    };
    let command: [&[u8]; 4] = [b"PSYNC", id.as_bytes(), offset.as_bytes(), b"FAILOVER"];
    let words = if server.link.failover.state == FailoverState::InProgress { 4 } else { 3 };
    send(server, &command[..words]);
    server.link.state = LinkState::AwaitPsync;
}

fn take_psync_answer(server: &mut Server, line: &[u8]) {
    let accepted = line.starts_with(b"+FULLRESYNC") || line.starts_with(b"+CONTINUE");
    if !accepted && failover_refused(server) {
        return;
    }
    if server.link.failover.state == FailoverState::InProgress {
        super::failover::clear(server);
    }
    if line.starts_with(b"+FULLRESYNC") {
        take_full(server, line);
    } else if line.starts_with(b"+CONTINUE") {
        continue_stream(server, line);
    } else if line.starts_with(b"-NOMASTERLINK") || line.starts_with(b"-LOADING") {
        let text = shown(line);
        log::info!("Master is currently unable to PSYNC but should be in the future: {text}");
        give_up(server);
    } else {
        fall_back(server, line);
    }
}

/// The target of a failover did not take over. True when there was a failover.
fn failover_refused(server: &mut Server) -> bool {
    let in_progress = server.link.failover.state == FailoverState::InProgress;
    if in_progress {
        super::failover::abort(server, "Failover target rejected psync request");
    }
    in_progress
}

/// `+FULLRESYNC <id> <offset>`.
fn take_full(server: &mut Server, line: &[u8]) {
    let text = shown(line);
    let mut words = text.split(' ').skip(1);
    let id = words.next().filter(|id| id.len() == ID_DIGITS);
    let offset = words.next().and_then(|offset| offset.parse::<u64>().ok());
    match id.zip(offset) {
        Some((id, offset)) => {
            log::info!("Full resync from master: {id}:{offset}");
            server.link.announced = Some((id.to_owned(), offset));
        }
        None => log::warn!("Master replied with wrong +FULLRESYNC syntax."),
    }
    transfer::begin(server);
}

/// `+CONTINUE [<id>]`: the stream goes on where this server's ends; the id may be a new one.
fn continue_stream(server: &mut Server, line: &[u8]) {
    log::info!("Successful partial resynchronization with master.");
    let id = shown(line.get(10..).unwrap_or_default());
    let id = id.trim_end();
    if id.len() == ID_DIGITS && id != server.replication.id {
        log::info!("Master replication ID changed to {id}");
        let state = &mut server.replication;
        state.second_id = std::mem::replace(&mut state.id, id.to_owned());
        state.second_offset = Some(state.offset + 1);
        // They must be told of the new id.
        server.disconnect_replicas();
    }
    stream::begin(server);
    log::info!("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.");
}

/// A primary that knows no PSYNC, or is in trouble: SYNC has no answer but the data set or an error.
fn fall_back(server: &mut Server, line: &[u8]) {
    let text = shown(line);
    if line.starts_with(b"-ERR") {
        log::info!("Master does not support PSYNC or is in error state (reply: {text})");
    } else {
        log::warn!("Unexpected reply to PSYNC from master: {text}");
    }
    log::info!("Retrying with SYNC...");
    server.link.outgoing.extend_from_slice(b"SYNC\r\n");
    server.link.without_offsets = true;
    transfer::begin(server);
}
