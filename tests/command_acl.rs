//! ACL, AUTH and what users may not do, in a server without sockets; the start with users, with one.

mod common;

use common::{InProcess, Reply, Server, new_folder};
use proptest::prelude::{Strategy, prop};
use proptest::test_runner::{Config as Runs, TestRunner};
use std::path::Path;
use tine::resp::OwnedArgs;
use tine::server::acl::{Acl, RuleContext, User, UserLine, users_from_file, users_from_lines};
use tine::server::config::{CommandLine, Config, DiskFiles, load, parse_command_line};
use tine::server::{Action, ClientRef};

const NO_COMMAND: &str = "-NOPERM User u has no permissions to run the";
const NO_KEY: &str = "-NOPERM No permissions to access a key";
const NO_CHANNEL: &str = "-NOPERM No permissions to access a channel";

/// A server with a user `u` of these rules, and a client that is logged in as it.
fn with_user(rules: &str) -> (InProcess, ClientRef) {
    let mut test = InProcess::new();
    assert_eq!(test.call(&format!("ACL SETUSER u on nopass {rules}")), "+OK");
    let client = test.client();
    assert_eq!(test.call_as(client, "AUTH u any"), "+OK");
    (test, client)
}

fn is_closed(test: &InProcess, client: ClientRef) -> bool {
    test.server.clients.get(client).is_none() && test.server.actions.contains(&Action::Close(client))
}

/// The value behind `name` in a reply of names and values.
fn field(reply: &Reply, name: &str) -> Reply {
    let items = reply.items();
    let at = items.iter().step_by(2).position(|item| item.text() == name);
    items[2 * at.expect("the field is there") + 1].clone()
}

fn entry(test: &mut InProcess, index: usize) -> Reply {
    test.run(&[b"ACL", b"LOG"]).items()[index].clone()
}

#[test]
fn a_new_user_may_do_nothing_but_log_in() {
    let mut test = InProcess::new();
    test.transcript(
        "ACL SETUSER u => +OK
         ACL LIST => *2 $51 user default on nopass sanitize-payload ~* &* +@all $47 user u off sanitize-payload resetchannels -@all
         ACL USERS => *2 $7 default $1 u
         ACL WHOAMI => $7 default
         AUTH u x => -WRONGPASS invalid username-password pair or user is disabled.
         ACL SETUSER u on >x => +OK
         AUTH u y => -WRONGPASS invalid username-password pair or user is disabled.
         AUTH u x => +OK
         ACL WHOAMI => -NOPERM User u has no permissions to run the 'acl|whoami' command
         PING => -NOPERM User u has no permissions to run the 'ping' command
         AUTH default any => +OK
         ACL SETUSER u +ping +acl|whoami => +OK
         HELLO 2 AUTH u nope => -WRONGPASS invalid username-password pair or user is disabled.
         AUTH u x => +OK
         PING => +PONG
         ACL WHOAMI => $1 u
         ACL USERS => -NOPERM User u has no permissions to run the 'acl|users' command
         RESET => +RESET
         ACL WHOAMI => $7 default
         ACL DELUSER default => -ERR The 'default' user cannot be removed
         ACL DELUSER u nobody u => :1
         ACL GETUSER u => $-1",
    );
}

