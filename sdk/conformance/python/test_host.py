"""What the host of tests, `lictor.testing`, has beside what docs/conformance.md asks for."""

import importlib
import inspect
import mimetypes
import os
import pickle
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from datetime import date, datetime
from pathlib import Path
from time import sleep
from unittest import mock

from lictor import call, clock, command, config, events, files, header, http, log_event, state, time_left
from lictor import _errors
from lictor import random as lictor_random
from lictor.testing import Failure, Host

from componentize_py_types import Err
from test_conformance import Case
from wit_world.imports import batch, keyvalue


@command("wait MS", "sleeps")
def wait(milliseconds):
    sleep(int(milliseconds) / 1000)
    return time_left()


@command("now", "tells the time in each of the ways that there are")
def now():
    strange = datetime(2026, 1, 2)
    kinds = isinstance(strange, datetime) and isinstance(strange, date) and not isinstance("", datetime)
    kinds = kinds and pickle.loads(pickle.dumps([strange, strange.date()])) == [strange, strange.date()]
    return f"{clock.now()} {time.time()} {datetime.now():%F %T.%f} {date.today()} {time.strftime('%F %T')} {kinds}"


@command("draw", "draws numbers")
def draw():
    return f"{random.random()} {secrets.token_hex(4)} {uuid.uuid4()}"


@command("head NAME VALUE", "sends a header")
def head(name, value):
    return http.get("http://web/", headers={name: value}).body


@command("read PATH", "reads a file")
def read(path):
    return files.read(path)


@command("run NAME", "runs another command")
def run_other(name):
    return call([name, "a"], body="body")


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


CROSSING = {
    "set": lambda: state.set(5, "x"),
    "value": lambda: state.set("a", 5),
    "surrogate": lambda: state.get("\ud800"),
    "time": lambda: state.set("a", "b", ttl_ms=-1),
    "sum": lambda: state.increment("a", 2**63),
    "version": lambda: state.compare_and_set("a", "1", "b"),
    "swap": lambda: state.compare_and_delete("a", None),
    "touch": lambda: state.touch("a", 1.5),
    "prefix": lambda: state.list_keys(5),
    "after": lambda: state.list_keys(after=5),
    "limit": lambda: state.list_keys(limit=2**32),
    "store": lambda: state.Store(None),
    "method": lambda: http.send(5, "http://web/"),
    "url": lambda: http.get(b"http://web/"),
    "field": lambda: http.get("http://web/", headers={"a": b"b"}),
    "body": lambda: http.post("http://web/", {"a": 1}),
    "timeout": lambda: http.get("http://web/", timeout_ms=2**64),
    "file": lambda: files.read(None),
    "line": lambda: call("echo hi"),
    "argument": lambda: call(["echo", None]),
    "sent": lambda: call(["echo"], body=5),
    "topic": lambda: events.publish(5, "x"),
    "data": lambda: events.publish("a", 5),
    "topics": lambda: events.subscribe(5),
    "wait": lambda: events.next("1"),
    "bytes": lambda: lictor_random.bytes("x"),
    "less": lambda: lictor_random.bytes(-1),
    "sleep": lambda: clock.sleep("x"),
    "level": lambda: log_event("loud", "x"),
    "message": lambda: log_event("info", 5),
    "context": lambda: log_event("info", "x", 5),
    "key": lambda: config.get(5),
    "header": lambda: header(5),
}


@command("cross KIND", "hands over what can't cross")
def cross(kind):
    try:
        CROSSING[kind]()
    except (TypeError, ValueError) as error:
        return f"caught {error}"


@command("open NAME", "hands the bindings what can't cross")
def open_store(kind):
    try:
        keyvalue.open({"number": 5, "surrogate": "\ud800"}[kind])
    except Exception as error:
        return f"caught {error}"


@command("dict", "gives a dict")
def gives_a_dict():
    return {}


def down(number):
    return over(number)


def over(number):
    return down(number + 1)


@command("deep", "goes down without end")
def deep():
    return down(0)


@command("leave", "exits")
def leave():
    sys.exit(3)


@command("swallow URL", "catches all it can")
def swallow(url):
    try:
        return http.get(url).body
    except Exception as error:
        return f"caught {error}"


