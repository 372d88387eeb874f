"""The host of tests, `lictor.testing`: the commands of docs/conformance.md over it, with what the host's suite expects of them."""

import asyncio
import random
import re
import secrets
import time
import unittest
import uuid
from datetime import date, datetime
from time import sleep

from lictor import clock, command, events, files, http, log, state, stream, time_left
from lictor import call as call_command
from lictor.testing import Event, Failure, Host, Response, Stopped

import plugin
from componentize_py_types import Err
from wit_world.imports import batch, keyvalue


@command("wait MS", "sleeps")
def wait(milliseconds):
    sleep(int(milliseconds) / 1000)
    return time_left()


@command("now", "tells the time in each of the ways that there are")
def now():
    strange = datetime(2026, 1, 2)
    kinds = isinstance(strange, datetime) and isinstance(strange, date) and not isinstance("", datetime)
    return f"{clock.now()} {time.time()} {datetime.now():%F %T.%f} {date.today()} {time.strftime('%F %T')} {kinds}"


@command("draw", "draws numbers")
def draw():
    return f"{random.random()} {secrets.token_hex(4)} {uuid.uuid4()}"


@command("read PATH", "reads a file")
def read(path):
    return files.read(path)


@command("run NAME", "runs another command")
def run_other(name):
    return call_command([name, "a"], body="body")


@command("publish TOPIC DATA", "publishes")
def publish(topic, data):
    return events.publish(topic, data)


@command("subscribe TOPIC", "can't")
def subscribe(topic):
    events.subscribe(topic)


@command("many COUNT", "asks for so many entries")
def many(count):
    for _ in range(int(count)):
        state.get("a")


@command("hoard FROM TO BYTES", "writes entries of this size")
def hoard(first, last, size):
    for number in range(int(first), int(last)):
        state.set(f"k{number}", b"x" * int(size))


@command("batch COUNT", "writes, reads and deletes so many entries at once")
def many_at_once(count):
    keys = [f"b{number}" for number in range(int(count))]
    try:
        with keyvalue.open("default") as store:
            batch.set_many(store, [(key, key.encode()) for key in keys] + [("b0", b"last")])
            found = batch.get_many(store, [*keys[:2], "none"])
            batch.delete_many(store, keys)
            return f"{found} {store.exists('b0')}"
    except Err as error:
        return error.value.value


@command("large BYTES", "replies with so many")
def large(count):
    return b"x" * int(count)


@command("cross KIND", "hands over what can't cross")
def cross(kind):
    try:
        match kind:
            case "surrogate":
                state.get("\ud800")
            case "number":
                state.get(5)
            case "time":
                state.set("a", "b", ttl_ms=-1)
            case "sum":
                state.increment("a", 2**63)
            case "limit":
                state.list_keys(limit=1.5)
            case "timeout":
                http.get("http://web/", timeout_ms=2**64)
    except Exception as error:
        return f"caught {error}"


@command("leave", "exits")
def leave():
    raise SystemExit


@command("swallow URL", "catches all it can")
def swallow(url):
    try:
        return http.get(url).body
    except Exception as error:
        return f"caught {error}"


@stream("count-to TO", "counts")
def count_to(to):
    try:
        for number in range(1, int(to) + 1):
            print("counted", number)
            yield number
            time.sleep(1)
    finally:
        log("done")
        state.set("done", "yes")


@stream("count-async TO", "counts, two timers at a time")
async def count_async(to):
    for number in range(1, int(to) + 1):
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2))
        yield f"{number}\n"
    raise Failure("conflict", "enough")


@stream("follow TOPICS", "tells what is published")
def follow(topics):
    events.subscribe(topics)
    while event := events.next(60_000):
        yield f"{event.topic} {len(event.data)} {event.lost}\n"


@stream("follow-on TOPICS", "tells it without an end")
def follow_on(topics):
    events.subscribe(topics)
    while True:
        yield events.next().data


@stream("odd KIND", "yields what is odd")
def odd(kind):
    yield {"none": None, "empty": "", "bytes": b"\xff", "number": 1.5, "object": object()}[kind]


@stream("nothing", "yields nothing")
def nothing():
    yield from ()


def upstream(request):
    """As the web server of the suite."""
    path = re.sub("http://web:80|http://web", "", request.url)
    headers = [("X-Answer", "grüße")]
    words = dict(request.headers)["x-word"].encode()
    match path:
        case "/missing":
            return Response(404, headers, b"no such thing")
        case "/moved":
            return Response(302, headers, b"")
        case "/silent":
            time.sleep(3600)
        case "/broken":
            raise Failure("unavailable", "the server's answer is incomplete")
        case "/large":
            return b"x" * ((8 << 20) + 1)
    return Response(200, headers, request.method.encode() + b" " + words + b" " + request.body)


class Case(unittest.TestCase):
    def setUp(self):
        self.host = Host(caller="conformance", config={"greeting": "hello ☃"}, web={"http://web/": upstream})

    def replies(self, expected, *arguments):
        reply = self.host.run(*arguments)
        self.assertEqual(reply, expected if isinstance(expected, bytes) else expected.encode(), arguments)

    def fails(self, code, *arguments, words=""):
        with self.assertRaises(Failure, msg=arguments) as failed:
            self.host.run(*arguments)
        self.assertEqual(failed.exception.code, code, arguments)
        self.assertIn(words, failed.exception.message)
        return failed.exception

    def stopped(self, code, *arguments):
        with self.assertRaises(Stopped, msg=arguments) as stopped:
            self.host.run(*arguments)
        self.assertEqual(stopped.exception.code, code, arguments)


class Conformance(Case):
    """The order is that of the suite; the commands are over one store."""

    def test_arguments_bodies_and_failures(self):
        self.replies("a b c", "echo", "a", "b", "c")
        self.replies("", "echo")
        self.replies(" x ", "echo", "", "x", "")
        self.replies("grüße ☃ a\x00b\r\n\x1b[2J\x7f", "echo", "grüße ☃", "a\x00b\r\n\x1b[2J\x7f")
        self.replies("", "body")
        self.host.body = bytes(range(256))
        self.replies(bytes(range(256)), "body")
        for code in ("bad-arguments", "not-found", "conflict", "denied", "unavailable", "failed", "on-fire"):
            self.fails(code, "fail", code, "a b ☃", words="a b ☃")
        self.fails("bad-arguments", "fail", words="usage: fail CODE MESSAGE")
        self.fails("not-found", "no-such-command")
        fault = self.fails("failed", "panic", "the sky is falling")
        self.assertIsInstance(fault.__cause__, RuntimeError)
        self.assertIn("the sky is falling", self.host.take_log()[0])

    def test_what_is_logged(self):
        for level in plugin.LEVELS:
            self.replies("", "log", level, "part", f"said at {level} ☃")
            self.assertEqual(self.host.take_log(), [f"{level}: said at {level} ☃"])
        self.fails("bad-arguments", "log", "loud", "part", "no")
        self.replies("", "print", "printed ☃")
        self.replies("", "print-odd")
        lines = self.host.take_log()
        self.assertEqual((lines[0], lines[-1]), ("printed ☃", "all shown"))
        self.host.body = "half a line ☃"
        self.replies("", "say")
        self.replies("hello", "echo", "hello")
        self.assertEqual(self.host.take_log(), ["half a line ☃"])
        self.host.body = "L" * (2 << 20) + "\nbehind it"
        self.replies("", "say")
        self.assertEqual(self.host.take_log()[1], "behind it")

    def test_the_config_and_the_request(self):
        self.replies("hello ☃", "config", "greeting")
        self.fails("not-found", "config", "missing")
        self.replies(f"conformance {'0' * 64}", "caller")
        self.assertRegex(self.host.run("id"), rb"c\d+-\d+")
        self.host.headers = [("X-Colour", "blue ☃"), ("B", "2"), ("Timeout-Ms", "5000"), ("b", "3")]
        self.replies("blue ☃", "header", "x-colour")
        self.fails("not-found", "header", "timeout-ms")
        self.replies("X-Colour: blue ☃\nB: 2\nb: 3", "headers")
        self.replies("5000", "time-left")

    def test_key_value_stores(self):
        self.fails("not-found", "kv-get", "a")
        self.replies("", "kv-set", "a", "value ☃")
        self.replies("value ☃", "kv-get", "a")
        self.replies("", "kv-set", "empty", "")
        self.replies("", "kv-get", "empty")
        self.replies("5", "kv-increment", "n", "5")
        self.replies("42", "kv-increment", "n", "37")
        self.fails("failed", "kv-increment", "a", "1", words="not a whole decimal number")
        self.fails("failed", "kv-increment", "n", str(2**63 - 1), words="does not fit")
        self.fails("failed", "kv-increment", "n", str(2**64 - 1), words="does not fit")
        self.fails("bad-arguments", "kv-increment", "n", "many")
        self.replies("a\nempty\nn", "kv-keys")
        self.replies("", "kv-delete", "a")
        self.replies("", "kv-delete", "a")
        self.fails("not-found", "kv-get", "a")
        self.fails("failed", "kv-set", "", "x", words="not a key: it is empty")
        self.replies("", "kv-open", "default")
        self.fails("denied", "kv-open", "other")
        for number in range(1001):
            self.host.run("kv-set", f"many{number:04}", "")
        self.assertEqual(len(self.host.run("kv-keys").split(b"\n")), 1003)

    def test_state(self):
        self.assertTrue(self.host.run("state-set", "soon", "x", "3600000").isdigit())
        self.replies("x", "kv-get", "soon")
        self.fails("bad-arguments", "state-set", "soon", "x", "0", words="not a time to live")
        version = self.host.run("state-swap", "fresh", "0", "one").decode()
        self.fails("conflict", "state-swap", "fresh", "0", "two")
        self.fails("conflict", "state-swap", "fresh", "999999", "two")
        self.assertGreater(int(self.host.run("state-swap", "fresh", version, "two")), int(version))
        self.assertTrue(self.host.run("state-renew", "soon").isdigit())
        self.host.advance(3_599_999)
        self.replies("x", "kv-get", "soon")
        self.host.advance(1)
        self.fails("not-found", "kv-get", "soon")
        self.host.body = b"v" * 100_000
        self.assertTrue(self.host.run("state-put", "large").isdigit())
        self.host.body = b"v" * ((1 << 20) + 1)
        self.fails("bad-arguments", "state-put", "large", words="1048577 where 1048576 are allowed")
        self.host.stores_fail = Failure("unavailable", "state is unavailable; try again later")
        self.fails("unavailable", "state-put", "large")
        self.fails("failed", "kv-get", "large", words="try again later")

    def test_quotas_and_batches(self):
        self.replies("", "hoard", "0", "40", str(1 << 20))
        self.fails("failed", "hoard", "40", "64", str(1 << 20), words="the store's quota of 67108864 bytes is used up")
        self.stopped("plugin-limit", "hoard", "0", "64", str(1 << 20))
        self.replies("", "hoard", "0", "64", "1")
        self.replies("[('b0', b'last'), ('b1', b'b1'), None] False", "batch", "2")
        self.replies("a call in keys is too large: 1001 where 1000 are allowed", "batch", "1000")
        self.fails("not-found", "kv-get", "b1")

    def test_http(self):
        self.host.body = b""
        self.replies("200 grüße\nGET word ", "http", "GET", "http://web/echo?a=b", "word", "0")
        self.host.body = bytes(range(256))
        self.replies(b"200 gr\xc3\xbc\xc3\x9fe\nPOST word " + bytes(range(256)), "http", "POST", "http://WEB:80/echo", "word", "0")
        self.replies("404 grüße\nno such thing", "http", "GET", "http://web/missing", "word", "0")
        self.replies("302 grüße\n", "http", "GET", "http://web/moved", "word", "0")
        self.fails("denied", "http", "GET", "http://localhost:1/echo", "word", "0")
        self.fails("denied", "http", "GET", "https://web/echo", "word", "0")
        self.fails("bad-arguments", "http", "GET", "http://web/echo", "a\r\nb: c", "0", words="control characters")
        self.fails("unavailable", "http", "GET", "http://web/silent", "word", "100", words="in time")
        self.fails("unavailable", "http", "GET", "http://web/broken", "word", "0")
        self.fails("failed", "http", "GET", "http://web/large", "word", "0", words="more than 8 MiB")
        self.stopped("timeout", "http", "GET", "http://web/silent", "word", "0")
        for method, url, words in [
            ("GE T", "http://web", "the method"),
            ("M" * 33, "http://web", "the method"),
            ("GET", "nowhere", "does not begin with"),
            ("GET", "ftp://web", "does not begin with"),
            ("GET", "http://", "names no host"),
            ("GET", "http://web/b c", "%XX"),
            ("GET", "http://web/grüße", "%XX"),
            ("GET", "http://user:word@web/", "user's name"),
            ("GET", "http://a:b:c/", "the URL can't be one"),
            ("GET", "http://web/" + "x" * (16 << 10), "too long"),
        ]:
            self.fails("bad-arguments", "http", method, url, "word", "0", words=words)
        self.fails("bad-arguments", "http", "GET", "http://web", "x" * (16 << 10), "0", words="larger than 16 KiB")

    def test_an_instance_counts_its_calls(self):
        before = int(self.host.run("count"))
        self.replies(str(before + 1), "count")


class Bounds(Case):
    def test_no_test_waits_and_time_is_used_up(self):
        self.replies("3500", "wait", "1500")
        self.replies("3500", "wait", "1500")
        self.stopped("timeout", "wait", "5000")
        self.host.time_left_ms = 10_000
        self.replies("5000", "wait", "5000")

    def test_clocks_are_the_hosts(self):
        host = Host(unix_time=86_400)
        host.advance(1500)
        told = b"86401500 86401.5 1970-01-02 00:00:01.500000 1970-01-02 1970-01-02 00:00:01 True"
        self.assertEqual(host.run("now"), told)
        self.assertGreater(time.time(), 1_700_000_000)
        self.assertGreater(datetime.now().year, 2024)

    def test_numbers_follow_from_a_seed(self):
        self.assertEqual(Host(seed=1).run("draw"), Host(seed=1).run("draw"))
        self.assertNotEqual(Host(seed=1).run("draw"), Host(seed=2).run("draw"))
        self.assertNotEqual(self.host.run("draw"), self.host.run("draw"))
        before = random.getstate()
        self.host.run("draw")
        self.assertEqual(random.getstate(), before)

    def test_what_a_call_may_use(self):
        self.replies("", "many", "10000")
        self.stopped("plugin-limit", "many", "10001")
        self.assertEqual(len(self.host.run("large", str(1 << 20))), 1 << 20)
        self.stopped("plugin-limit", "large", str((1 << 20) + 1))
        self.host.body = b"x" * (17 << 20)
        self.stopped("plugin-limit", "state-put", "a")
        self.stopped("plugin-trapped", "leave")
        for kind in ("surrogate", "number", "time", "sum", "limit", "timeout"):
            self.stopped("plugin-trapped", "cross", kind)

    def test_files_and_other_commands(self):
        self.host.files = {"/proc/loadavg": "0.1 0.2", "/gone": None, "/large": bytes((1 << 20) + 1)}
        self.replies("0.1 0.2", "read", "/proc/loadavg")
        self.fails("not-found", "read", "/gone")
        self.fails("failed", "read", "/large", words="larger than 1 MiB")
        self.fails("denied", "read", "/etc/passwd")
        self.host.files = {"/held": Failure("unavailable", "the file can't be read")}
        self.fails("unavailable", "read", "/held")
        self.host.commands = {"echo": lambda arguments, body: b" ".join([*map(str.encode, arguments), body]), "hi": 5}
        self.replies("echo a body", "run", "echo")
        self.replies("5", "run", "hi")
        self.fails("forbidden", "run", "other")

        def refuse(arguments, body):
            raise Failure("conflict", "not now")

        self.host.commands = {"echo": refuse, "hi": Failure("timeout", "too late")}
        self.fails("conflict", "run", "echo", words="not now")
        self.fails("timeout", "run", "hi", words="too late")

    def test_a_fault_of_the_test_is_no_failure_of_the_plugins(self):
        self.host.web = {"http://web": lambda request: self.assertEqual(request.url, "other")}
        with self.assertRaises(AssertionError):
            self.host.run("swallow", "http://web/")
        with self.assertRaises(TypeError):
            self.host.run("echo", 1)
        with self.assertRaises(RuntimeError):
            state.get("a")

    def test_a_host_is_of_its_test_alone(self):
        host = Host(stores={"default": {"a": "1"}, "other": {"b": b"2"}})
        with host:
            self.assertEqual((state.get("a").value, state.Store("other").get("b").value), (b"1", b"2"))
            state.set("a", "3", ttl_ms=1000)
            self.assertEqual(state.get("a").expires_in_ms, 1000)
        with self.host:
            self.assertIsNone(state.get("a"))
            with self.assertRaises(Failure):
                state.Store("other").get("b")


class Streams(Case):
    def test_parts_come_as_they_are_yielded(self):
        parts = self.host.stream("count-to", "3")
        self.assertEqual(next(parts), b"1")
        self.assertEqual(self.host.take_log(), ["counted 1"])
        self.assertEqual(list(parts), [b"2", b"3"])
        self.assertEqual(self.host.take_log(), ["counted 2", "counted 3", "done"])
        # Longer in all than a call may take.
        self.assertEqual(len(list(self.host.stream("count-to", "20"))), 20)
        self.host.time_left_ms = 1000
        with self.assertRaises(Stopped):
            list(self.host.stream("count-to", "2"))

    def test_a_command_that_is_dropped_does_nothing_more(self):
        parts = self.host.stream("count-to", "3")
        next(parts)
        parts.close()
        self.assertEqual(self.host.take_log(), ["counted 1"])
        with self.host:
            self.assertIsNone(state.get("done"))

    def test_a_failure_comes_after_the_parts(self):
        seen = []
        with self.assertRaises(Failure) as failed:
            for part in self.host.stream("count-async", "2"):
                seen.append(part)
        self.assertEqual((seen, failed.exception.code), ([b"1\n", b"2\n"], "conflict"))
        with self.assertRaises(Failure) as failed:
            next(self.host.stream("count-to"))
        self.assertEqual((failed.exception.code, failed.exception.message), ("bad-arguments", "usage: count-to TO"))

    def test_what_a_part_may_be(self):
        for kind, parts in [("none", []), ("empty", []), ("bytes", [b"\xff"]), ("number", [b"1.5"])]:
            self.assertEqual(list(self.host.stream("odd", kind)), parts)
        with self.assertRaises(Failure) as failed:
            list(self.host.stream("odd", "object"))
        self.assertIsInstance(failed.exception.__cause__, TypeError)
        self.assertEqual(list(self.host.stream("nothing")), [])
        # A command that replies with a whole is one part.
        self.assertEqual(list(self.host.stream("echo", "a")), [b"a"])

    def test_events_come_to_those_who_subscribed(self):
        host = Host(events=[("a/1", "x"), ("b", "y"), ("a/2", "zz")])
        self.assertEqual(list(host.stream("follow", "a/*")), [b"a/1 1 0\n", b"a/2 2 0\n"])
        parts = Host(events=[("a", "x")]).stream("follow-on", "a")
        self.assertEqual(next(parts), b"x")
        with self.assertRaises(Stopped) as stopped:
            next(parts)
        self.assertEqual(stopped.exception.code, "cancelled")

    def test_who_is_slow_loses_the_oldest(self):
        host = Host(events=[("jobs", "first")])
        self.assertEqual(host.run("publish", "jobs", "nobody hears"), b"0")
        parts = host.stream("follow", "jobs")
        self.assertEqual(next(parts), b"jobs 5 0\n")
        for _ in range(258):
            self.assertEqual(host.run("publish", "jobs", "x"), b"1")
        self.assertEqual(host.take_published()[0], Event("jobs", b"nobody hears"))
        self.assertEqual([next(parts), next(parts)], [b"jobs 1 2\n", b"jobs 1 0\n"])
        for topic, data, code in [("", "x", "bad-arguments"), ("a b", "x", "bad-arguments"), ("a", "x" * 65_537, "bad-arguments")]:
            self.host.body = b""
            self.fails(code, "publish", topic, data)
        self.fails("unavailable", "subscribe", "a")

    def test_decorators_say_which_of_them_fits(self):
        def parts():
            yield 1

        async def later():
            return 1

        for decorator, function, words in [
            (command, parts, "write @stream"),
            (command, later, "write def"),
            (stream, later, "has no yield"),
        ]:
            with self.assertRaisesRegex(TypeError, words):
                decorator("x", "x")(function)


if __name__ == "__main__":
    unittest.main()
