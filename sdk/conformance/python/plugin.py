"""The conformance plugin in Python: all commands of docs/conformance.md."""

import sys
from contextlib import contextmanager

from componentize_py_types import Err
from wit_world.imports import atomics, keyvalue

from lictor import Failure, body, caller, command, config, header, headers, http, log, log_event, request_id, state, time_left

LEVELS = ["trace", "debug", "info", "warn", "error", "critical"]

calls = 0


@command("echo [TEXT]...", "replies with its arguments", idempotent=True)
def echo(*texts):
    return " ".join(texts)


@command("body", "replies with the body", idempotent=True)
def reply_body():
    return body()


@command("fail CODE MESSAGE", "fails", idempotent=True)
def fail(code, message):
    raise Failure(code, message)


@command("panic TEXT", "raises what nobody expects")
def panic(text):
    raise RuntimeError(text)


@command("log LEVEL CONTEXT MESSAGE", "logs an event")
def log_one(level, context, message):
    if level not in LEVELS:
        raise Failure("bad-arguments", f"{level} is no level")
    log_event(level, message, context)


@command("print TEXT", "logs a text")
def print_text(text):
    log(text)


@command("say", "prints the body")
def say():
    sys.stdout.write(body().decode())


class Odd:
    """Fails when it is shown."""

    def __repr__(self):
        raise RuntimeError("no")


@command("print-odd", "logs what is hard to show")
def print_odd():
    circular = []
    circular.append(circular)
    for odd in ["\ud800 and \udcff", b"\xff", 1, None, circular, {"a": Odd()}, Odd(), float("nan"), "\0\x1b[2J"]:
        log(odd)
    print("\ud800 and \udcff", circular)
    log("all", "shown")


@command("config KEY", "replies with a value of the config", idempotent=True)
def config_value(key):
    return found(config.get(key), f"the config has no {key}")


@command("caller", "tells who asks", idempotent=True)
def who():
    return f"{caller().name} {caller().thumbprint}"


@command("id", "replies with the request's id", idempotent=True)
def reply_id():
    return request_id()


@command("header NAME", "replies with a header", idempotent=True)
def one_header(name):
    return found(header(name), f"there is no header {name}")


@command("headers", "replies with all headers", idempotent=True)
def all_headers():
    return "\n".join(f"{name}: {value}" for name, value in headers())


@command("time-left", "replies with the milliseconds left", idempotent=True)
def reply_time_left():
    return time_left()


@command("kv-set KEY VALUE", "writes a key", idempotent=True)
def kv_set(key, value):
    with opened() as store:
        store.set(key, value.encode())


@command("kv-get KEY", "reads a key", idempotent=True)
def kv_get(key):
    with opened() as store:
        return found(store.get(key), f"there is no key {key}")


@command("kv-delete KEY", "deletes a key", idempotent=True)
def kv_delete(key):
    with opened() as store:
        store.delete(key)


@command("kv-increment KEY DELTA", "adds to a key")
def kv_increment(key, delta):
    with opened() as store:
        return atomics.increment(store, key, number(delta))


@command("kv-keys", "lists the keys", idempotent=True)
def kv_keys():
    with opened() as store:
        keys, cursor = [], None
        while True:
            page = store.list_keys(cursor)
            keys += page.keys
            cursor = page.cursor
            if cursor is None:
                return "\n".join(keys)


@command("kv-open STORE", "opens a store", idempotent=True)
def kv_open(name):
    with opened(name):
        pass


@command("state-set KEY VALUE TTL-MS", "writes a key that expires")
def state_set(key, value, ttl):
    return state.set(key, value, ttl_ms=number(ttl))


@command("state-swap KEY VERSION VALUE", "writes a key if it is as expected")
def state_swap(key, version, value):
    return state.compare_and_set(key, number(version) or None, value)


@command("http METHOD URL WORD TIMEOUT-MS", "sends a request")
def http_send(method, url, word, timeout):
    timeout_ms = number(timeout) or None
    answer = http.send(method, url, headers={"x-word": word}, body=body(), timeout_ms=timeout_ms)
    return f"{answer.status} {answer.header('X-Answer') or '-'}\n".encode() + answer.body


@command("state-put KEY", "writes the body", idempotent=True)
def state_put(key):
    return state.set(key, body())


@command("state-renew KEY", "writes an entry back as it was read", idempotent=True)
def state_renew(key):
    entry = found(state.get(key), f"there is no key {key}")
    return state.compare_and_set(key, entry.version, entry.value, ttl_ms=entry.expires_in_ms)


@command("count", "counts this instance's calls")
def count():
    global calls
    calls += 1
    return calls


@command("spin", "computes without end")
def spin():
    while True:
        pass


@command("grow", "takes memory without end")
def grow():
    taken = []
    while True:
        taken.append(bytearray(b"\1" * (1 << 20)))


def found(value, message):
    if value is None:
        raise Failure("not-found", message)
    return value


def number(text):
    """A number from 0 to 2^64 - 1."""
    if not (text.isascii() and text.isdigit()) or int(text) >= 1 << 64:
        raise Failure("bad-arguments", f"{text} is no number")
    return int(text)


@contextmanager
def opened(name="default"):
    """A store; the errors of wasi:keyvalue as failures."""
    try:
        with keyvalue.open(name) as store:
            yield store
    except Err as error:
        match error.value:
            case keyvalue.Error_AccessDenied() | keyvalue.Error_NoSuchStore():
                raise Failure("denied", f"the store {name} is not granted") from None
            case keyvalue.Error_Other(value=text):
                raise Failure("failed", text) from None
        raise
