"""Topics, by which plugins tell each other and clients what happens. Needs `events = ["TOPIC"]` in the plugin's grants.

    @stream("follow TOPIC", "tells what is published to a topic")
    def follow(topic):
        events.subscribe(topic)
        while True:
            yield events.next().data + b"\\n"
"""

from wit_world.imports import events as _events
from wit_world.imports.events import Event

from ._failure import host as _host
from ._values import octets as _octets
from ._values import optional as _optional
from ._values import text as _text
from ._values import whole as _whole

__all__ = ["Event", "next", "publish", "subscribe"]


@_host
def publish(topic: str, data: str | bytes) -> int:
    """Publishes to a topic, at most 64 KiB; gives how many commands it goes to."""
    return _events.publish(_text("events.publish: the topic", topic), _octets("events.publish: the data", data))


@_host
def subscribe(topics: str) -> None:
    """Subscribes to a topic, or with a `*` at its end to all that begin so, until the command ends.

    For commands that stream; in others it fails with `unavailable`. At most 32 times.
    """
    _events.subscribe(_text("events.subscribe: the topics", topics))


@_host
def next(timeout_ms: int | None = None) -> Event | None:
    """Waits for the next event: its `topic`, its `data`, and how many were `lost` before it because the command was slow.

    None where none came in `timeout_ms`. While it waits, no time passes for the plugin's `timeout`.
    """
    return _events.next(_optional(_whole, "events.next: timeout_ms", timeout_ms))
