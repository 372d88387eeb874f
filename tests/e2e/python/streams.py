"""A plugin whose replies come in parts, good ones and bad ones, one command for each."""

import asyncio
import time

from lictor import Failure, body, caller, command, events, http, log, stream, time_left


@command("hello [NAME]", "a whole reply", idempotent=True)
def hello(name="world"):
    if name == "nobody":
        raise Failure("conflict", "refused")
    if name == "fault":
        return 1 / 0
    return f"hello {name}"


@stream("count TO [EVERY-MS]", "counts", idempotent=True)
def count(to, every="0"):
    for number in range(1, int(to) + 1):
        yield f"{number}\n"
        time.sleep(int(every) / 1000)


@stream("timers TO", "counts, two timers at a time")
async def timers(to):
    for number in range(1, int(to) + 1):
        await asyncio.gather(asyncio.sleep(0.2), asyncio.sleep(0.2))
        yield f"{number}\n"
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.1)
    except TimeoutError:
        yield "waited"


@stream("waits HOW", "leaves a task behind, or waits for what never comes")
async def waits(how):
    event = asyncio.Event()
    match how:
        case "at-once":
            await event.wait()
        case "later":
            yield "x"
            await event.wait()
        case "not":
            task = asyncio.create_task(asyncio.sleep(3600))
            yield "x"
            assert not task.done()
            yield "y"


async def rejected():
    await asyncio.sleep(0.01)
    raise RuntimeError("in a task")


@stream("leave HOW", "leaves an exception behind that nobody asks for, or that somebody does")
async def leave(how):
    match how:
        case "task":
            asyncio.create_task(rejected())
        case "future":
            asyncio.get_running_loop().create_future().set_exception(RuntimeError("in a future"))
        case "callback":
            asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        case "asked":
            await asyncio.wait([task := asyncio.create_task(rejected())])
            yield task.exception().args[0]
    yield "1"
    await asyncio.sleep(0.05)
    yield "2"


@stream("lacks HOW", "asks the loop for what a plugin has not")
async def lacks(how):
    try:
        match how:
            case "threads":
                await asyncio.to_thread(lambda: 1)
            case "sockets":
                await asyncio.open_connection("127.0.0.1", 1)
            case "programs":
                await asyncio.create_subprocess_exec("true")
    except NotImplementedError:
        yield "not there"


@stream("kinds", "parts of each kind")
def kinds():
    yield from ["text ☃ \ud800 ", b"\xff\0", bytearray(b"ab"), memoryview(b"cd"), 1, 1.5, None, ""]


@stream("nothing", "yields nothing")
def nothing():
    yield from ()


@stream("break-off TO [HOW]", "ends in the middle")
def break_off(to, how="failure"):
    yield from (f"{number}\n" for number in range(1, int(to) + 1))
    match how:
        case "failure":
            raise Failure("not-found", "no more")
        case "fault":
            raise RuntimeError("in the middle")
        case "object":
            yield object()
        case "exit":
            raise SystemExit
        case "spin":
            while True:
                pass
        case "stall":
            time.sleep(3600)
        case "swallow":
            try:
                raise Failure("not-found", "no more")
            except Failure:
                yield "caught"


def forever():
    while True:
        yield "."
        time.sleep(0.005)


@stream("whole BYTES", "one part")
def whole(size):
    yield b"w" * int(size)


@stream("flood", "writes for as long as somebody reads")
def flood():
    mebibytes = 0
    while True:
        for _ in range(16):
            yield b"f" * 65536
        mebibytes += 1
        log(f"flooded {mebibytes}")


@stream("ends", "yields for ever, and would say when it ends")
def ends():
    try:
        yield from forever()
    finally:
        log("finally ran")


@stream("prints COUNT", "prints between parts")
def prints(times):
    for number in range(int(times)):
        print(f"printed {number} ", end="x" * 1000)
        yield "."


@stream("caller", "tells of the request")
def who():
    yield f"{caller().name} {body()} {0 < time_left() <= 60_000}"


@stream("fetch COUNT URL", "fetches, a part for each")
def fetch(times, url):
    for _ in range(int(times)):
        yield http.get(url).body


@stream("subscribe TOPICS [TIMEOUT-MS]", "tells what is published")
def subscribe(topics, timeout=None):
    events.subscribe(topics)
    while event := events.next(None if timeout is None else int(timeout)):
        yield f"{event.topic} {event.data.decode()} {event.lost}\n"


@stream("publish TOPIC DATA", "publishes")
def publish(topic, data):
    yield events.publish(topic, data)
