"""HTTP requests. Needs `http = ["https://HOST"]` in the plugin's grants.

    from lictor import http

    answer = http.get("https://api.example.com/things")
    if answer.ok:
        things = answer.json()

A response of any status is a response; no redirection is followed. Where there is no response, `lictor.Failure` is raised with
a `code` (`denied`, `unavailable`, `failed`, `bad-arguments`) and a `message`. Where a command does not catch it, `lictor.Failure`
says what the client is told.
"""

import json as _json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wit_world.imports import http as _http

from ._failure import host as _host
from ._failure import of_host as _of_host
from ._values import octets as _octets
from ._values import optional as _optional
from ._values import text as _text
from ._values import whole as _whole

__all__ = ["Response", "get", "post", "send"]


@dataclass
class Response:
    """What the server answered."""

    status: int
    """200 and its like."""
    headers: list[tuple[str, str]]
    """Names in lower case, and values, in the order in which they came; those of one name stand together."""
    body: bytes
    """All of it."""
    url: str = ""
    """What was asked, without its query."""

    @property
    def ok(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status <= 299

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((value for known, value in self.headers if known == name.lower()), None)

    def text(self) -> str:
        """The body as text in UTF-8; bytes that are none become U+FFFD, and no error is raised."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """What the body is in JSON. Where it is none, the command fails with `failed`, unless it catches this `Failure`."""
        try:
            return _json.loads(self.body)
        except ValueError as error:
            raise _of_host("failed", f"the answer of {self.url} is no JSON: {error}") from None


@_host
def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: str | bytes = b"",
    json: Any = None,
    timeout_ms: int | None = None,
) -> Response:
    """Sends a request and waits for the whole response, at most `timeout_ms`. `json` is a body in JSON, with its header."""
    fields = [_field(*field) for field in (headers.items() if isinstance(headers, Mapping) else headers)]
    if json is not None:
        body = _json.dumps(json)
        if not any(name.lower() == "content-type" for name, _ in fields):
            fields.append(("content-type", "application/json"))
    sent = _octets("http: the body (json= sends a value as JSON)", body)
    method, url = _text("http: the method", method).upper(), _text("http: the URL", url)
    answer = _http.send(_http.Request(method, url, fields, sent, _optional(_whole, "http: timeout_ms", timeout_ms)))
    return Response(answer.status, answer.headers, answer.body, url.partition("?")[0])


def _field(name: str, value: object) -> tuple[str, str]:
    value = str(value) if isinstance(value, int | float) else value
    return _text("http: the name of a header", name), _text(f"http: the header {name}", value)


def get(url: str, **options: Any) -> Response:
    """Sends a `GET`. The options are those of `send`."""
    return send("GET", url, **options)


def post(url: str, body: str | bytes = b"", **options: Any) -> Response:
    """Sends a `POST`. The options are those of `send`."""
    return send("POST", url, body=body, **options)
