"""Random and odd operations, of which a component over the host and a test over its fakes are to make the same, letter for
letter."""

import json

from componentize_py_types import Err
from lictor import Failure, call, clock, command, config, events, files, header, headers, http
from lictor.state import Store
from wit_world.imports import atomics, batch, keyvalue
from wit_world.imports import http as raw_http
from wit_world.imports import state as raw_state

KEYS = ["", "a", "b", "é", "z\n", "x" * 256, "x" * 257, "ab", "日本", "\U0010ffff", "\uffff", "\x7f", "\u0085"]
VALUES = [
    "", "5", "-3", "+7", "x", " 1", "9223372036854775807", "007", "-0", "1_0", "٣", "v" * 1000, "1" * (1 << 20), "1" * ((1 << 20) + 1),
]  # fmt: skip
TTLS = [None, 0, 3_600_000, 315_360_000_000, 315_360_000_001]


class Draw:
    """Numbers that follow from a seed, by arithmetic that is the same everywhere."""

    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return self.state * bound // 2**32

    def pick(self, of):
        return of[self.below(len(of))]


@command("state SEED COUNT", "works on stores")
def work_on_stores(seed, count):
    draw = Draw(int(seed))
    pick, versions = draw.pick, [0, 0]

    def noted(version):
        versions.append(version)
        return version

    def bucket():
        return keyvalue.open("other" if draw.below(9) == 0 else "default")

    def get(store, key, _):
        entry = store.get(key)
        left = entry and entry.expires_in_ms
        return entry and [len(entry.value), noted(entry.version), left and -(-left // 600_000)]

    def bucket_keys(_store, key, _):
        opened = bucket()
        page = opened.list_keys(None)
        return [page.keys, page.cursor, opened.exists(key)]

    def many(_store, key, _):
        return [entry and [entry[0], len(entry[1])] for entry in batch.get_many(bucket(), [key, pick(KEYS)])]

    def list_keys(store, *_):
        page = store.list_keys(pick(["", "a", "é", "x"]), after=pick([None, "a", "", "é", "zz"]), limit=pick([0, 1, 2, 1000, 5000]))
        return [page.keys, page.more]

    operations = [
        get,
        lambda store, key, value: noted(store.set(key, value, ttl_ms=pick(TTLS))),
        lambda store, key, _: store.delete(key),
        lambda store, key, _: store.increment(key, pick([1, -1, 100, 0])),
        lambda store, key, value: noted(store.compare_and_set(key, pick([None, *versions[-2:]]), value, ttl_ms=pick(TTLS))),
        lambda store, key, _: store.compare_and_delete(key, pick(versions[-2:])),
        lambda store, key, _: store.touch(key, pick(TTLS)),
        list_keys,
        lambda _, key, __: bucket().get(key) is not None,
        lambda _, key, value: bucket().set(key, value.encode()),
        lambda _, key, __: bucket().delete(key),
        lambda _, key, __: atomics.increment(bucket(), key, pick([0, 1, 5, 2**63])),
        bucket_keys,
        lambda _, key, value: batch.set_many(bucket(), [(key, b"1"), (pick(KEYS), value.encode()), (key, b"2")]),
        many,
        lambda _, key, __: batch.delete_many(bucket(), [key, pick(KEYS)]),
    ]

    def operation():
        at = draw.below(len(operations))
        store, key, value = Store("other" if draw.below(6) == 0 else "default"), pick(KEYS), pick(VALUES)
        return f"{at} {shown(lambda: operations[at](store, key, value))}"

    return "\n".join(operation() for _ in range(int(count)))


def shown(work):
    """What came of it, or how it failed."""
    try:
        return json.dumps(work())
    except Failure as failure:
        return f"Failure {failure.code} {failure.message}"
    except Err as error:
        return f"Err {type(error.value).__name__} {getattr(error.value, 'value', '')}"
    except Exception as error:
        return f"{type(error).__name__} {error}"


CLOSED = "http://127.0.0.1:1/"
PATHS = [
    "v1", "v1/", "v1/x", "v1?x", "v1/?../", "v10", "v1/..", "v1/../x", "v1/..;/x", "v1/.;a/x", "v1/...", "v1/%zz", "v1/%", "v1/%4", "v1/%4g",
    "v1/%41", "v1/%2e", "v1/%2E%2e", "v1/%2f", "v1/%5c", "v1/%25", "v1/%3b", "v1/%00", "v1/%1f", "v1/%7f", "v1/%80", "v1/\\x", "v1//x",
    "v1/;x", "V1/x", "%761/x", "v1#/..", "v2", "v2/", "v2/x", "v2/..", "v2//", "", "/v1", "v1/%+1", "v1/%-1", "v1/% 1",
]  # fmt: skip
AUTHORITIES = [
    "127.0.0.1:1", "127.0.0.1:01", "127.0.0.1:", "127.0.0.1:+1", "127.0.0.1", "127.0.0.1.:1", "127.1:1", "0x7f.0.0.1:1", "127.0.0.1:99999",
    "a:b", "a:b:c", "[::1]", "[::1]:1", "[::1", "::1", "[::1%25lo]", "[127.0.0.1]:1", "a_b", "a..b", ".", "-", "u@127.0.0.1:1", "", "a|b", "a%00", "x" * 64,
    "x" * 1025,
]  # fmt: skip
URLS = [
    *(CLOSED + path for path in PATHS), *(f"http://{authority}/v1" for authority in AUTHORITIES), "HTTP://127.0.0.1:1/v1", "ftp://a", "",
    "http:/127.0.0.1:1/v1", "http://127.0.0.1:1", "http://a b", "http://a/ü", "http://a/<>", "http://a/x?y z", "http://a/{}", "http://a/|^`",
    "http://a/?`^|", "http://a/?<", "http://a/#f g", "http://127.0.0.1:1?q", "https://127.0.0.1:1/v1", f"{CLOSED}v1/{'x' * 16384}",
]  # fmt: skip
FIELDS = [
    {}, {"Host": "x"}, {"a b": "c"}, {"a": "b\r\nc"}, {"a": "b\tc"}, {"content-length": "5"}, {"content-length": "0"},
    {"content-length": " 0 "}, {"Content-Length": "+0"}, {"a": "x" * 17000}, {"a": "ü"}, {"": "x"}, {"TE": "trailers"}, {"Proxy-Connection": "x"},
    {"proxy-authenticate": "x"}, {"trailer": "x"}, {"a": "b\x7f"}, {"a": "\0"}, {"x" * 70 + " ": "y"}, {"é": "x"}, {"HTTP2-Settings": "x"},
]  # fmt: skip
METHODS = ["GET", "get", "PUR GE", "", "M" * 32, "M" * 33, "CONNECT", "connect", "TRACE", "G(T", "Ü", "M\n"]


@command("requests", "sends requests to nobody")
def send_requests():
    asked = [("GET", url, {}) for url in URLS]
    asked += [("GET", f"{CLOSED}v1", fields) for fields in FIELDS] + [(method, f"{CLOSED}v1", {}) for method in METHODS]
    # What is wrong with the first of several things.
    asked += [("G T", "ftp://a", {}), ("G T", f"{CLOSED}v1", {"Host": "x"}), ("CONNECT", "http://b/", {}), ("CONNECT", "ftp://a", {})]
    return "\n".join(f"{json.dumps(one)[:120]} {shown(lambda one=one: http.send(one[0], one[1], headers=one[2]).status)}" for one in asked)


@command("answers URL", "asks what has no body, whatever is behind its head")
def ask(url):
    answers = [(one.status, one.headers, one.text()) for one in (http.send(method, url) for method in ["GET", "HEAD", "PUT"])]
    return "\n".join(map(str, answers))


@command("topics", "publishes and subscribes")
def topics():
    names = ["a", "", "a b", "a*", "*", "é", "x" * 128, "x" * 129, "a/b:c.d_e-f", "x" * 128 + "*", "a\n", "٣"]
    uses = {
        "publish": lambda topic: events.publish(topic, "x"),
        "large": lambda topic: events.publish(topic, bytes(65537)),
        "subscribe": events.subscribe,
        "next": lambda _: events.next(),
    }
    return "\n".join(f"{use} {topic[:9]} {shown(lambda: uses[use](topic))}" for use in uses for topic in names)


@command("others PATH...", "reads files, the config and the request, and calls commands")
def others(*paths):
    reads = [shown(lambda path=path: len(files.read(path))) for path in [*paths, "", "relative", paths[0] + "/", paths[0] + "\0"]]
    keys = [shown(lambda key=key: config.get(key)) for key in ["greeting", "Greeting", "", "number"]]
    asked = [shown(lambda name=name: header(name)) for name in ["lang", "LANG", "", "size", "timeout-ms", "idempotency-key"]]
    calls = [shown(lambda args=args: len(call(args))) for args in [["none"], ["none", "a" * 8187], ["none", "a" * 8186], ["none"] * 1025]]
    return "\n".join([*reads, *keys, json.dumps(config.all(), sort_keys=True), *asked, json.dumps(headers()), *calls])


RAW = {
    "an int for a text": lambda: keyvalue.open(5),
    "bytes for a text": lambda: keyvalue.open(b"default"),
    "a surrogate": lambda: raw_state.get("default", "\ud800"),
    "a text for bytes": lambda: raw_state.set("default", "a", "b", None),
    "a bytearray": lambda: raw_state.set("default", "a", bytearray(b"b"), None),
    "a float": lambda: raw_state.increment("default", "a", 0.5),
    "a bool": lambda: raw_state.increment("default", "n", True),
    "less than nothing": lambda: raw_state.touch("default", "a", -1),
    "too much": lambda: raw_state.touch("default", "a", 2**64),
    "a tuple for a list": lambda: batch.delete_many(keyvalue.open("default"), ("a", "b")),
    "a text for a list": lambda: batch.delete_many(keyvalue.open("default"), "ab"),
    "a tuple of lists": lambda: batch.set_many(keyvalue.open("default"), [["a", b"b"]]),
    "a request of a text": lambda: raw_http.send(raw_http.Request("GET", f"{CLOSED}v1", [], "x", None)),
    "a request of pairs that are lists": lambda: raw_http.send(raw_http.Request("GET", f"{CLOSED}v1", [["a", "b"]], b"x", None)),
    "what is released": lambda: released().get("a"),
}


def released():
    with keyvalue.open("default") as opened:
        return opened


@command("raw [WHAT]", "hands the bindings what the kit would refuse, or tells what there is of that")
def raw(what=None):
    return shown(RAW[what]) if what else "\n".join(RAW)


@command("naps", "sleeps oddly")
def naps():
    odd = [0, 0.5, True, -1, float("nan"), float("-inf"), "1", None]
    return "\n".join(shown(lambda: clock.sleep(milliseconds)).split(" ")[0] for milliseconds in odd)
