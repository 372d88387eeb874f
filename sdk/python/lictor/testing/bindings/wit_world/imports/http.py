"""HTTP requests, answered by the web of a test."""

import re
from dataclasses import dataclass

from .. import MILLISECOND, World, count, current, octets, size, text
from .types import fails

MOST_BODY_BYTES = 8 << 20
# The most time that a request leaves to its call.
TO_ANSWER_MS = 250
MOST_HEADER_BYTES = 16 << 10
MOST_PATH_BYTES = 16 << 10
MOST_METHOD_BYTES = 32
MOST_AUTHORITY_BYTES = 1 << 10
# What a header takes beside its name and its value.
FIELD_BYTES = 224
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%\-]+)(:[0-9]*)?")
# In a path, where a part of the paths is granted: what a server might read as another one.
TWO_WAYS = re.compile(r"/\.{1,2}(/|$)|\\|%(2e|2f|5c|3b|25|[01][0-9a-f]|7f)", re.IGNORECASE)
OF_THE_HOST = {
    "connection", "host", "http2-settings", "keep-alive", "proxy-authorization", "proxy-connection", "transfer-encoding",
    "upgrade",
}  # fmt: skip


@dataclass
class Request:
    """What is sent."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes
    timeout_ms: int | None


@dataclass
class Response:
    """What came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def send(request: Request) -> Response:
    world = current()
    headers = [(text(name), text(value)) for name, value in request.headers]
    timeout = None if request.timeout_ms is None else count(request.timeout_ms)
    sizes = [size(name) + size(value) + FIELD_BYTES for name, value in headers]
    world.operation(size(request.method) + size(request.url) + sum(sizes))
    if len(request.method) > MOST_METHOD_BYTES or TOKEN.fullmatch(request.method) is None:
        raise fails("bad-arguments", "the method can't be one")
    place = _place(request.url)
    _check(headers, sizes, len(octets(request.body)))
    answers = [answer for granted, answer in world.web.items() if _covers(_place(granted), place)]
    if not answers:
        raise fails("denied", "this URL is not granted to the plugin")
    world.carry(len(request.body))
    return _answered(world, answers[-1], Request(request.method, request.url, headers, request.body, timeout))


def _answered(world: World, answer, request: Request) -> Response:
    began, call = world.elapsed, world.call
    world.call = None
    try:
        response = answer(request)
    finally:
        world.call = call
    took, world.elapsed = world.elapsed - began, began
    left = call.ends - world.elapsed
    limit = left - min(left // 10, TO_ANSWER_MS * MILLISECOND)
    if request.timeout_ms is not None:
        limit = min(limit, request.timeout_ms * MILLISECOND)
    world.sleep(min(took, limit))
    if took >= limit:
        raise fails("unavailable", "the server did not answer in time")
    if len(response.body) > MOST_BODY_BYTES:
        raise fails("failed", "the server's answer has more than 8 MiB")
    world.carry(len(response.body))
    return Response(response.status, [(name.lower(), value) for name, value in response.headers], response.body)


def _place(url: str) -> tuple[str, str, str]:
    """The scheme, the host with its port, and the path of a URL."""
    if not all("!" <= character <= "~" for character in url):
        raise _no_url("has a space or another character that has to be written as %XX")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("http", "https"):
        raise _no_url("does not begin with https:// or http://")
    rest = rest.partition("#")[0]
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    path = rest[len(authority) :]
    if "@" in authority:
        raise _no_url("has a user's name in it; a header says who asks")
    if not 1 <= len(authority) <= MOST_AUTHORITY_BYTES:
        raise _no_url("names no host")
    if len(path) > MOST_PATH_BYTES:
        raise _no_url("is too long")
    if AUTHORITY.fullmatch(authority) is None:
        raise _no_url("can't be one")
    port = ":443" if scheme == "https" else ":80"
    return scheme, authority.lower().removesuffix(port), path if path.startswith("/") else f"/{path}"


def _no_url(why: str):
    return fails("bad-arguments", f"the URL {why}")


def _covers(granted: tuple[str, str, str], asked: tuple[str, str, str]) -> bool:
    """Whether the start of the path is the granted one: `/v1` holds `/v1/x` and not `/v10`."""
    start, path = granted[2].rstrip("/"), asked[2]
    if granted[:2] != asked[:2] or (start and TWO_WAYS.search(path.partition("?")[0])):
        return False
    return path == start or path.startswith((f"{start}/", f"{start}?"))


def _check(headers: list[tuple[str, str]], sizes: list[int], length: int) -> None:
    for name, value in headers:
        if TOKEN.fullmatch(name) is None:
            raise fails("bad-arguments", f"the header {name} can't be sent: it is no name")
        if name.lower() in OF_THE_HOST:
            raise fails("bad-arguments", f"the header {name} is the host's to send")
        if name.lower() == "content-length" and value.strip() != str(length):
            raise fails("bad-arguments", f"the header {name} is not the body's length; it is sent without being set")
        if any((character < " " and character != "\t") or character == "\x7f" for character in value):
            raise fails("bad-arguments", f"the header {name} can't be sent: its value has control characters")
    if sum(sizes) > MOST_HEADER_BYTES:
        raise fails("bad-arguments", "the headers are larger than 16 KiB")