/// Users and ACL files of a Redis are taken as they are: rules on its commands that are missing here are
/// kept, in their order, and grant nothing.
#[test]
fn rules_on_commands_of_redis_that_are_missing_are_kept() {
    let folder = new_folder();
    let path = folder.path().join("users.acl");
    let shown = path.to_string_lossy();
    let mut test = InProcess::with_config(Config { aclfile: shown.as_ref().into(), ..Config::default() });
    let rules = "-@all +get +cluster|nodes +readwrite -cluster|info +asking|x +cluster";
    test.transcript(&format!("ACL SETUSER u on nopass ~* {rules} => +OK"));
    let line = "user u on nopass sanitize-payload ~* resetchannels -@all +get +readwrite +asking|x +cluster";
    assert!(test.call("ACL LIST").contains(line), "{}", test.call("ACL LIST"));
    test.transcript(
        "ACL DRYRUN u GET k => +OK
         ACL DRYRUN u SET k v => $50 User u has no permissions to run the 'set' command
         ACL SETUSER u +cluster|nosuch => -ERR Error in ACL SETUSER modifier '+cluster|nosuch': Unknown command or category name in ACL
         ACL SETUSER u -asking|x => -ERR Error in ACL SETUSER modifier '-asking|x': Unknown command or category name in ACL
         ACL SETUSER all on nopass +@all -readonly ~* &* => +OK
         ACL DRYRUN all SET k v => +OK",
    );
    let users = "user default on nopass ~* &* +@all\nuser w on #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b \
                 sanitize-payload ~* &* +@all -cluster -readonly -failover (~a +asking)\n";
    std::fs::write(&path, users).expect("the file can be written");
    test.transcript("ACL LOAD => +OK");
    assert!(
        test.call("ACL LIST").contains("+@all -cluster -readonly -failover ("),
        "{}",
        test.call("ACL LIST")
    );
    test.transcript("ACL SAVE => +OK");
    let saved = std::fs::read_to_string(&path).expect("the file is there");
    assert!(saved.contains("+@all -cluster -readonly -failover ("), "{saved}");
}

#[test]
fn a_rule_that_is_wrong_changes_nothing() {
    let mut test = InProcess::new();
    let after_all = "Adding a pattern after the * pattern (or the";
    for (rules, reason) in [
        ("on +nosuch", "'+nosuch': Unknown command or category name in ACL"),
        ("-@nosuch", "'-@nosuch': Unknown command or category name in ACL"),
        ("+select|", "'+select|': Syntax error"),
        ("-select|0", "'-select|0': Unknown command or category name in ACL"),
        ("+config|get|x", "'+config|get|x': Allowing first-arg of a subcommand is not supported"),
        ("+config|nosuch", "'+config|nosuch': Unknown command or category name in ACL"),
        ("\"+select|a b\"", "'+select|a b': Syntax error"),
        ("%~x", "'%~x': Syntax error"),
        ("%RX~x", "'%RX~x': Syntax error"),
        ("\"~a b\"", "'~a b': Syntax error"),
        ("\"&a b\"", "'&a b': Syntax error"),
        ("~* ~a", after_all),
        ("&* &a", after_all),
        ("<x", "'<x': The password you are trying to remove from the user does not exist"),
        ("#x", "'#x': The password hash must be exactly 64 characters and contain only"),
        ("(on)", "'(on)': Syntax error"),
        ("(+get (~a)", "'(+get (~a)': Syntax error"),
        ("hello", "'hello': Syntax error"),
    ] {
        let reply = test.call(&format!("ACL SETUSER u {rules}"));
        assert!(reply.starts_with("-ERR Error in ACL SETUSER modifier") && reply.contains(reason), "{reply}");
    }
    assert_eq!(
        test.call("ACL SETUSER u on (+get ~a"),
        "-ERR Unmatched parenthesis in acl selector starting at '(+get'."
    );
    assert_eq!(test.call("ACL SETUSER \"a b\""), "-ERR Usernames can't contain spaces or null characters");
    assert_eq!(test.call("ACL USERS"), "*1 $7 default");
}

