//! The infrastructure for waiting clients, proven with commands that exist here only: a blocking
//! take on string keys and a command that runs others as a script would.

mod common;

use common::{InProcess, split};
use tine::blocking;
use tine::dispatch::{self, Outcome};
use tine::resp::{Args, OwnedArgs};
use tine::server::error::CommandResult;
use tine::server::spec::{KeySpec, flag, key_flag};
use tine::server::stats::Stats;
use tine::server::{Caller, CommandSpec, CommandTable, Ctx};
use tine::value::ValueType;
use tine::value::string::Digits;

const ROWS: &[CommandSpec] = &[
    // BTAKE key [key ...] timeout: removes the first of the keys that is there.
    CommandSpec {
        name: "btake",
        arity: -3,
        flags: flag::WRITE | flag::BLOCKING,
        keys: &[KeySpec::range(1, -2, 1, key_flag::RW)],
        handler: take,
        ..CommandSpec::DEFAULT
    },
    // RUN line [line ...]: runs each line as a command and answers an array of the replies.
    CommandSpec { name: "run", arity: -2, handler: run, ..CommandSpec::DEFAULT },
];

fn take(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let deadline_ms = blocking::parse_deadline(ctx.server, args.at(args.len() - 1))?;
    let keys = || args.iter().skip(1).take(args.len() - 2);
    for key in keys() {
        let value =
            ctx.server.find_string(ctx.db, key)?.map(|value| value.bytes(&mut Digits::new()).to_vec());
        if let Some(value) = value {
            ctx.server.remove_key(ctx.db, key, false);
            ctx.server.key_changed(ctx.db, key);
            ctx.propagate_instead(&[b"DEL", key]);
            ctx.out.array(2);
            ctx.out.bulk(key);
            ctx.out.bulk(&value);
            return Ok(());
        }
    }
    blocking::wait_for_keys(ctx, args, keys(), ValueType::String, deadline_ms);
    Ok(())
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.out.array(args.len() - 1);
    for line in args.tail(1).iter() {
        let words = split(&String::from_utf8_lossy(line));
        let command: OwnedArgs = words.iter().map(Vec::as_slice).collect();
        let found =
            dispatch::resolve(ctx.server, command.as_args()).expect("the test names commands that exist");
        dispatch::call(ctx.server, ctx.client, Caller::Script, found, command.as_args(), ctx.out);
    }
    Ok(())
}

fn server() -> InProcess {
    let mut test = InProcess::new();
    let families: Vec<&'static [CommandSpec]> =
        tine::command::FAMILIES.iter().copied().chain([ROWS]).collect();
    test.server.commands = CommandTable::new(&families);
    test.server.stats = Stats::new(test.server.commands.all().len());
    test
}

fn waiting(test: &InProcess) -> usize {
    test.server.blocked.count
}

#[test]
fn a_waiting_client_is_served_by_a_write() {
    let mut test = server();
    let waiter = test.client();
    assert_eq!(test.raw(waiter, &[b"BTAKE", b"a", b"b", b"0"]), (Vec::new(), Outcome::Blocked));
    assert_eq!(waiting(&test), 1);
    assert_eq!(test.call("SET b 1"), "+OK");
    assert_eq!(test.received(waiter), "*2 $1 b $1 1");
    assert_eq!(test.call("GET b"), "$-1");
    assert_eq!((waiting(&test), test.server.blocked.keys()), (0, 0));
    assert_eq!(test.server.resumed, [waiter]);
}

#[test]
fn who_came_first_is_served_first() {
    let mut test = server();
    let clients: Vec<_> = (0..4).map(|_| test.client()).collect();
    for client in &clients {
        test.call_as(*client, "BTAKE k 0");
    }
    for (index, client) in clients.iter().enumerate() {
        test.call(&format!("SET k {index}"));
        assert_eq!(test.received(*client), format!("*2 $1 k $1 {index}"));
        for later in &clients[index + 1..] {
            assert_eq!(test.received(*later), "");
        }
    }
}

#[test]
fn one_command_serves_several_clients() {
    let mut test = server();
    let clients: Vec<_> = ["a", "b", "c"].map(|key| (test.client(), key)).into();
    for (client, key) in &clients {
        test.call_as(*client, &format!("BTAKE {key} 0"));
    }
    assert_eq!(test.call("RUN \"SET c 3\" \"SET a 1\" \"SET b 2\""), "*3 +OK +OK +OK");
    for ((client, key), value) in clients.iter().zip([1, 2, 3]) {
        assert_eq!(test.received(*client), format!("*2 $1 {key} $1 {value}"));
    }
}

