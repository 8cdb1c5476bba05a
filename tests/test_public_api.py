"""What people import, what that loads, and that the house stands as it was drawn."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import stepaudio_cas as cas

PACKAGE = Path(cas.__file__).parent
TESTS = Path(__file__).parent
GROUND = {"units", "errors", "_fork", "arrays", "settings"}
BELOW = {
    "identity": set(),
    "artifact": {"identity"},
    "store": {"identity", "artifact"},
    "runtime": {"identity", "artifact", "store"},
    "tuning": {"runtime"},
    "activation": {"identity", "artifact", "store", "runtime", "prewarm", "tuning"},
    "prewarm": {"identity", "artifact", "store", "runtime"},
    "maintenance": {"identity", "artifact", "store", "runtime"},
    "web": {"identity", "artifact", "store", "runtime", "activation", "prewarm", "maintenance"},
    "measure": {"identity", "artifact", "store", "runtime", "activation", "tuning"},
}
TOP = {"cli", "__main__"}
HEAVY = {"torch", "numpy", "fsspec", "torchaudio", "scipy", "librosa", "onnxruntime", "asyncio"}
LONGEST_MODULE, LONGEST_FUNCTION = 400, 50


def test_all_is_what_can_be_imported():
    everything = {}
    exec("from stepaudio_cas import *", everything)
    assert everything.keys() - {"__builtins__"} == set(cas.__all__)
    assert sorted(cas.__all__) == cas.__all__ == dir(cas)


@pytest.mark.parametrize("name", sorted(set(cas.__all__) - {"__version__"}))
def test_every_public_name_says_what_it_is_for(name):
    public = getattr(cas, name)
    assert public.__module__.startswith("stepaudio_cas.")
    assert public.__doc__
    assert getattr(cas, name) is public


def test_a_name_that_is_not_public_is_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        cas.nothing  # noqa: B018 - looking is what fails
    with pytest.raises(ImportError):
        from stepaudio_cas import nothing  # noqa: F401


def loaded_after(text, *arguments):
    """Run a program and return the names of the top-level modules it has loaded."""
    text += "\nimport json, sys; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}\n{text}", *arguments],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    return set(json.loads(done.stdout.splitlines()[-1]))


USE = """
import stepaudio_cas as cas
with cas.open(sys.argv[1], log="off", max_size="1GB", ttl="1d", verify="1") as cache:
    tokens = cache.cached(version="1")(lambda audio, rate: ([1], [2], [3]))
    assert tokens(b"audio", 16000) == tokens(b"audio", 16000) == ([1], [2], [3])
    cache.get_many([cas.make_recipe("t/1", inputs={"a": b"a"})], lambda positions: [[1.5]])
"""


@pytest.mark.parametrize(
    "text",
    ["import stepaudio_cas", "from stepaudio_cas import *", USE],
    ids=["import", "every public name", "use"],
)
def test_no_heavy_library_is_loaded_that_the_host_has_not_loaded(text, tmp_path):
    loaded = loaded_after(text, str(tmp_path))
    assert "stepaudio_cas" in loaded
    assert loaded & HEAVY == set()


@cache
def modules():
    """Map the dotted name of each module, without the package's, to its syntax tree."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text())
    return found


def imported(tree):
    """Yield the names of our own modules that a tree imports, those for types among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are written in full"
            base = node.module.split(".")
            names = [[*base, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] == PACKAGE.name:
                yield longest_module(name[1:])


def longest_module(parts):
    while parts and ".".join(parts) not in modules():
        parts = parts[:-1]
    return ".".join(parts)


def room(name):
    return name.split(".")[0]


def may_import(room_, other):
    if other == "" or other in GROUND or room_ in TOP:  # "" is the package: its version
        return True
    return room_ == other or other in BELOW.get(room_, ())


def test_every_module_stands_in_a_room_that_is_drawn():
    assert {room(name) for name in modules()} <= {""} | GROUND | TOP | set(BELOW)
    assert {"identity", "artifact", "store", "runtime"} <= {room(name) for name in modules()}


@pytest.mark.parametrize("name", [name for name in modules() if name])
def test_imports_point_one_way(name):
    wrong = {
        other for other in imported(modules()[name]) if not may_import(room(name), room(other))
    }
    assert wrong == set()


def test_the_rule_for_imports_finds_what_breaks_it():
    tree = ast.parse("def f():\n    from stepaudio_cas.runtime.cache import Cache")
    assert list(imported(tree)) == ["runtime.cache"]
    assert list(imported(ast.parse("from stepaudio_cas import arrays, open"))) == ["arrays", ""]
    assert not may_import("store", "runtime")
    assert not may_import("identity", "artifact")
    assert not may_import("arrays", "identity")
    assert not may_import("prewarm", "maintenance")
    assert may_import("runtime", "store")


def test_a_plugin_touches_the_plugin_interface_only():
    used: dict[bool, set[str]] = {True: set(), False: set()}
    for path in (TESTS.parent / "plugins").rglob("*.py"):
        used[path.name.startswith("tuning")] |= set(imported(ast.parse(path.read_text())))
    assert used[False] == {"activation.plugin"}
    assert {room(name) for name in used[True]} == {"tuning"}


def when_loaded(tree):
    """Keep what runs when a module is loaded: no functions, nothing for types only."""
    for node in tree.body:
        types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not types_only and not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node


def test_no_two_modules_need_each_other_to_be_loaded():
    needs = {
        name: {other for node in when_loaded(tree) for other in imported(node)} - {"", name}
        for name, tree in modules().items()
    }
    ready = set()
    while len(ready) < len(needs):
        next_ = {name for name, others in needs.items() if others <= ready} - ready
        assert next_, f"a circle among {sorted(needs.keys() - ready)}"
        ready |= next_


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["package", "tests"])
def test_no_module_is_long(folder):
    lengths = {path: path.read_text().count("\n") for path in folder.rglob("*.py")}
    assert {path: n for path, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_no_function_is_long():
    lengths = {
        f"{name}:{node.name}": node.end_lineno - node.lineno + 1
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert len(lengths) > 100
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def test_every_module_says_what_it_is():
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []
