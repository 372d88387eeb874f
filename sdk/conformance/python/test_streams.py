"""Replies in parts, and topics, over the host of tests."""

import asyncio
import time

from lictor import command, events, log, state, stream
from lictor.testing import Event, Failure, Host, Stopped

from test_conformance import Case


@command("publish TOPIC DATA", "publishes")
def publish(topic, data):
    return events.publish(topic, data)


@command("subscribe TOPIC", "can't")
def subscribe(topic):
    events.subscribe(topic)


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


@stream("wait-for-ever", "waits for what never comes")
async def wait_for_ever():
    yield "x"
    await asyncio.Event().wait()


@stream("forget HOW", "leaves an exception behind that nobody asks for")
async def forget(how):
    if how == "future":
        asyncio.get_running_loop().create_future().set_exception(RuntimeError("left"))
    else:
        kept = asyncio.create_task(fails())
    yield "1"
    await asyncio.sleep(1)
    if how == "asked":
        yield repr(kept.exception())
    if how == "stuck":
        await asyncio.Event().wait()


async def fails():
    raise RuntimeError("left")


@stream("lacks", "asks the loop for threads")
async def lacks():
    yield await asyncio.to_thread(lambda: 1)


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
            parts = self.host.stream("count-to", "3")
            next(parts)
            parts.close()
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

    def test_what_never_comes_is_not_waited_for(self):
        parts = self.host.stream("wait-for-ever")
        self.assertEqual(next(parts), b"x")
        with self.assertRaises(Stopped) as stopped:
            next(parts)
        self.assertEqual(stopped.exception.code, "plugin-trapped")

    def test_an_exception_that_nobody_asks_for_is_logged(self):
        for how in ("task", "future"):
            self.assertEqual(list(self.host.stream("forget", how)), [b"1"])
            [line] = self.host.take_log()
            self.assertRegex(line, "^error: uncaught RuntimeError: left")
        self.assertEqual(list(self.host.stream("forget", "asked")), [b"1", b"RuntimeError('left')"])
        self.assertEqual(self.host.take_log(), [])
        with self.assertRaises(Stopped):
            list(self.host.stream("forget", "stuck"))
        self.assertRegex(self.host.take_log()[0], r"^error: uncaught RuntimeError: left at .*test_streams.py:\d+ fails")
        with self.assertRaises(Failure) as failed:
            list(self.host.stream("lacks"))
        self.assertIsInstance(failed.exception.__cause__, NotImplementedError)

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
        for topic, data in [("", "x"), ("a b", "x"), ("a", "x" * 65_537)]:
            self.host.body = b""
            self.fails("failed", "publish", topic, data, words="did not expect")
        self.fails("unavailable", "subscribe", "a")

    def test_decorators_say_which_of_them_fits(self):
        with self.assertRaisesRegex(TypeError, r'write host.stream\("count-to", …\)'):
            self.host.run("count-to", "3")

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

    def test_a_command_that_its_function_can_not_carry_out_fails_at_once(self):
        for usage, function, words in [
            ("greet WHO", lambda: None, r'"greet WHO" may give 1 arguments, which .*test_streams.py:\d+ .* too many'),
            ("greet WHO", lambda who, how: None, "missing a required argument: 'how'"),
            ("greet [WHO]", lambda who: None, "may give 0 arguments"),
            ("greet WHO [HOW]", lambda who: None, "may give 2 arguments"),
            ("greet WHO...", lambda who, how="x": None, "too many"),
            ("greet", lambda *, who: None, "missing a required .*argument: 'who'"),
        ]:
            with self.assertRaisesRegex(TypeError, words, msg=usage):
                command(usage, "x")(function)
        with self.assertRaisesRegex(ValueError, r"two functions are the command count-to: .*:\d+ count_to and .*test_streams"):
            command("count-to", "x")(lambda: None)
        self.fails("not-found", "greet", "a")