#[test]
fn a_transaction_is_over_before_anybody_is_served() {
    let mut test = server();
    let waiter = test.client();
    test.call_as(waiter, "BTAKE k 0");
    test.call("MULTI");
    test.call("SET k first");
    test.call("SET k second");
    test.call("GET k");
    assert_eq!(test.call("EXEC"), "*3 +OK +OK $6 second");
    assert_eq!(test.received(waiter), "*2 $1 k $6 second");
}

#[test]
fn nothing_waits_in_exec_or_in_a_script() {
    let mut test = server();
    test.call("MULTI");
    test.call("BTAKE k 0");
    test.call("PING");
    assert_eq!(test.call("EXEC"), "*2 *-1 +PONG");
    assert_eq!(test.call("RUN \"BTAKE k 0\" PING"), "*2 *-1 +PONG");
    assert_eq!(waiting(&test), 0);
}

#[test]
fn time_outs_have_fractions() {
    let mut test = server();
    let waiter = test.client();
    test.call_as(waiter, "BTAKE k 0.05");
    test.clock_ms(49);
    assert_eq!(test.received(waiter), "");
    test.clock_ms(1);
    assert_eq!(test.received(waiter), "*-1");
    assert_eq!((waiting(&test), test.server.blocked.next_deadline_ms()), (0, None));
    for (timeout, error) in [
        ("x", "-ERR timeout is not a float or out of range"),
        ("nan", "-ERR timeout is not a float or out of range"),
        ("-1", "-ERR timeout is negative"),
        ("1e300", "-ERR timeout is out of range"),
    ] {
        assert_eq!(test.call(&format!("BTAKE k {timeout}")), error);
    }
}

#[test]
fn who_cannot_be_served_keeps_place_and_deadline() {
    let mut test = server();
    let (first, second) = (test.client(), test.client());
    test.call_as(first, "BTAKE k 1");
    test.call_as(second, "BTAKE k 2");
    test.clock_ms(900);
    // Made ready and taken away again before they run: both stay where they are.
    assert_eq!(test.call("RUN \"SET k 1\" \"BTAKE k 0\""), "*2 +OK *2 $1 k $1 1");
    assert_eq!(waiting(&test), 2);
    test.call("SET k 2");
    assert_eq!((test.received(first), test.received(second)), ("*2 $1 k $1 2".into(), String::new()));
    test.clock_ms(1099);
    assert_eq!(test.received(second), "");
    test.clock_ms(1);
    assert_eq!(test.received(second), "*-1");
}

#[test]
fn a_client_that_runs_again_and_waits_again_keeps_its_place() {
    let mut test = server();
    let (first, second) = (test.client(), test.client());
    test.call_as(first, "BTAKE k 10");
    test.call_as(second, "BTAKE k 10");
    let order = |test: &InProcess, client| {
        let blocked = test.server.clients.get(client).expect("it is connected").blocked.clone();
        blocked.map(|blocked| (blocked.order, blocked.deadline_ms))
    };
    let before = order(&test, first);
    test.clock_ms(100);
    test.server.blocked.rerun = before;
    let kept = test.server.unblock_bookkeeping(first).expect("it waits");
    let mut out = tine::resp::Reply::default();
    let outcome = dispatch::execute_unblocked(&mut test.server, first, kept.args.as_args(), &mut out);
    assert_eq!((outcome, out.len()), (Outcome::Blocked, 0));
    assert_eq!(order(&test, first), before);
    test.call("SET k v");
    assert_eq!((test.received(first), test.received(second)), ("*2 $1 k $1 v".into(), String::new()));
}

#[test]
fn a_client_that_dies_while_waiting_is_forgotten() {
    let mut test = server();
    let (first, second) = (test.client(), test.client());
    test.call_as(first, "BTAKE a k 0.5");
    test.call_as(second, "BTAKE k 0");
    assert_eq!(test.call(&format!("CLIENT KILL ID {}", first.id)), ":1");
    assert_eq!((waiting(&test), test.server.blocked.keys()), (1, 1));
    test.call("SET k v");
    assert_eq!(test.received(second), "*2 $1 k $1 v");
    assert!(test.server.clients.get(first).is_none());
}

