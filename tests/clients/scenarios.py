"""What programs do with redis-py, against a server: `scenarios.py PORT NAME`.

Each scenario ends with an assertion about what must be true of the data then. A scenario that this
version of redis-py cannot run says so in a line that begins with SKIP.
"""
import random
import sys
import threading
import time
import uuid

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PORT = int(sys.argv[1])
DEADLINE_S = 30


def client(**options):
    options.setdefault("decode_responses", True)
    return redis.Redis(host="127.0.0.1", port=PORT, **options)


def run_threads(works):
    """Runs the functions side by side; what one of them raises is raised here."""
    failures = []

    def guarded(work):
        try:
            work()
        except BaseException as failure:  # handed on below
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]


def wait_for(what, probe):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError("waited in vain for " + what)


# --- The market: players sell and buy items, with optimistic locking and retries.

PLAYERS, ITEMS_EACH, MONEY_EACH, ROUNDS = 8, 5, 1000, 30


def transact(conn, watched, step):
    """Runs `step` until no watched key was changed meanwhile. Returns its result and the retries."""
    retries = 0
    while True:
        with conn.pipeline() as pipe:
            try:
                pipe.watch(*watched)
                result = step(pipe)
                if result is None:
                    pipe.unwatch()
                    return False, retries
                pipe.execute()
                return True, retries
            except redis.WatchError:
                retries += 1


def list_item(conn, item, seller, price):
    bag = f"bag:{seller}"

    def step(pipe):
        if not pipe.sismember(bag, item):
            return None
        pipe.multi()
        pipe.zadd("market", {f"{item}/{seller}": price})
        pipe.srem(bag, item)
        return True

    return transact(conn, [bag], step)


def purchase_item(conn, buyer, entry):
    item, seller = entry.split("/")

    def step(pipe):
        price = pipe.zscore("market", entry)
        funds = int(pipe.hget(f"player:{buyer}", "funds"))
        if price is None or price > funds or buyer == seller:
            return None
        pipe.multi()
        pipe.hincrby(f"player:{seller}", "funds", int(price))
        pipe.hincrby(f"player:{buyer}", "funds", -int(price))
        pipe.sadd(f"bag:{buyer}", item)
        pipe.zrem("market", entry)
        return True

    return transact(conn, ["market", f"player:{buyer}"], step)


def market():
    setup = client()
    names = [str(number) for number in range(PLAYERS)]
    for name in names:
        setup.hset(f"player:{name}", mapping={"name": name, "funds": MONEY_EACH})
        setup.sadd(f"bag:{name}", *[f"item{name}.{number}" for number in range(ITEMS_EACH)])
    totals = {"bought": 0, "retries": 0}
    guard = threading.Lock()

    def play(name):
        conn, dice = client(), random.Random(int(name))
        for _ in range(ROUNDS):
            mine = sorted(conn.smembers(f"bag:{name}"))
            retries = 0
            if mine and dice.random() < 0.6:
                _, retries = list_item(conn, dice.choice(mine), name, dice.randint(1, 300))
            offers = conn.zrange("market", 0, -1)
            bought = False
            if offers:
                bought, more = purchase_item(conn, name, dice.choice(offers))
                retries += more
            with guard:
                totals["bought"] += bought
                totals["retries"] += retries

    run_threads([lambda name=name: play(name) for name in names])
    funds = [int(setup.hget(f"player:{name}", "funds")) for name in names]
    assert sum(funds) == PLAYERS * MONEY_EACH, funds
    assert min(funds) >= 0, funds
    where = [entry.split("/")[0] for entry in setup.zrange("market", 0, -1)]
    for name in names:
        where += setup.smembers(f"bag:{name}")
    assert len(where) == len(set(where)) == PLAYERS * ITEMS_EACH, sorted(where)
    assert totals["bought"] > 0 and totals["retries"] > 0, totals