#[test]
fn rules_are_shown_in_the_order_given_without_those_that_say_nothing() {
    let mut test = InProcess::new();
    test.call(
        "ACL SETUSER u reset +@all -@write +set -set -config +config|get -config|set -config ~a %R~b %W~b &c",
    );
    test.call("ACL SETUSER u +select|0 +select|1 (%W~x +@read) (~y &z allcommands)");
    let user = test.run(&[b"ACL", b"GETUSER", b"u"]);
    assert_eq!(field(&user, "commands").text(), "+@all -@write -set -config +select|0 +select|1");
    assert_eq!(field(&user, "keys").text(), "~a ~b");
    assert_eq!(field(&user, "channels").text(), "&c");
    let selectors = field(&user, "selectors");
    assert_eq!(field(&selectors.items()[0], "commands").text(), "-@all +@read");
    assert_eq!(field(&selectors.items()[1], "channels").text(), "&z");
    let line = test.run(&[b"ACL", b"LIST"]).items()[1].text();
    assert_eq!(
        line,
        "user u off sanitize-payload ~a ~b resetchannels &c +@all -@write -set -config +select|0 +select|1 (%W~x \
         resetchannels -@all +@read) (~y resetchannels &z +@all)"
    );
    test.call("ACL SETUSER u clearselectors +select");
    let user = test.run(&[b"ACL", b"GETUSER", b"u"]);
    assert_eq!(field(&user, "selectors").items().len(), 0);
    assert_eq!(field(&user, "commands").text(), "+@all -@write -set -config +select");
}

#[test]
fn commands_keys_and_channels_are_checked_one_by_one() {
    let (mut test, client) =
        with_user("+@all -@dangerous -select +select|3 ~a* %R~r* %W~w* resetchannels &c*");
    for (command, expected) in [
        ("SET a1 v", "+OK"),
        ("SET b1 v", NO_KEY),
        ("GET r1", "$-1"),
        ("SET r1 v", NO_KEY),
        ("SET w1 v", "+OK"),
        ("GET w1", NO_KEY),
        ("SET w1 v GET", NO_KEY),
        ("COPY r1 w1", ":0"),
        ("COPY w1 r1", NO_KEY),
        ("MSET a1 v w2 v r3 v", NO_KEY),
        ("EXISTS w1 a1", ":2"),
        ("KEYS *", NO_COMMAND),
        ("SELECT 3", "+OK"),
        ("SELECT 0", NO_COMMAND),
        ("ZUNIONSTORE w1 2 r1 r2", ":0"),
        ("ZUNIONSTORE w1 2 r1 w2", NO_KEY),
        ("PUBLISH c1 m", ":0"),
        ("PUBLISH d1 m", NO_CHANNEL),
        ("PSUBSCRIBE c1*", NO_CHANNEL),
        ("PSUBSCRIBE c*", "*3 $10 psubscribe $2 c* :1"),
        ("SUBSCRIBE c1 d1", NO_CHANNEL),
        ("PUNSUBSCRIBE d", "*3 $12 punsubscribe $1 d :1"),
    ] {
        let reply = test.call_as(client, command);
        assert!(reply.starts_with(expected), "{command}: {reply}");
    }
}

#[test]
fn one_selector_must_allow_the_whole_request() {
    let (mut test, client) = with_user("(+get ~a) (+set ~b) (+mget %R~c %R~d)");
    for (command, expected) in [
        ("GET a", "$-1"),
        ("SET b v", "+OK"),
        ("SET a v", NO_KEY),
        ("GET b", NO_KEY),
        ("MGET c d", "*2 $-1 $-1"),
        ("MGET a c", NO_KEY),
        ("DEL a", NO_COMMAND),
    ] {
        let reply = test.call_as(client, command);
        assert!(reply.starts_with(expected), "{command}: {reply}");
    }
}

#[test]
fn sort_reads_other_keys_only_for_those_who_may_read_all() {
    let (mut test, client) = with_user("+sort ~l (+sort %R~* %W~to)");
    test.call("RPUSH l 1 2");
    assert_eq!(test.call_as(client, "SORT l BY nosort"), "*2 $1 1 $1 2");
    assert_eq!(test.call_as(client, "SORT l BY w_* GET #"), "*2 $1 1 $1 2");
    assert_eq!(test.call_as(client, "SORT l GET v_* STORE to"), ":2");
    test.call("ACL SETUSER u clearselectors");
    for (command, option) in [("SORT l BY w_*", "BY"), ("SORT l GET #", "GET")] {
        let text = format!("-ERR {option} option of SORT denied due to insufficient ACL permissions.");
        assert_eq!(test.call_as(client, command), text);
    }
    assert_eq!(test.call_as(client, "SORT l BY nosort"), "*2 $1 1 $1 2");
    assert_eq!(test.call_as(client, "SORT l STORE to"), NO_KEY);
}

