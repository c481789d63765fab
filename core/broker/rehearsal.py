"""What doorbell and workers do on a Redis, tried there without a trace: who may PING may not do all of it.

Every command is refused or taken inside a transaction that is then given up, so that nobody hears of it. Then one
message is really put and taken, and every key that they keep is read, since what lies there may be of another type.
"""

from collections.abc import Sequence

import redis
from redis.connection import AbstractConnection

from core.broker import QUEUE

_BINDINGS = ("_kombu.binding.ballast", "_kombu.binding_permanent.ballast", "_kombu.binding.celery.pidbox")
_DEADLINES, _UNACKED, _INDEX, _MUTEX = "_kombu.binding_deadlines", "unacked", "unacked_index", "unacked_mutex"
_PIDBOX = "ballast-0@host.celery.pidbox"  # each worker has one, under its own name
_QUEUES = tuple(f"{QUEUE}{priority}" for priority in ("", "\x06\x163", "\x06\x166", "\x06\x169"))

# As kombu and Celery send them (with MONITOR they can be watched), those inside of their scripts too.
_COMMANDS: tuple[tuple[str, ...], ...] = (
    *(("LLEN", queue) for queue in (*_QUEUES, _PIDBOX)),
    *(("SADD", binding, "x") for binding in _BINDINGS),
    *(("SREM", binding, "x") for binding in _BINDINGS),
    ("SMEMBERS", _BINDINGS[0]),
    ("LPUSH", QUEUE, "x"),
    ("RPUSH", QUEUE, "x"),
    ("BRPOP", *_QUEUES, "1"),
    ("ZADD", _INDEX, "1", "x"),
    ("HSET", _UNACKED, "x", "x"),
    ("HGET", _UNACKED, "x"),
    ("ZREM", _INDEX, "x"),
    ("HDEL", _UNACKED, "x"),
    ("ZRANGE", _INDEX, "1", "0", "BYSCORE", "REV"),
    ("SET", _MUTEX, "x", "NX", "PX", "1"),
    ("SCRIPT", "EXISTS", "x"),
    ("SCRIPT", "LOAD", "return 1"),
    ("EVALSHA", "x", "1", _MUTEX, "x"),
    ("EVALSHA", "x", "2", _BINDINGS[2], _DEADLINES, "x"),
    ("GET", _MUTEX),
    ("DEL", _MUTEX),
    ("TIME",),
    ("ZADD", _DEADLINES, "GT", "1", "x"),
    ("ZRANGEBYSCORE", _DEADLINES, "-inf", "1"),
    ("EXISTS", _BINDINGS[1]),
    ("DEL", _PIDBOX),
    ("PSUBSCRIBE", "/{db}.celery.pidbox"),
    ("PUNSUBSCRIBE", "/{db}.celery.pidbox"),
    ("PUBLISH", "/{db}.celery.pidbox", "x"),
    ("PUBLISH", "/{db}.celeryev/worker.online", "x"),
)


# Reads, which only what lies there can refuse: a key of another type, kept by somebody else.
_READS: tuple[tuple[str, ...], ...] = (
    *(("LLEN", queue) for queue in _QUEUES),
    *(("SMEMBERS", binding) for binding in _BINDINGS),
    *(("ZRANGE", key, "0", "0") for key in (_INDEX, _DEADLINES)),
    ("HGET", _UNACKED, "x"),
    ("GET", _MUTEX),
)

# At the end from which it is taken: nobody's ring, and so quickly that no worker hears of it.
_PUT_AND_TAKE: tuple[tuple[str, ...], ...] = (("MULTI",), ("RPUSH", QUEUE, "x"), ("BRPOP", *_QUEUES, "1"), ("EXEC",))


class Refused(Exception):
    """Redis answers, and does not let us do what must be done."""


REFUSALS = (Refused, redis.ResponseError, redis.AuthenticationError, ValueError)  # others are silence


def rehearse(pool: redis.ConnectionPool) -> None:
    """Raises Refused, and what `redis` raises where nobody answers."""
    db = str(pool.connection_kwargs["db"])
    tried = [[word.replace("{db}", db) for word in command] for command in _COMMANDS]
    connection = pool.get_connection()
    try:
        for command in (("MULTI",), *tried, ("DISCARD",), *_READS, *_PUT_AND_TAKE):
            _ask(connection, command)
    finally:
        connection.disconnect()  # type: ignore[no-untyped-call]
        pool.release(connection)


def _ask(connection: AbstractConnection, command: Sequence[str]) -> None:
    connection.send_command(*command)  # type: ignore[no-untyped-call]
    try:
        connection.read_response()
    except redis.ResponseError as error:
        raise Refused(f"{' '.join(command[:2])}: {error}") from error
