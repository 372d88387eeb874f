"""Takes imports that a plugin does not use out of its world. Run by build.sh:

    python world.py PROJECT WIT OUT

OUT gets the WIT package WIT; of the imports in its world.wit those of the host's interfaces stay that the code of PROJECT names,
by the kit (`from lictor import http`) or by the bindings (`from wit_world.imports import http`). Code that can't be compiled ends
the build here, with its line. Where it names the kit's
`stream`, the world is that of plugins whose replies come in parts. Tests are no part of the plugin.
"""

import ast
import platform
import re
import shutil
import sys
import traceback
import warnings
from pathlib import Path

# Names of the kit and of the bindings, and their interfaces.
KIT = {
    "call": "lictor:plugin/call",
    "config": "wasi:config/store",
    "events": "lictor:plugin/events",
    "files": "lictor:plugin/files",
    "http": "lictor:plugin/http",
    "log_event": "wasi:logging/logging",
    "state": "lictor:plugin/state",
    "stream": "lictor:plugin/reply",
}
BINDINGS = KIT | {
    "atomics": "wasi:keyvalue/atomics",
    "batch": "wasi:keyvalue/batch",
    "keyvalue": "wasi:keyvalue/store",
    "logging": "wasi:logging/logging",
}
# Python has random numbers of its own.
NEVER = "wasi:random/random"

# The Python in which plugins run.
OF_PLUGINS = (3, 14)

SKIPPED = {"lictor", "build", "wit", "tests", "__pycache__", "node_modules"}


def names_in(path: Path) -> set[str]:
    """The interfaces that the code of one file names."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if "lictor" not in text and "wit_world" not in text:
        return set()
    tree = ast.parse(text)
    used, kit, bindings = set(), {"lictor"}, {"imports"}
    nodes = list(ast.walk(tree))
    for node in nodes:
        match node:
            case ast.ImportFrom(module="lictor", names=names):
                used |= {KIT.get(alias.name) for alias in names}
            case ast.ImportFrom(module="wit_world.imports", names=names):
                used |= {BINDINGS.get(alias.name) for alias in names}
            case ast.ImportFrom(module="wit_world", names=names):
                bindings |= {alias.asname or alias.name for alias in names}
            case ast.ImportFrom(module=str(module)) if module.startswith(("lictor.", "wit_world.imports.")):
                used.add(BINDINGS.get(module.split(".")[-1]))
            case ast.Import(names=names):
                kit |= {alias.asname for alias in names if alias.name == "lictor" and alias.asname}
                bindings |= {alias.asname for alias in names if alias.name == "wit_world.imports" and alias.asname}
                dotted = [alias.name for alias in names if alias.name.startswith(("lictor.", "wit_world.imports."))]
                used |= {BINDINGS.get(name.split(".")[-1]) for name in dotted}
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in kit:
                used.add(KIT.get(attr))
            case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr=attr) if name in bindings:
                used.add(BINDINGS.get(attr))
    return used - {None}


def sources(folder: Path):
    for path in folder.iterdir():
        if path.is_dir() and path.name not in SKIPPED and not path.name.startswith("."):
            yield from sources(path)
        elif path.suffix == ".py" and not path.name.startswith("test_") and path.name != "conftest.py":
            yield path


def compiles(path: Path, project: Path) -> bool:
    """Whether the file can be compiled; if not, says where and why."""
    name = str(path.relative_to(project))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(path.read_bytes(), name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        *shown, why = traceback.format_exception_only(error)
        print(f"{name}:{getattr(error, 'lineno', None) or 1}: {why}", *shown[1:], sep="", end="", file=sys.stderr)
        if sys.version_info < OF_PLUGINS:
            print(f"(Python {platform.python_version()} read it, as tests do; what newer ones have, PYTHON=python3.14 reads)", file=sys.stderr)
        return False
    return True


def main(project: Path, wit: Path, out: Path) -> None:
    files = sorted(sources(project))
    if any([not compiles(path, project) for path in files]):
        sys.exit(1)
    used = set().union(*(names_in(path) for path in files))
    unused = (set(BINDINGS.values()) | {NEVER}) - used
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(wit, out)
    world = out / "world.wit"
    if world.exists():
        line = re.compile(r"^[ \t]*import ([^\s;@]+)[^\s;]*;[^\n]*\n", re.MULTILINE)
        text = world.read_text(encoding="utf-8")
        text = line.sub(lambda found: "" if found[1] in unused else found[0], text)
        if KIT["stream"] in used:
            text = text.replace("include lictor:plugin/plugin@", "include lictor:plugin/streaming-plugin@")
        world.write_text(text, encoding="utf-8")


main(*map(Path, sys.argv[1:]))