#[test]
fn a_transaction_is_checked_when_queued_and_when_run() {
    let (mut test, client) = with_user("+@all -del ~a");
    for (command, expected) in [
        ("MULTI", "+OK"),
        ("GET b", NO_KEY),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("MULTI", "+OK"),
        ("GET a", "+QUEUED"),
        ("INCR a", "+QUEUED"),
    ] {
        assert_eq!(test.call_as(client, command), expected, "{command}");
    }
    test.call("ACL SETUSER u resetkeys %R~a");
    let reply = test.call_as(client, "EXEC");
    assert_eq!(
        reply,
        "*2 $-1 -NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
         command is no longer allowed for the following reason: no permission to touch the specified keys"
    );
    for index in 0..2 {
        let entry = entry(&mut test, index);
        assert_eq!(field(&entry, "context").text(), "multi");
        assert_eq!(field(&entry, "reason").text(), "key");
        assert_eq!(field(&entry, "object").text(), ["a", "b"][index]);
    }
}

#[test]
fn clients_lose_what_their_user_loses() {
    let (mut test, client) = with_user("+@all ~* &*");
    let (listener, waiter) = (test.client(), test.client());
    for other in [listener, waiter] {
        test.call_as(other, "AUTH u x");
    }
    test.call_as(listener, "SUBSCRIBE c1 c2");
    test.call_as(waiter, "BLPOP list 0");
    test.call("ACL SETUSER u resetchannels &c1 &c2");
    assert!(!is_closed(&test, listener), "it may listen to what it listens to");
    test.call("ACL SETUSER u resetchannels &c1");
    assert!(is_closed(&test, listener) && !is_closed(&test, client));

    test.call("ACL SETUSER u -blpop");
    test.call("RPUSH list v");
    assert_eq!(test.received(waiter), "-NOPERM User u has no permissions to run the 'blpop' command");
    assert_eq!(test.call("LLEN list"), ":1");

    let waiter = test.client();
    test.call("ACL SETUSER u +blpop");
    test.call_as(waiter, "AUTH u x");
    test.call_as(waiter, "BLPOP nolist 0");
    assert_eq!(test.call_as(client, "ACL DELUSER u"), ":1");
    assert!(is_closed(&test, waiter));
    let own = test.server.clients.get(client).expect("it still gets its reply");
    assert!(own.close_after_reply && !own.authenticated);
    assert_eq!(test.call("AUTH u x"), "-WRONGPASS invalid username-password pair or user is disabled.");
}

#[test]
fn connections_are_shown_and_killed_by_user() {
    let (mut test, client) = with_user("+@all");
    assert!(test.call_as(client, "CLIENT INFO").contains(" user=u "));
    assert!(test.call("CLIENT LIST").contains(" user=default "));
    assert_eq!(test.call("CLIENT KILL USER nobody"), "-ERR No such user 'nobody'");
    assert_eq!(test.call("CLIENT KILL USER u"), ":1");
    assert!(is_closed(&test, client));
}

