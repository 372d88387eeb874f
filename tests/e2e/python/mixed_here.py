"""Prints what a command gives over the host of a test."""

import sys

from lictor.testing import Failure, Host, Response, Stopped

import plugin  # noqa: F401

closed = Failure("unavailable", "the server refuses the connection")


def answer(request):
    head = [("b", "1"), ("A", " 2 "), ("B", "3")]
    return Response({"GET": 204, "HEAD": 200, "PUT": 304}[request.method], head, b"body")


host = Host(
    web={"http://127.0.0.1:1/v1": closed, "http://127.0.0.1:1/v2/": closed, "http://odd/": answer},
    config={"greeting": "hi", "number": "5"},
    headers={"Lang": "de"},
    commands={"none": Failure("unknown-command", "Unknown command none")},
    files={path: content for path, content in [("there", b"12345"), ("missing", None), ("large", bytes((1 << 20) + 1))]},
)
if sys.argv[1] == "others":
    host.files = dict(zip(sys.argv[2:], host.files.values()))
try:
    sys.stdout.buffer.write(host.run(*sys.argv[1:]))
except Stopped as stopped:
    sys.stdout.write(stopped.code)
print()
