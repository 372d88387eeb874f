"""The commands of docs/conformance.md over the host of tests, with what the host's suite expects of them."""

import re
import time
import unittest

from lictor.testing import Failure, Host, Response, Stopped

import plugin


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

    def is_let_through(self, words, *arguments):
        """A failure of the host's that would blame the client is told to the log and not to the client."""
        self.host.take_log()
        self.fails("failed", *arguments, words="the plugin met an error that it did not expect")
        self.assertTrue(any("uncaught " in line and words in line for line in self.host.take_log()), words)

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
        self.assertRegex(self.host.take_log()[0], "^error: uncaught RuntimeError: the sky is falling at .*plugin.py:")

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
        self.is_let_through("not a time to live", "state-set", "soon", "x", "0")
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
        self.is_let_through("1048577 where 1048576 are allowed", "state-put", "large")
        self.host.stores_fail = Failure("unavailable", "state is unavailable; try again later")
        self.fails("unavailable", "state-put", "large")
        self.fails("failed", "kv-get", "large", words="try again later")

    def test_http(self):
        self.host.body = b""
        self.replies("200 grüße\nGET word ", "http", "GET", "http://web/echo?a=b", "word", "0")
        self.host.body = bytes(range(256))
        self.replies(b"200 gr\xc3\xbc\xc3\x9fe\nPOST word " + bytes(range(256)), "http", "POST", "http://WEB:80/echo", "word", "0")
        self.replies("404 grüße\nno such thing", "http", "GET", "http://web/missing", "word", "0")
        self.replies("302 grüße\n", "http", "GET", "http://web/moved", "word", "0")
        self.is_let_through("not granted", "http", "GET", "http://localhost:1/echo", "word", "0")
        self.is_let_through("not granted", "http", "GET", "https://web/echo", "word", "0")
        self.is_let_through("control characters", "http", "GET", "http://web/echo", "a\r\nb: c", "0")
        self.fails("unavailable", "http", "GET", "http://web/silent", "word", "100", words="in time")
        self.fails("unavailable", "http", "GET", "http://web/broken", "word", "0")
        self.fails("failed", "http", "GET", "http://web/large", "word", "0", words="more than 8 MiB")
        self.fails("unavailable", "http", "GET", "http://web/silent", "word", "0", words="in time")
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
            self.is_let_through(words, "http", method, url, "word", "0")
        self.is_let_through("larger than 16 KiB", "http", "GET", "http://web", "x" * (16 << 10), "0")

    def test_an_instance_counts_its_calls(self):
        before = int(self.host.run("count"))
        self.replies(str(before + 1), "count")