#[test]
fn refusals_are_logged_and_counted() {
    let (mut test, client) = with_user("+get ~a (+publish &c)");
    for command in ["SET a v", "GET b", "GET b", "PUBLISH d m", "AUTH u2 x"] {
        test.call_as(client, command);
        test.clock_ms(500);
    }
    let log = test.run(&[b"ACL", b"LOG"]);
    let shown: Vec<String> = log
        .items()
        .iter()
        .map(|entry| {
            let texts = ["reason", "context", "object", "username"].map(|name| field(entry, name).text());
            let numbers = ["count", "entry-id"].map(|name| field(entry, name).int());
            format!("{} {:?}", texts.join(" "), numbers)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "auth toplevel AUTH u2 [1, 3]",
            "channel toplevel d u [1, 2]",
            "key toplevel b u [2, 1]",
            "command toplevel set u [1, 0]"
        ]
    );
    let key = &log.items()[2];
    assert_eq!(field(key, "age-seconds").text(), "1.5");
    let [created, updated] =
        ["timestamp-created", "timestamp-last-updated"].map(|name| field(key, name).int());
    assert_eq!(updated - created, 500);
    assert!(field(key, "client-info").text().contains(" cmd=get user=u "));
    let info = tine::command::info::info_text(&test.server, &[b"stats"]);
    for line in ["auth:1", "cmd:1", "key:2", "channel:1"] {
        assert!(info.contains(&format!("acl_access_denied_{line}\r\n")), "{line}");
    }
    assert_eq!(test.run(&[b"ACL", b"LOG", b"2"]).items().len(), 2);
    assert_eq!(test.call("ACL LOG x"), "-ERR value is not an integer or out of range");
    test.transcript("ACL LOG RESET => +OK\n ACL LOG => *0");
    assert_eq!(test.call("CONFIG SET acllog-max-len 1"), "+OK");
    test.call_as(client, "DEL a");
    test.call_as(client, "DEL b");
    test.call_as(client, "GET c");
    assert_eq!(test.run(&[b"ACL", b"LOG"]).items().len(), 1);
}

#[test]
fn dry_run_names_the_object() {
    let (mut test, _) = with_user("+get +config|get ~a &c");
    test.transcript(
        "ACL DRYRUN u GET a => +OK
         ACL DRYRUN u GET b => $47 User u has no permissions to access the 'b' key
         ACL DRYRUN u CONFIG SET x y => $57 User u has no permissions to run the 'config|set' command
         ACL DRYRUN u CONFIG GET x => +OK
         ACL DRYRUN u GET => -ERR wrong number of arguments for 'get' command
         ACL DRYRUN u NOSUCH => -ERR Command 'NOSUCH' not found
         ACL DRYRUN nobody GET a => -ERR User 'nobody' not found
         ACL CAT nosuch => -ERR Unknown category 'nosuch'
         ACL GENPASS 0 => -ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
    );
    assert_eq!(test.run(&[b"ACL", b"GENPASS"]).text().len(), 64);
    assert_eq!(test.run(&[b"ACL", b"GENPASS", b"5"]).text().len(), 2);
    assert_ne!(test.call("ACL GENPASS"), test.call("ACL GENPASS"));
    assert!(test.call("ACL CAT scripting").starts_with('*'));
    assert!(test.call("ACL CAT dangerous").contains("acl|setuser"));
}

#[test]
fn rules_hold_for_commands_by_their_first_names() {
    let mut test = InProcess::new();
    assert!(test.server.commands.rename(b"get", b"fetch"));
    assert_eq!(test.call("ACL SETUSER u on nopass ~* +get"), "+OK");
    assert!(test.call("ACL SETUSER u +fetch").contains("Unknown command"));
    test.transcript("AUTH u x => +OK\n FETCH a => $-1");
    assert!(test.call("SET a v").starts_with(NO_COMMAND));
}

#[test]
fn requirepass_is_the_password_of_default() {
    let (mut test, client) = with_user("+@all");
    assert_eq!(test.call("CONFIG SET requirepass one"), "+OK");
    let stranger = test.client();
    test.server.reset_user(stranger);
    assert_eq!(test.call_as(stranger, "PING"), "-NOAUTH Authentication required.");
    assert_eq!(test.call_as(stranger, "AUTH u x"), "+OK");
    assert_eq!(test.call_as(client, "PING"), "+PONG");
    test.call_as(client, "ACL SETUSER default >two");
    for password in ["one", "two"] {
        assert_eq!(test.call_as(stranger, &format!("AUTH {password}")), "+OK");
    }
    assert_eq!(test.call_as(stranger, "CONFIG SET requirepass \"\""), "+OK");
    assert!(test.call_as(stranger, "AUTH one").contains("without any password configured"));
}

