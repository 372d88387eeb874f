import datetime
import importlib
import importlib.resources
import json
import socket
import urllib.request
from zoneinfo import ZoneInfo

import jinja2
import yaml
from dateutil import parser, relativedelta, tz
from pydantic import BaseModel, Field, ValidationError, validator

from lictor import command, state


@command("render TEMPLATE NAME", "renders")
def render(template, name):
    environment = jinja2.Environment(loader=jinja2.DictLoader({"letter": template}))
    return environment.get_template("letter").render(name=name)


@command("letter NAME", "renders a file of the plugin's own")
def letter(name):
    text = importlib.resources.files("letters").joinpath("greeting.txt").read_text()
    return jinja2.Template(text).render(name=name)


@command("yaml TEXT", "reads YAML")
def read_yaml(text):
    return json.dumps(yaml.safe_load(text), default=str)


@command("dates TEXT", "reads and counts dates")
def dates(text):
    read = parser.parse(text)
    strict = datetime.datetime.strptime("3 Feb 2026", "%d %b %Y").date()
    later = (read + relativedelta.relativedelta(months=2, day=31)).date()
    zone = tz.gettz("America/New_York")
    return f"{read:%Y-%m-%d %H:%M} {strict} {later} {datetime.datetime(2026, 1, 1, tzinfo=zone):%Z}"


class Item(BaseModel):
    name: str = Field(..., max_length=5)
    price: float
    note: str | None = None

    @validator("price")
    def positive(cls, price):
        if price <= 0:
            raise ValueError("must be positive")
        return price


class Order(BaseModel):
    items: list[Item]


@command("order JSON", "reads an order and sums it up")
def order(text):
    try:
        read = Order.parse_raw(text)
    except ValidationError as error:
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return json.dumps(read.dict() | {"total": sum(item.price for item in read.items)})


@command("zone NAME", "the time in another place")
def zone(name):
    return str(datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.UTC).astimezone(ZoneInfo(name)))


@command("late", "imports when it runs")
def late():
    from decimal import Decimal
    from helper import twice

    return f"{twice(4)} {Decimal('1.1')} {'ü'.encode('idna')}"


@command("unknown NAME", "imports by a name that no import has")
def unknown(name):
    return importlib.import_module(name).__name__


@command("connect", "asks for a socket, and catches the refusal")
def connect():
    told = []
    for ask in (socket.socket, lambda: socket.create_connection(("127.0.0.1", 9)), lambda: socket.getaddrinfo("127.0.0.1", 9)):
        try:
            told.append(str(ask()))
        except OSError as error:
            told.append(str(error))
    return ", ".join(told)


@command("open-url URL", "asks for a page by Python's library")
def open_url(url):
    return urllib.request.urlopen(url).read()


@command("long", "raises a long error")
def raise_much():
    raise ValueError("日" * 5000)


@command("ungranted", "reads from a store that is not granted")
def read_what_is_not_granted():
    return state.Store("none").get("a")


@command("wrong", "hands over what can't cross")
def wrong():
    state.set(5, "x")


@command("dict", "gives no reply")
def gives_a_dict():
    return {}


def down(number):
    return down(number + 1)


@command("deep", "goes down without end")
def deep():
    return down(0)


@command("exit", "exits")
def leave():
    raise SystemExit(3)
