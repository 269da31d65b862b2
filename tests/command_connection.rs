//! The connection commands: PING, ECHO, SELECT, AUTH, HELLO, RESET, QUIT.

mod common;

use common::InProcess;
use tine::dispatch::Outcome;
use tine::server::config::Config;

#[test]
fn ping_and_echo() {
    let mut test = InProcess::new();
    assert_eq!(test.call("PING"), "+PONG");
    assert_eq!(test.call("ping hello"), "$5 hello");
    assert_eq!(test.call("PING a b"), "-ERR wrong number of arguments for 'ping' command");
    assert_eq!(test.call("ECHO \"a b\""), "$3 a b");
    assert_eq!(test.call("ECHO"), "-ERR wrong number of arguments for 'echo' command");
}

#[test]
fn ping_in_subscribe_mode() {
    let mut test = InProcess::new();
    test.call("SUBSCRIBE c");
    assert_eq!(test.call("PING"), "*2 $4 pong $0");
    assert_eq!(test.call("PING x"), "*2 $4 pong $1 x");
    let other = test.client();
    test.resp3(other);
    test.call_as(other, "SUBSCRIBE c");
    assert_eq!(test.call_as(other, "PING"), "+PONG");
}

#[test]
fn select_checks_its_index() {
    let mut test = InProcess::new();
    assert_eq!(test.call("SELECT 15"), "+OK");
    for index in ["16", "-1"] {
        assert_eq!(test.call(&format!("SELECT {index}")), "-ERR DB index is out of range");
    }
    assert_eq!(test.call("SELECT x"), "-ERR value is not an integer or out of range");
    assert_eq!(
        test.call("SELECT 3000000000"),
        "-ERR value is out of range, value must between -2147483648 and 2147483647"
    );
    test.call("SET k fifteen");
    test.call("SELECT 0");
    assert_eq!(test.call("GET k"), "$-1");
}

#[test]
fn auth_without_a_password_set() {
    let mut test = InProcess::new();
    assert!(test.call("AUTH x").starts_with("-ERR AUTH <password> called without any password configured"));
    assert_eq!(test.call("AUTH default anything"), "+OK");
    assert_eq!(
        test.call("AUTH nobody anything"),
        "-WRONGPASS invalid username-password pair or user is disabled."
    );
    assert_eq!(test.call("AUTH a b c"), "-ERR syntax error");
}

#[test]
fn auth_opens_the_door() {
    let config = Config { requirepass: "secret".into(), ..Config::default() };
    let mut test = InProcess::with_config(config);
    assert_eq!(test.call("SET k v"), "-NOAUTH Authentication required.");
    assert_eq!(test.call("NOSUCH"), "-ERR unknown command 'NOSUCH', with args beginning with: ");
    assert_eq!(test.call("AUTH wrong"), "-WRONGPASS invalid username-password pair or user is disabled.");
    assert!(test.call("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(test.call("AUTH secret"), "+OK");
    assert_eq!(test.call("SET k v"), "+OK");
    assert_eq!(test.call("RESET"), "+RESET");
    assert_eq!(test.call("GET k"), "-NOAUTH Authentication required.");
}

#[test]
fn hello_changes_the_protocol() {
    let mut test = InProcess::new();
    let id = test.main.id;
    assert_eq!(
        test.call("HELLO"),
        format!(
            "*14 $6 server $5 redis $7 version $5 7.2.4 $5 proto :2 $2 id :{id} $4 mode $10 standalone $4 role $6 \
             master $7 modules *0"
        )
    );
    assert!(test.call("HELLO 3 SETNAME me").starts_with("%7 $6 server"));
    assert_eq!(test.call("GET nothing"), "_");
    assert_eq!(test.call("HELLO 4"), "-NOPROTO unsupported protocol version");
    assert_eq!(test.call("HELLO x"), "-ERR Protocol version is not an integer or out of range");
    assert_eq!(test.call("HELLO 3 SETNAME"), "-ERR Syntax error in HELLO option 'SETNAME'");
    assert!(test.call("HELLO 2 SETNAME \"a b\"").starts_with("-ERR Client names cannot contain spaces"));
    assert_eq!(test.call("GET nothing"), "_");
    assert_eq!(test.call("HELLO 2 AUTH default x SETNAME you").split(' ').next(), Some("*14"));
}

#[test]
fn reset_forgets_everything() {
    let mut test = InProcess::new();
    test.call("HELLO 3 SETNAME me");
    test.call("SELECT 3");
    test.call("SUBSCRIBE c");
    test.call("WATCH k");
    test.call("MULTI");
    test.call("SET k v");
    assert_eq!(test.call("RESET"), "+RESET");
    let state = test.server.clients.get(test.main).expect("it is connected");
    assert!(
        state.name.is_empty() && state.db == 0 && state.subscriptions() == 0 && state.transaction.is_none()
    );
    assert_eq!(test.call("EXEC"), "-ERR EXEC without MULTI");
    assert_eq!(test.call("GET k"), "$-1");
}

#[test]
fn quit_closes_behind_its_reply() {
    let mut test = InProcess::new();
    assert_eq!(test.raw(test.main, &[b"QUIT"]), (b"+OK\r\n".to_vec(), Outcome::Close));
    let other = test.client();
    test.call_as(other, "MULTI");
    assert_eq!(test.raw(other, &[b"quit", b"x"]).1, Outcome::Close);
}

#[test]
fn a_browser_is_cut_off() {
    let mut test = InProcess::new();
    for word in [&b"POST"[..], b"Host:"] {
        let client = test.client();
        assert_eq!(test.raw(client, &[word, b"x"]), (Vec::new(), Outcome::Close));
    }
}

#[test]
fn errors_before_a_command_runs() {
    let mut test = InProcess::new();
    assert_eq!(test.call("foo a b"), "-ERR unknown command 'foo', with args beginning with: 'a' 'b' ");
    assert_eq!(test.call("PUBSUB"), "-ERR wrong number of arguments for 'pubsub' command");
    assert_eq!(test.call("PUBSUB nope"), "-ERR unknown subcommand 'nope'. Try PUBSUB HELP.");
    assert_eq!(test.call("PUBSUB NUMPAT x"), "-ERR wrong number of arguments for 'pubsub|numpat' command");
    assert_eq!(test.server.stats.errors.get(&b"ERR"[..]), Some(&4));
    let numpat = test.server.commands.all().iter().find(|found| found.full_name() == "pubsub|numpat");
    let numpat = numpat.expect("it is a command").id as usize;
    assert_eq!(test.server.stats.commands[numpat].rejected, 1);
}