#[test]
fn a_user_file_is_saved_and_loaded() {
    let folder = new_folder();
    let path = folder.path().join("users.acl");
    let shown = path.to_str().expect("folders of tests have plain names");
    let mut test = InProcess::with_config(Config { aclfile: shown.into(), ..Config::default() });
    assert!(test.call("ACL LOAD").starts_with("-ERR Error loading ACLs, opening file '"));
    test.transcript("ACL SETUSER u on >x +@all -get ~a (+get ~b) => +OK\n ACL SAVE => +OK");
    let saved = std::fs::read_to_string(&path).expect("it was saved");
    assert_eq!(saved.lines().count(), 2);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "no temporary file stays");
    let lines = test.call("ACL LIST");
    let client = test.client();
    test.call_as(client, "AUTH u x");
    test.transcript("ACL SETUSER u reset => +OK\n ACL SETUSER other on => +OK\n ACL LOAD => +OK");
    assert_eq!(test.call("ACL LIST"), lines);
    assert!(is_closed(&test, client), "clients of all users but default are closed");

    std::fs::write(&path, format!("{saved}user bad +nosuch\n")).expect("written");
    let refused = test.call("ACL LOAD");
    assert!(refused.contains(":3: Error in applying operation '+nosuch'"), "{refused}");
    assert_eq!(test.call("ACL LIST"), lines);
    let folder_is_gone = folder.close();
    assert!(folder_is_gone.is_ok() && test.call("ACL SAVE").contains("error trying to save the ACLs"));
}

#[test]
fn without_a_user_file_there_is_nothing_to_save() {
    let mut test = InProcess::new();
    for command in ["ACL SAVE", "ACL LOAD"] {
        assert!(
            test.call(command).starts_with("-ERR This Redis instance is not configured to use an ACL file.")
        );
    }
}