#[test]
fn served_changes_are_propagated_behind_what_served_them() {
    let mut test = server();
    let waiter = test.client();
    test.record_propagation();
    test.call_as(waiter, "BTAKE k 0");
    test.call("SET k v");
    assert_eq!(test.propagated(), ["SELECT 0", "SET k v", "DEL k"]);
}

#[test]
fn client_unblock_ends_a_wait() {
    let mut test = server();
    let waiter = test.client();
    test.call_as(waiter, "BTAKE k 0");
    assert_eq!(test.call(&format!("CLIENT UNBLOCK {}", waiter.id)), ":1");
    assert_eq!(test.received(waiter), "*-1");
    test.call_as(waiter, "BTAKE k 0");
    assert_eq!(test.call(&format!("CLIENT UNBLOCK {} error", waiter.id)), ":1");
    assert_eq!(test.received(waiter), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    assert_eq!(test.call(&format!("CLIENT UNBLOCK {} TIMEOUT", waiter.id)), ":0");
    assert_eq!(test.call("CLIENT UNBLOCK 1 maybe"), "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    assert_eq!(test.call("CLIENT UNBLOCK x"), "-ERR value is not an integer or out of range");
    assert_eq!(waiting(&test), 0);
}

#[test]
fn messages_to_a_waiting_client_arrive() {
    let mut test = server();
    let waiter = test.client();
    test.resp3(waiter);
    test.call_as(waiter, "SUBSCRIBE c");
    test.call_as(waiter, "BTAKE k 0");
    assert_eq!(test.call("RUN \"PUBLISH c one\" \"SET k v\""), "*2 :1 +OK");
    assert_eq!(test.received(waiter), ">3 $7 message $1 c $3 one *2 $1 k $1 v");
}

#[test]
fn a_pause_holds_requests_back_in_order() {
    let mut test = server();
    let (writer, reader) = (test.client(), test.client());
    assert_eq!(test.call("CLIENT PAUSE 1000 WRITE"), "+OK");
    assert_eq!(test.raw(writer, &[b"SET", b"k", b"v"]).1, Outcome::Blocked);
    assert_eq!(test.call_as(reader, "GET k"), "$-1");
    assert_eq!(test.call(&format!("CLIENT UNBLOCK {}", writer.id)), ":0");
    assert_eq!(test.call_as(reader, "SET k"), "-ERR wrong number of arguments for 'set' command");
    assert_eq!(test.raw(reader, &[b"PUBLISH", b"c", b"m"]).1, Outcome::Blocked);
    test.clock_ms(999);
    assert_eq!(waiting(&test), 2);
    test.clock_ms(1);
    assert_eq!((test.received(writer), test.received(reader)), ("+OK".into(), ":0".into()));
    assert_eq!(test.call("GET k"), "$1 v");
}

#[test]
fn unpause_and_stricter_pauses() {
    let mut test = server();
    let writer = test.client();
    test.call("CLIENT PAUSE 100 WRITE");
    test.call("CLIENT PAUSE 50 ALL");
    assert_eq!(test.raw(writer, &[b"PING"]).1, Outcome::Blocked);
    test.clock_ms(60);
    assert_eq!(waiting(&test), 1);
    test.server.unpause_clients();
    test.clock_ms(0);
    assert_eq!(test.received(writer), "+PONG");
    assert_eq!(test.call("CLIENT PAUSE 10 SOME"), "-ERR CLIENT PAUSE mode must be WRITE or ALL");
    assert_eq!(test.call("CLIENT PAUSE -1"), "-ERR timeout is negative");
    assert_eq!(test.call("CLIENT PAUSE x"), "-ERR timeout is not an integer or out of range");
    assert_eq!(test.call("CLIENT PAUSE 100 WRITE"), "+OK");
    assert_eq!(test.call("CLIENT UNPAUSE"), "+OK");
    assert_eq!(test.call("SET k v"), "+OK");
}

#[test]
fn a_transaction_of_reads_runs_in_a_write_pause() {
    let mut test = server();
    let other = test.client();
    for client in [test.main, other] {
        test.call_as(client, "MULTI");
    }
    test.call("GET k");
    test.call_as(other, "SET k v");
    test.server.pause_clients(tine::server::run::PauseKind::Writes, i64::MAX);
    assert_eq!(test.call("EXEC"), "*1 $-1");
    assert_eq!(test.raw(other, &[b"EXEC"]).1, Outcome::Blocked);
}