def watch_rules():
    one, other = client(), client()
    one.set("k", 1)
    for change in (
        lambda: other.set("k", 2),
        lambda: other.delete("k"),
        lambda: other.flushdb(),
        lambda: other.expire("k", 100),
        lambda: other.swapdb(0, 1),
    ):
        one.set("k", 1)
        with one.pipeline() as pipe:
            pipe.watch("k")
            change()
            pipe.multi()
            pipe.set("never", 1)
            try:
                pipe.execute()
                raise AssertionError("a watched key was changed and EXEC ran")
            except redis.WatchError:
                pass
    assert not one.exists("never")
    with one.pipeline() as pipe:
        pipe.set("a", 1).incr("a").lpush("a", 1).get("a")
        replies = pipe.execute(raise_on_error=False)
    assert replies[:2] == [True, 2] and isinstance(replies[2], redis.ResponseError) and replies[3] == "2", replies


def pipelines():
    conn = client()
    pipe = conn.pipeline(transaction=False)
    for number in range(5_000):
        pipe.set(f"key:{number}", number)
    assert all(pipe.execute())
    for number in range(5_000):
        pipe.get(f"key:{number}")
    assert pipe.execute() == [str(number) for number in range(5_000)]
    for length in (1, 2, 99, 1000):
        for _ in range(length):
            pipe.incr("count")
        assert len(pipe.execute()) == length
    assert conn.get("count") == str(1102)
    big = "x" * 3_000_000
    assert conn.pipeline().set("big", big).get("big").strlen("big").execute() == [True, big, len(big)]


# --- A lock without scripts.


def acquire(conn, name, hold_ms):
    token = str(uuid.uuid4())
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if conn.set(name, token, nx=True, px=hold_ms):
            return token
        time.sleep(0.001)
    raise AssertionError("the lock is never free")


def release(conn, name, token):
    """Gives the lock back if it is still ours."""
    with conn.pipeline() as pipe:
        while True:
            try:
                pipe.watch(name)
                if pipe.get(name) != token:
                    return False
                pipe.multi()
                pipe.delete(name)
                pipe.execute()
                return True
            except redis.WatchError:
                continue


def locks():
    client().set("total", 0)

    def work():
        conn = client()
        for _ in range(25):
            token = acquire(conn, "lock", 10_000)
            seen = int(conn.get("total"))
            conn.set("total", seen + 1)
            assert release(conn, "lock", token)

    run_threads([work] * 8)
    conn = client()
    assert conn.get("total") == "200"
    token = acquire(conn, "lock", 20)
    wait_for("the lock to run out", lambda: not conn.exists("lock"))
    late = acquire(conn, "lock", 10_000)
    assert not release(conn, "lock", token), "a lock that ran out is somebody else's"
    assert release(conn, "lock", late)


def publish_subscribe():
    conn, speaker = client(), client()
    listener = conn.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("news")
    listener.psubscribe("chat.*")

    def next_message():
        return wait_for("a message", lambda: listener.get_message(timeout=1))

    wait_for("the subscriptions", lambda: listener.get_message(timeout=0.01) is None
             and speaker.pubsub_numsub("news") == [("news", 1)] and speaker.pubsub_numpat() == 1)
    assert speaker.publish("news", "one") == 1
    assert speaker.publish("chat.a", "two") == 1
    assert speaker.publish("nobody", "three") == 0
    assert next_message()["data"] == "one"
    second = next_message()
    assert (second["type"], second["pattern"], second["data"]) == ("pmessage", "chat.*", "two")
    assert speaker.pubsub_channels() == ["news"]

    speaker.config_set("notify-keyspace-events", "KEA")
    seen = []
    events = client().pubsub(ignore_subscribe_messages=True)
    events.psubscribe(**{"__keyevent@0__:*": lambda message: seen.append((message["channel"], message["data"]))})
    thread = events.run_in_thread(sleep_time=0.005)
    wait_for("the second pattern", lambda: speaker.pubsub_numpat() == 2)
    speaker.set("k", 1, px=5)
    wait_for("the key to expire", lambda: ("__keyevent@0__:expired", "k") in seen)
    assert ("__keyevent@0__:set", "k") in seen, seen
    thread.stop()
    thread.join(DEADLINE_S)
    listener.unsubscribe()
    listener.punsubscribe()
    wait_for("the end of the subscriptions", lambda: listener.get_message(timeout=0.01) is None
             and speaker.pubsub_numsub("news") == [("news", 0)])


