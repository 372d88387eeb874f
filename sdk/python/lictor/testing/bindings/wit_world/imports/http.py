"""HTTP requests, answered by the web of a test."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from .. import MILLISECOND, World, count, current, octets, pairs, size, text
from .types import fails

MOST_BODY_BYTES = 8 << 20
# The most time that a request leaves to its call.
TO_ANSWER_MS = 250
MOST_PATH_BYTES = 16 << 10
MOST_METHOD_BYTES = 32
MOST_AUTHORITY_BYTES = 1 << 10
# Of a request's header, with what the host needs to keep each field; of a response's.
MOST_HEADER_BYTES = 16 << 10
KEPT_BYTES = 224
MOST_RECEIVED_BYTES = 64 << 10
MOST_RECEIVED_FIELDS = 256
# A colon, a space and the end of a line.
FIELD_BYTES = 4
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
AUTHORITY = re.compile(r"(\[[0-9A-Za-z:.%]*\]|[0-9A-Za-z._~!$&'()*+,;=-]+)(:[0-9A-Za-z._~!$&'()*+,;=-]*)?")
LABEL = re.compile(r"[a-z0-9_-]{1,63}")
OF_THE_HOST = {
    "connection", "host", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
    "transfer-encoding", "upgrade",
}  # fmt: skip
PORTS = {"http": 80, "https": 443}


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
    method, url, body = text(request.method), text(request.url), octets(request.body)
    headers = [(text(name), text(value)) for name, value in pairs(request.headers)]
    timeout = None if request.timeout_ms is None else count(request.timeout_ms)
    world.operation(size(method) + size(url) + sum(size(name) + size(value) + FIELD_BYTES for name, value in headers))
    asked = _parts(url)
    _check(headers, len(body))
    if len(method) > MOST_METHOD_BYTES or TOKEN.fullmatch(method) is None:
        raise fails("bad-arguments", "the method can't be one")
    # It would make a tunnel of the connection.
    answers = [] if method == "CONNECT" else [answer for granted, answer in world.web.items() if _covers(_parts(granted), asked)]
    if not answers:
        raise fails("denied", "this URL is not granted to the plugin")
    world.carry(len(body))
    return _answered(world, answers[-1], Request(method, url, headers, body, timeout))


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
    return _received(world, request.method, response)


def _received(world: World, method: str, response: Response) -> Response:
    """The response as the plugin gets it, if it is not too large: the fields of one name beside each other."""
    fields: dict[str, list[str]] = {}
    for name, value in response.headers:
        fields.setdefault(name.lower(), []).append(value.strip(" \t"))
    headers = [(name, value) for name, values in fields.items() for value in values]
    head = sum(size(name) + size(value) + FIELD_BYTES for name, value in headers)
    if len(headers) > MOST_RECEIVED_FIELDS or head > MOST_RECEIVED_BYTES:
        raise fails("failed", "the header of the server's answer is too large")
    # What a server may write behind such a head is no part of its answer.
    body = b"" if method == "HEAD" or response.status in (204, 304) else response.body
    if len(body) > MOST_BODY_BYTES:
        raise fails("failed", "the server's answer has more than 8 MiB")
    world.carry(head + len(body))
    return Response(response.status, headers, body)


def _parts(url: str) -> tuple[str, str, str]:
    """The scheme, the authority and the path of a URL that can be one."""
    if not all("!" <= character <= "~" for character in url):
        raise _no_url("has a space or another character that has to be written as %XX")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in PORTS:
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
    plain, _, query = path.partition("?")
    if AUTHORITY.fullmatch(authority) is None or re.search("[<>`]", plain) or re.search("[<>]", query):
        raise _no_url("can't be one")
    return scheme, authority, path if path.startswith("/") else f"/{path}"


def _no_url(why: str):
    return fails("bad-arguments", f"the URL {why}")


def _origin(scheme: str, authority: str) -> tuple[str, str, int] | None:
    """Scheme, host and port in one way of writing; None where the authority can be read in two ways."""
    host, separator, digits = authority.rpartition(":")
    if not separator or digits.endswith("]"):
        host, digits = authority, str(PORTS[scheme])
    name = _host(host)
    is_port = digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536
    return (scheme, name, int(digits)) if name and is_port else None


def _host(text: str) -> str | None:
    try:
        if text.startswith("["):
            return str(IPv6Address(text[1:-1])) if text.endswith("]") and "%" not in text else None
        return str(IPv4Address(text))
    except ValueError:
        name = text.removesuffix(".").lower()
        is_name = len(name) <= 253 and all(map(LABEL.fullmatch, name.split(".")))
        # What looks like an address, with a dot behind it, is looked up as a name.
        return f"{name}." if is_name else None


def _covers(granted: tuple[str, str, str], asked: tuple[str, str, str]) -> bool:
    """Whether the granted URL holds this one: `/v1` holds `/v1/x` and not `/v10`."""
    origin, start, path = _origin(*asked[:2]), granted[2], asked[2].partition("?")[0]
    if origin is None or origin != _origin(*granted[:2]) or not path.startswith(start):
        return False
    is_below = path == start or start.endswith("/") or path[len(start)] == "/"
    return start == "/" or (is_below and not _is_ambiguous(path))


def _is_ambiguous(path: str) -> bool:
    """Whether some server might take the path for another than its letters say."""
    if "\\" in path or any(segment.partition(";")[0] in (".", "..") for segment in path.split("/")):
        return True
    return any(re.match(r"(?!0|1|7f|2e|2f|5c|25|3b)[0-9a-f]{2}", rest, re.IGNORECASE) is None for rest in path.split("%")[1:])


def _check(headers: list[tuple[str, str]], length: int) -> None:
    for name, value in headers:
        shown = name if len(name) <= 64 else f"{name[:64]}…"
        if TOKEN.fullmatch(name) is None:
            raise fails("bad-arguments", f"the header {shown} can't be sent: it is no name")
        if name.lower() in OF_THE_HOST:
            raise fails("bad-arguments", f"the header {shown} is the host's to send")
        if name.lower() == "content-length" and value.strip() != str(length):
            raise fails("bad-arguments", f"the header {shown} is not the body's length; it is sent without being set")
        if any((character < " " and character != "\t") or character == "\x7f" for character in value):
            raise fails("bad-arguments", f"the header {shown} can't be sent: its value has control characters")
    if sum(size(name) + size(value) + KEPT_BYTES for name, value in headers) > MOST_HEADER_BYTES:
        raise fails("bad-arguments", "the headers are larger than 16 KiB")
