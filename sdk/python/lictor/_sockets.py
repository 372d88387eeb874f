"""Sockets, which plugins do not get. In a component each of these functions would be a trap, which nothing catches and which names
no line; here it is an error."""

import sys

NONE = "plugins get no sockets: use lictor.http"

_FUNCTIONS = [
    "getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo", "getservbyname", "getservbyport",
    "getprotobyname", "socketpair", "dup", "if_nameindex", "if_nametoindex", "if_indextoname",
]  # fmt: skip


def refuse(*_: object, **__: object) -> None:
    raise OSError(NONE)


def take_away() -> None:
    """Has them raise `OSError`, whatever was imported before."""
    import _socket

    class Refused(_socket.socket):
        __slots__ = ()
        __init__ = refuse

    taken = {name: refuse for name in _FUNCTIONS} | {"socket": Refused, "SocketType": Refused}
    of_c = vars(_socket)
    of_c |= {name: instead for name, instead in taken.items() if name in of_c}
    if known := sys.modules.get("socket"):
        vars(known).update({name: refuse for name in _FUNCTIONS if hasattr(known, name)})
        known.socket.__init__ = refuse
