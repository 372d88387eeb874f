"""What a plugin may import or read while a command runs. There is no file system then, so the build puts it into memory.

That is: all modules and data files of the packages that were imported while the plugin was built, and those modules of
the standard library that the code names somewhere. They are compressed, and cost nothing until they are asked for.
"""

import contextlib
import functools
import importlib
import io
import linecache
import os
import pkgutil
import re
import sys
import types
import zlib
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.resources.abc import Traversable, TraversableResources
from importlib.util import spec_from_loader

import wit_world.imports

from . import _errors

LIBRARY = "/python/"

# Imported by the interpreter's C code, or by name.
BY_NAME = ["linecache", "stringprep", "zoneinfo", "copyreg", "_compat_pickle"]

# They need what a plugin has not: a terminal, a screen, processes, sockets, a compiler.
LEFT_OUT = {
    "asyncio", "concurrent", "curses", "ensurepip", "idlelib", "lib2to3", "multiprocessing", "pdb", "pydoc", "pydoc_data",
    "sqlite3", "ssl", "test", "tkinter", "turtle", "turtledemo", "unittest", "venv", "webbrowser", "xmlrpc",
}  # fmt: skip

# Packages that are compiled, and what is there without that.
INSTEAD = {"pydantic_core": "`pydantic<2`, which is the pure Python one,"}

# Larger than any data file of which a plugin would make use; bounds what the component grows by.
MOST_DATA_BYTES = 8 << 20