def pools():
    pool = redis.BlockingConnectionPool(
        host="127.0.0.1", port=PORT, max_connections=5, timeout=DEADLINE_S, decode_responses=True)
    shared = redis.Redis(connection_pool=pool)
    run_threads([lambda: [shared.incr("hits") for _ in range(50)]] * 20)
    assert shared.get("hits") == "1000"
    control = client(client_name="control")
    ours = [line for line in control.client_list() if line["name"] != "control"]
    assert len(ours) <= 5, ours

    impatient = client(socket_timeout=0.1, retry=Retry(NoBackoff(), 0))
    try:
        impatient.blpop(["empty"], timeout=10)
        raise AssertionError("the socket's time-out is shorter")
    except redis.TimeoutError:
        pass
    assert impatient.ping(), "a new connection takes the place of the one given up"
    full = redis.ConnectionPool(host="127.0.0.1", port=PORT, max_connections=1)
    held = full.get_connection("_") if redis.__version__ < "5.3" else full.get_connection()
    try:
        redis.Redis(connection_pool=full).ping()
        raise AssertionError("the pool has one connection, which is taken")
    except redis.ConnectionError:
        pass
    full.release(held)

    for db in (3, 15):
        other = client(db=db)
        other.set("where", db)
        assert client(db=db).get("where") == str(db)
    assert client().get("where") is None

    # Idle connections are closed by the server; the next request goes over a new one.
    control.config_set("timeout", 1)
    idle = client(client_name="idle", health_check_interval=1)
    assert idle.ping()
    wait_for("the idle connection to be closed",
             lambda: all(line["name"] != "idle" for line in control.client_list()))
    assert idle.ping()
    control.config_set("timeout", 0)

    control.acl_setuser("app", enabled=True, passwords=["+secret"], keys=["app:*"], commands=["+@all"])
    app = client(username="app", password="secret")
    app.set("app:k", 1)
    try:
        app.set("other", 1)
        raise AssertionError("the key is not the user's")
    except redis.exceptions.NoPermissionError:
        pass
    try:
        client(username="app", password="wrong").ping()
        raise AssertionError("the password is wrong")
    except redis.AuthenticationError:
        pass


def resp3():
    if int(redis.__version__.split(".")[0]) < 5:
        print("SKIP redis-py", redis.__version__, "speaks RESP2 only")
        return
    conn = client(protocol=3)
    conn.hset("h", mapping={"a": 1, "b": 2})
    assert conn.hgetall("h") == {"a": "1", "b": "2"}
    conn.sadd("s", "x")
    assert set(conn.smembers("s")) == {"x"}
    conn.zadd("z", {"m": 1.5})
    assert conn.zscore("z", "m") == 1.5
    assert conn.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert conn.execute_command("DEBUG", "PROTOCOL", "true") is True
    assert conn.info("server")["redis_version"].startswith("7.2")
    pipe = conn.pipeline()
    assert pipe.hgetall("h").incr("n").execute() == [{"a": "1", "b": "2"}, 1]
    listener = conn.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("c")
    wait_for("the subscription", lambda: conn.pubsub_numsub("c")[0][1] == 1)
    conn.publish("c", "m")
    message = wait_for("a push", lambda: listener.get_message(timeout=1))
    assert message["data"] == "m", message


SCENARIOS = {
    function.__name__: function
    for function in (market, watch_rules, pipelines, locks, publish_subscribe, pools, resp3)
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[2]]()