@command("store NAME [KEY]", "reads from a store, or refuses to")
def read_a_store(name, key=None):
    if key is None:
        raise Failure("bad-arguments", "which key?")
    return state.Store(name).get(key)


@command("long CHARACTER", "raises a long error")
def raise_much(character):
    try:
        {}[character * 5000]
    except KeyError as error:
        raise ValueError(character * 5_000_000) from error


@command("lack NAME", "fails as an import does")
def lack(name):
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@command("json URL", "asks for JSON")
def read_json(url):
    return str(http.get(url).json())


TAKEN_AWAY = {
    "file open": lambda: open(__file__),
    "file write": lambda: open(f"{__file__}.new", "w"),
    "file pathlib": lambda: Path(__file__).read_text(),
    "file os": lambda: os.open(__file__, os.O_RDONLY),
    "file stat": lambda: os.stat(__file__),
    "file folder": lambda: os.listdir("/"),
    "file scan": lambda: list(os.scandir("/")),
    "file remove": lambda: os.remove("/none"),
    "file temporary": lambda: tempfile.mkstemp(),
    "no exists": lambda: os.path.exists(__file__),
    "no is_file": lambda: os.path.isfile(__file__),
    "socket socket": lambda: socket.socket(),
    "socket connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "socket name": lambda: socket.getaddrinfo("127.0.0.1", 9),
    "socket url": lambda: urllib.request.urlopen("http://127.0.0.1:9/"),
    "process run": lambda: subprocess.run(["true"]),
    "process system": lambda: os.system("true"),
    # What a component has in memory.
    "inside": lambda: importlib.import_module("wave") and len(inspect.getsource(lack)[:3] + mimetypes.guess_type("a.b")[0].__class__.__name__[:1]),
}


@command("outside WHAT", "asks for what is not there")
def outside(what):
    try:
        return str(TAKEN_AWAY[what]())
    except OSError as error:
        return f"{type(error).__name__}: {error}"


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
        self.assertEqual(pickle.loads(pickle.dumps(date(2026, 1, 2))), date(2026, 1, 2))

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

    def test_what_can_not_cross_is_an_error_with_its_place(self):
        for kind in CROSSING:
            self.assertRegex(self.host.run("cross", kind).decode(), "^caught .", kind)
        self.replies("caught state: the key has to be a text (str), not int: 5", "cross", "set")
        self.replies("caught state: ttl_ms has to be from 0 to 18446744073709551615, not -1", "cross", "time")
        for kind in ("number", "surrogate"):
            self.stopped("plugin-trapped", "open", kind)

    def test_what_nobody_caught_is_an_error_of_the_log_with_its_places(self):
        for name, words in [
            ("dict", r"the command dict, .*test_host.py:\d+ gives_a_dict, gave a value of the type dict"),
            ("deep", r"RecursionError: .* at .*:\d+ (down|over) .* 4\d\d times, in .*:\d+ (down|over) .* 4\d\d times, in .* deep .*"),
        ]:
            self.fails("failed", name)
            [line] = self.host.take_log()
            self.assertRegex(line, f"^error: uncaught {'TypeError: a reply is .*' if name == 'dict' else ''}{words}")
            self.assertNotIn("lictor/", line)
        self.stopped("plugin-trapped", "leave")
        [line] = self.host.take_log()
        self.assertRegex(line, r"^error: uncaught SystemExit: 3 at .*test_host.py:\d+ leave .*; sys.exit ends the call as a trap: ")

    def test_a_failure_of_the_hosts_that_nobody_caught_is_logged_and_the_authors_is_not(self):
        self.host.body = b"x"
        self.fails("failed", "store", "none", "a")
        self.host.stores_fail = Failure("unavailable", "the store is away")
        self.fails("unavailable", "store", "default", "a")
        for code, line in zip(["denied", "unavailable"], self.host.take_log(), strict=True):
            words = rf"^error: uncaught Failure: .* \(code {code}\) at .*test_host.py:\d+ read_a_store \(`return state.Store"
            self.assertRegex(line, words)
        self.host.stores_fail = None
        self.fails("bad-arguments", "store", "none")
        self.assertEqual(self.host.take_log(), [])

    def test_a_message_is_cut_and_its_place_is_not(self):
        for character in "v日":
            self.fails("failed", "long", character)
            [line] = self.host.take_log()
            self.assertRegex(line, f"^error: uncaught ValueError: {character}+… at .*test_host.py:\\d+ raise_much .*; caused by KeyError")
            self.assertLess(len(line.encode()), 2048)

    def test_advice_for_a_module_that_is_missing_fits(self):
        for name, words in [
            ("ssl", "ssl is a part of Python that plugins don't have"),
            ("fcntl", "fcntl is a part of Python that plugins don't have"),
            ("graphlib", "write `import graphlib` at the top of plugin.py"),
            ("graphlip", "no module is called graphlip: write it as it is spelt, or the package that has it into requirements.txt"),
        ]:
            with mock.patch.object(_errors, "at_hand", frozenset(["graphlib", "ssl"])):
                self.fails("failed", "lack", name)
            [line] = self.host.take_log()
            self.assertRegex(line, rf"^error: uncaught ModuleNotFoundError: No module named '{name}' at .*test_host.py:\d+ lack .*; .*{words}$")

    def test_a_command_has_no_files_sockets_and_processes(self):
        no_file, no_socket = "FileNotFoundError", "plugins get no sockets: use lictor.http"
        for what in TAKEN_AWAY.keys() - {"inside"}:
            told = self.host.run("outside", what).decode()
            self.assertRegex(told, {"no": "^False$", "file": f"^{no_file}", "socket": no_socket, "process": "^OSError"}[what.split(" ")[0]], what)
        self.assertEqual(self.host.run("outside", "inside"), b"4")
        # The test's own do, also while a command runs.
        with self.host:
            self.assertTrue(Path(__file__).exists())
        self.host.web = {"https://own/": lambda _: Path(__file__).read_text()[:1] + str(socket.socket().close())}
        self.replies('"None', "swallow", "https://own/")
        self.assertRegex(self.host.run("outside", "file open").decode(), no_file)
        self.assertTrue(Path(__file__).exists())

    def test_an_answer_that_is_no_json_is_a_failure(self):
        self.host.web = {"https://own/": "<html>", "https://other/": b"\xff"}
        self.fails("failed", "json", "https://own/a?key=x", words="the answer of https://own/a is no JSON: Expecting value")
        [line] = self.host.take_log()
        self.assertRegex(line, r"^error: uncaught Failure: the answer of .* at .*test_host.py:\d+ read_json")
        self.fails("failed", "json", "https://other/", words="the answer of https://other/ is no JSON: 'utf-8' codec")

    def test_files_and_other_commands(self):
        self.host.files = {"/proc/loadavg": "0.1 0.2", "/gone": None, "/large": bytes((1 << 20) + 1)}
        self.replies("0.1 0.2", "read", "/proc/loadavg")
        self.is_let_through("no such file", "read", "/gone")
        self.fails("failed", "read", "/large", words="larger than 1 MiB")
        self.is_let_through("not granted", "read", "/etc/passwd")
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

    def test_which_headers_are_sent_and_which_urls_are_granted(self):
        self.host.web = {"http://web/": lambda request: repr(request.headers), "http://web/v1": "one"}
        self.replies("[('X-A', 'grüße')]", "head", "X-A", "grüße")
        self.is_let_through("the header Host is the host's to send", "head", "Host", "other")
        self.is_let_through("it is no name", "head", "a b", "c")
        self.is_let_through("not the body's length", "head", "Content-Length", "5")
        self.host.web = {"http://web/v1": "one"}
        for url, code in [("v1", ""), ("v1/x", ""), ("v1?x", ""), ("v10", "denied"), ("v1/../x", "denied"), ("v1/%2e", "denied")]:
            reply = self.host.run("swallow", f"http://web/{url}")
            self.assertEqual(reply, b"one" if not code else b"caught this URL is not granted to the plugin", url)

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

    def test_quotas_and_batches(self):
        self.replies("", "hoard", "0", "40", str(1 << 20))
        self.fails("failed", "hoard", "40", "64", str(1 << 20), words="the store's quota of 67108864 bytes is used up")
        self.stopped("plugin-limit", "hoard", "0", "64", str(1 << 20))
        self.replies("", "hoard", "0", "64", "1")
        self.replies("[('b0', b'last'), ('b1', b'b1'), None] False", "batch", "2")
        self.replies("a call in keys is too large: 1001 where 1000 are allowed", "batch", "1000")
        self.fails("not-found", "kv-get", "b1")