/// A rule, most of them good; some words are meant for the parts of a selector.
fn rule() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "+get",
        "-get",
        "+set",
        "-@write",
        "+@read",
        "+@all",
        "-@all",
        "-@dangerous",
        "+config|get",
        "-config",
        "+select|0",
        "+select|1",
        "+SELECT|x'",
        "+@pubsub",
        "~a*",
        "%R~b*",
        "%W~b*",
        "%RW~c",
        "~\"q",
        "~'",
        "~\\",
        "~x)",
        "+select|0)",
        "(~y",
        "~\u{e9}",
        "~*",
        "allkeys",
        "resetkeys",
        "&c*",
        "&d",
        "&\"",
        "&*",
        "resetchannels",
        "~",
        "%R",
    ]);
    let words = part.prop_map(str::to_owned).boxed();
    let selector = prop::collection::vec(words.clone(), 0..4).prop_map(|rules| {
        let quoted: Vec<String> = rules
            .iter()
            .map(|rule| format!("\"{}\"", rule.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect();
        format!("({})", quoted.join(" "))
    });
    let state =
        prop::sample::select(vec!["on", "off", "nopass", ">x", ">y", "<x", "clearselectors", "reset"]);
    proptest::prop_oneof![6 => words, 1 => selector, 2 => state.prop_map(str::to_owned)]
}

/// Requests that tell users apart.
const PROBES: &[&str] = &[
    "get a1",
    "get b1",
    "set b1 v",
    "set c v",
    "get \"q",
    "get '",
    "get \\",
    "get \u{e9}",
    "config get x",
    "config set x y",
    "select 0",
    "select 1",
    "publish c1 m",
    "publish d m",
    "publish \" m",
    "psubscribe c*",
    "flushall",
    "mget a1 b1",
    "keys *",
    "get zz",
];

/// What a user may do, as text.
fn rights(test: &InProcess, user: &User) -> String {
    let verdict = |probe: &&str| {
        let args: OwnedArgs = probe.split(' ').map(str::as_bytes).collect();
        let found = tine::dispatch::resolve(&test.server, args.as_args()).expect("a command");
        format!("{probe}: {:?}", user.check(found, args.as_args()))
    };
    PROBES.iter().map(verdict).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_written_makes_the_same_users() {
    let users = prop::collection::vec(prop::collection::vec(rule(), 0..12), 1..4);
    let mut runner = TestRunner::new(Runs { failure_persistence: None, ..Runs::with_cases(300) });
    let outcome = runner.run(&users, |users| {
        let mut test = InProcess::new();
        for (index, rules) in users.iter().enumerate() {
            let name = ["u", "v\"", "w'"][index];
            for rule in rules {
                // Some rules are refused; the user stays as it was.
                let _ = test.server.set_user(name.as_bytes(), &[rule.as_bytes()]);
            }
        }
        let context = RuleContext::new(&test.server.commands, &test.server.config);
        let from_file = users_from_file(&test.server.acl.file_content(), "f", &context);
        let from_file = from_file.unwrap_or_else(|errors| panic!("{}", String::from_utf8_lossy(&errors)));
        let mut from_lines = Acl::new(&test.server.commands, &test.server.config);
        let folder = new_folder();
        let lines = config_lines(&test, folder.path());
        users_from_lines(&mut from_lines, &lines, &context)
            .unwrap_or_else(|(line, reason)| panic!("{line:?}: {reason}"));
        for user in test.server.acl.users() {
            let known = from_file.iter().find(|known| known.name() == user.name()).expect("the file has all");
            let configured = from_lines.by_name(user.name()).expect("the lines have all");
            for read in [known, configured] {
                assert_eq!(read.line(), user.line());
                assert_eq!(rights(&test, read), rights(&test, user));
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// The `user` lines that CONFIG REWRITE would write, read as a configuration is read.
fn config_lines(test: &InProcess, folder: &Path) -> Vec<UserLine> {
    let path = folder.join("redis.conf");
    let mut text = Vec::new();
    for line in test.server.user_lines() {
        text.extend_from_slice(b"user ");
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    std::fs::write(&path, text).expect("written");
    let line: CommandLine = parse_command_line(&[path.to_str().expect("a plain name").into()]);
    load(&line, &DiskFiles, &mut std::io::empty()).expect("the lines can be read").directives.users
}

#[test]
fn a_start_with_users() {
    let mut server =
        Server::tine(&["user alice on >secret +@all ~a*", "user default on nopass +@all -config ~* &*"]);
    let mut client = server.client();
    client.ok(&["AUTH", "alice", "secret"]);
    assert_eq!(client.call(&["GET", "b"]).text(), "NOPERM No permissions to access a key");
    client.ok(&["ACL", "SETUSER", "alice", "~b"]);
    client.ok(&["CONFIG", "REWRITE"]);
    server.stop();
    let config = std::fs::read_dir(server.dir()).expect("a folder").flatten();
    let text: String = config.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
    assert!(text.contains("user alice on sanitize-payload #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b ~a* ~b "), "{text}");

    for (lines, reason) in [
        (vec!["user a on", "user a off"], "Duplicate user found. A user can only be defined once"),
        (vec!["user a +nosuch"], "'+nosuch': Unknown command or category name in ACL"),
        (vec!["user a (+get"], "Error in user declaration '(+get'"),
        (vec!["user a on", "aclfile nofile"], "from must be clear"),
        (vec!["aclfile nofile"], "opening file 'nofile': No such file or directory"),
    ] {
        let failed = Server::try_start(common::Program::Tine, new_folder(), &lines);
        let log = failed.err().expect("it does not start").log;
        assert!(log.contains(reason), "{log}");
    }
}