# An import as code has it, on a line of its own.
IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+([^\n#]*)|import[ \t]+([^\n#;]+))", re.MULTILINE)

# Name of a module: its file, whether it is a package, and its source.
_modules: dict[str, tuple[str, bool, bytes]] = {}
# Path of a file of data: what is in it.
_data: dict[str, bytes] = {}


class _Kept(MetaPathFinder, InspectLoader):
    """Finds modules in memory, and their data."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        kept = _modules.get(fullname)
        if kept is None:
            return None
        filename, is_package, _ = kept
        spec = spec_from_loader(fullname, self, origin=filename, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [os.path.dirname(filename)]
        return spec

    def get_source(self, fullname):
        return zlib.decompress(_modules[fullname][2]).decode()

    def get_code(self, fullname):
        filename, _, source = _modules[fullname]
        return compile(zlib.decompress(source), filename, "exec", dont_inherit=True)

    def is_package(self, fullname):
        return _modules[fullname][1]

    def get_data(self, path):
        try:
            return zlib.decompress(_data[os.path.normpath(path)])
        except KeyError:
            raise FileNotFoundError(2, "a plugin has no file system but what it was granted", path) from None

    def get_resource_reader(self, fullname):
        return _Reader(sys.modules[fullname].__path__[0]) if hasattr(sys.modules[fullname], "__path__") else None


class _Reader(TraversableResources):
    def __init__(self, folder: str):
        self._folder = folder

    def files(self):
        return _File(self._folder)


class _File(Traversable):
    """A file or a folder of what is in memory."""

    def __init__(self, path: str):
        self._path = path

    @property
    def name(self):
        return os.path.basename(self._path)

    def is_file(self):
        return self._path in _data

    def is_dir(self):
        return any(path.startswith(f"{self._path}/") for path in _data)

    def iterdir(self):
        start = f"{self._path}/"
        names = {path[len(start) :].split("/")[0] for path in _data if path.startswith(start)}
        return iter([_File(start + name) for name in sorted(names)])

    def joinpath(self, *descendants):
        return _File(os.path.normpath("/".join([self._path, *map(str, descendants)])))

    __truediv__ = joinpath

    def open(self, mode="r", *args, **kwargs):
        file = io.BytesIO(_kept.get_data(self._path))
        return file if "b" in mode else io.TextIOWrapper(file, *args, **kwargs)


_kept = _Kept()


def load(compiled: list[str]) -> None:
    """Imports the plugin. In the packages `compiled` there was code that is compiled for this machine."""
    folders = filter(os.path.isdir, sys.path)
    _errors.at_hand = frozenset(sys.builtin_module_names).union(name.partition(".")[0] for folder in folders for name in os.listdir(folder))
    try:
        with _building() as asked:
            importlib.import_module("plugin")
        if asked:
            raise asked[0]
    except BaseException as error:
        package = (getattr(error, "name", None) or "").partition(".")[0]
        told = _errors.in_one_line(error)
        if isinstance(error, ImportError) and package in compiled:
            other = INSTEAD.get(package, "a version of pure Python, or another package,")
            told = f"the package {package} is compiled code, which no plugin can run: write {other} into requirements.txt"
        # By these words build.sh finds it among the traces of the tools.
        raise ImportError(f"the plugin can't be imported: {told}") from None


@contextlib.contextmanager
def _building():
    """Meanwhile what asks the host raises an error, which has a line where a trap has none. Gives them all, in case one is caught."""
    asked = []

    def asking(name, function):
        @functools.wraps(function)
        def ask(*args, **kwargs):
            if is_over:
                return function(*args, **kwargs)
            asked.append(RuntimeError(f"at top level, while the plugin is built, nothing may ask the host, as {name} does"))
            raise asked[-1]

        return ask

    is_over = False
    found = []
    for _, name, _ in pkgutil.iter_modules(wit_world.imports.__path__):
        names = vars(importlib.import_module(f"wit_world.imports.{name}"))
        found += [(names, key, value) for key, value in names.items() if isinstance(value, types.FunctionType)]
    for names, key, value in found:
        names[key] = asking(f"{names['__name__'].rpartition('.')[2]}.{key}", value)
    try:
        yield asked
    finally:
        is_over = True
        for names, key, value in found:
            names[key] = value


def keep() -> None:
    """Puts all of it into memory. The build calls this when the plugin has been imported."""
    sources = dict(_own_packages())
    waiting = [name for name in BY_NAME if name not in sys.modules] + list(_named(sources))
    # By the interpreter itself, of each command that reads a date.
    importlib.import_module("_strptime")
    waiting += [f"encodings.{name[:-3]}" for name in os.listdir(f"{LIBRARY}encodings") if name.endswith(".py")]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name.split(".")[0] in LEFT_OUT:
            continue
        seen.add(name)
        path = _library_file(name) if name not in sources else None
        if path is not None and (name not in sys.modules):
            sources[name] = path
        if path is not None:
            waiting += _named({name: path})
            if "." in name:
                waiting.append(name.rpartition(".")[0])
    for name, path in sources.items():
        _keep_module(name, path)
    sys.meta_path.insert(0, _kept)


def _own_packages():
    """All modules of the packages and modules that are not of the standard library; keeps their data on the way."""
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path is None or "." in name or path.startswith(LIBRARY) or name in ("wit_world", "lictor"):
            continue
        if not path.endswith("/__init__.py"):
            yield name, path
            yield from _neighbours(os.path.dirname(path))
            continue
        yield from _package(name, os.path.dirname(path))
    for module in list(sys.modules.values()):
        if (getattr(module, "__file__", None) or LIBRARY).startswith(LIBRARY):
            continue
        if hasattr(module, "__path__") and module.__name__.split(".")[0] not in ("wit_world", "lictor"):
            module.__loader__ = module.__spec__.loader = _kept


def _neighbours(folder: str):
    """Modules and packages that stand beside the plugin's."""
    for entry in os.scandir(folder):
        stem, extension = os.path.splitext(entry.name)
        if extension == ".py" and stem.isidentifier():
            # Tests are no part of the plugin.
            yield from () if stem.startswith("test_") or stem == "conftest" else [(stem, entry.path)]
        elif entry.name.isidentifier() and entry.name not in ("lictor", "build", "wit", "tests") and entry.is_dir():
            if os.path.exists(f"{entry.path}/__init__.py"):
                yield from _package(entry.name, entry.path)


def _package(name: str, folder: str):
    for entry in os.scandir(folder):
        stem, extension = os.path.splitext(entry.name)
        if entry.is_dir():
            # A folder without __init__.py holds data, or is a package of a namespace.
            yield from _package(f"{name}.{entry.name}", entry.path) if entry.name != "__pycache__" else ()
        elif extension == ".py":
            yield (name if stem == "__init__" else f"{name}.{stem}"), entry.path
        elif extension not in (".pyc", ".pyi", ".so", ".pyd") and entry.stat().st_size <= MOST_DATA_BYTES:
            with open(entry.path, "rb") as file:
                _data[entry.path] = zlib.compress(file.read())


def _keep_module(name: str, path: str) -> None:
    with open(path, "rb") as file:
        source = file.read()
    if not path.startswith(LIBRARY) and name in sys.modules:
        # For the lines of tracebacks; without a time of change nobody looks whether the file is still there.
        lines = source.decode(errors="replace").splitlines(keepends=True)
        linecache.cache[path] = (len(source), None, lines, path)
    _modules[name] = (path, path.endswith("/__init__.py"), zlib.compress(source))


def _named(sources: dict[str, str]):
    """The modules that the code of these may mean by its imports."""
    for name, path in sources.items():
        package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
        with open(path, "rb") as file:
            found = {match.groups() for match in IMPORT.finditer(file.read())}
        for module, names, plain in found:
            if plain is not None:
                yield from (part.split()[0].decode() for part in plain.split(b",") if part.strip())
                continue
            base = module.decode()
            level = len(base) - len(base.lstrip("."))
            start = package.split(".")[: len(package.split(".")) - level + 1] if level else []
            base = ".".join([*start, *filter(None, [base.lstrip(".")])])
            yield base
            yield from (f"{base}.{part.split()[0].decode()}" for part in names.strip(b" ()").split(b",") if part.strip())


def _library_file(name: str) -> str | None:
    stem = LIBRARY + name.replace(".", "/")
    return next((path for path in (f"{stem}.py", f"{stem}/__init__.py") if os.path.isfile(path)), None)
