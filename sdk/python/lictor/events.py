"""Topics, by which plugins tell each other and clients what happens. A command of Python can publish; to subscribe is for
commands that stream."""

from wit_world.imports import events as _events

from ._failure import host as _host


@_host
def publish(topic: str, data: str | bytes) -> int:
    """Publishes to a topic, at most 64 KiB; gives how many commands it goes to. Needs `events = ["TOPIC"]` in the grants."""
    return _events.publish(topic, data.encode() if isinstance(data, str) else bytes(data))
