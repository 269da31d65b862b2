"""What operators do with redis-py about replicas: `recipes.py NAME PORT...`.

docs/replication.md shows `wait_for_sync` and the replacement of a dead primary; this is their test.
"""
import sys
import time
import uuid

import redis


def server(port):
    return redis.Redis(host="127.0.0.1", port=int(port), decode_responses=True)


def wait_for_sync(primary, replica, timeout_s=30):
    """Returns when the replica has what was written to the primary before, on its disk if it has a log."""
    end = time.monotonic() + timeout_s

    def wait(condition):
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("the replica does not catch up")
            time.sleep(0.001)

    token = str(uuid.uuid4())
    primary.zadd("sync:wait", {token: time.time()})
    wait(lambda: replica.info("replication")["master_link_status"] == "up")
    wait(lambda: replica.zscore("sync:wait", token) is not None)
    wait(lambda: replica.info("persistence").get("aof_pending_bio_fsync", 0) == 0)
    # Tokens of those who went away are removed too.
    primary.zrem("sync:wait", token)
    primary.zremrangebyscore("sync:wait", 0, time.time() - 900)


def wait_recipe(primary, replica):
    primary, replica = server(primary), server(replica)
    for number in range(1000):
        primary.set(f"key:{number}", number)
    wait_for_sync(primary, replica)
    assert replica.get("key:999") == "999"
    # Each waits for its own writes, with others beside it.
    for round in range(3):
        primary.incr("counter")
        wait_for_sync(primary, replica)
        assert replica.get("counter") == str(round + 1)
    assert primary.zcard("sync:wait") == 0


def save_recipe(replica):
    assert server(replica).save() is True


def replace_recipe(replica, new_primary):
    replica, primary = server(replica), server(new_primary)
    assert primary.dbsize() == replica.dbsize() and primary.get("key:999") == "999"
    replica.replicaof("127.0.0.1", int(new_primary))
    primary.set("after", "1")
    wait_for_sync(primary, replica)
    assert replica.get("after") == "1" and replica.info("replication")["role"] == "slave"
    # The copy tells where in the old history it was made, so nothing had to be sent but what is new.
    stats = primary.info("stats")
    assert (stats["sync_full"], stats["sync_partial_ok"]) == (0, 1), stats


if __name__ == "__main__":
    recipes = {"wait": wait_recipe, "save": save_recipe, "replace": replace_recipe}
    recipes[sys.argv[1]](*sys.argv[2:])
