"""Topics."""

import re
from dataclasses import dataclass

from .. import MILLISECOND, Call, Stopped, count, current, octets, size
from .types import fails

TOPIC = re.compile(r"[A-Za-z0-9._\-/:]{1,128}")
PATTERN = re.compile(r"[A-Za-z0-9._\-/:]{1,128}|[A-Za-z0-9._\-/:]{0,127}\*")
MOST_BYTES = 64 << 10
MOST_WAITING = 256
MOST_WAITING_BYTES = 256 << 10
MOST_PATTERNS = 32


@dataclass
class Event:
    """What was published."""

    topic: str
    data: bytes
    lost: int = 0


def publish(topic: str, data: bytes) -> int:
    world = current()
    world.operation(size(topic) + len(octets(data)))
    if TOPIC.fullmatch(topic) is None:
        raise fails("bad-arguments", "a topic is 1 to 128 letters, digits and . _ - / :")
    if len(data) > MOST_BYTES:
        raise fails("bad-arguments", "an event has at most 65536 bytes")
    event = Event(topic, data)
    world.published.append(event)
    reached = [stream for stream in world.streams if _wants(stream, topic)]
    for stream in reached:
        _put(stream, event)
    return len(reached)


def subscribe(topics: str) -> None:
    world = current()
    world.operation(size(topics))
    call = world.call
    if call is None or not call.streams:
        raise fails("unavailable", "only a command that streams may subscribe")
    if PATTERN.fullmatch(topics) is None:
        raise fails("bad-arguments", "this is no topic, and no start of topics with a * behind it")
    if len(call.patterns) == MOST_PATTERNS:
        raise fails("failed", "a command subscribes 32 times at most")
    call.patterns.append(topics)


def next(timeout_ms: int | None) -> Event | None:
    world = current()
    timeout = None if timeout_ms is None else count(timeout_ms)
    call = world.call
    if call is None or not call.patterns:
        raise fails("failed", "there is nothing that it has subscribed to")
    if call.inbox:
        event = call.inbox.popleft()
        came, call.lost = Event(event.topic, event.data, call.lost), 0
        return came
    for event in world.coming:
        if _wants(call, event.topic):
            world.coming.remove(event)
            world.go_on(call)
            return event
    if timeout is None:
        raise Stopped("cancelled", "the command waits for an event, and the test has none that comes")
    # No time passes for the command while it waits.
    world.elapsed += timeout * MILLISECOND
    call.ends += timeout * MILLISECOND
    return None


def _wants(call: Call, topic: str) -> bool:
    return any(topic.startswith(known[:-1]) if known.endswith("*") else topic == known for known in call.patterns)


def _put(call: Call, event: Event) -> None:
    """Of those that wait the oldest are lost."""
    call.inbox.append(event)
    while len(call.inbox) > MOST_WAITING or sum(len(one.topic) + len(one.data) for one in call.inbox) > MOST_WAITING_BYTES:
        call.inbox.popleft()
        call.lost += 1
