"""Whether the code of a deployment is what the plugins know. It is read, never imported."""

from __future__ import annotations

import ast
import os
import re
import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.cli.checks.finding import Finding, State, ok, warning, wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LARGEST: Final = 4 << 20
_SKIPPED: Final = {"__pycache__", "node_modules", "site-packages", "dist-packages"}
_DECORATED_OTHERWISE: Final = {"staticmethod", "classmethod", "property", "cached_property"}
_CLASS: Final = re.compile(rb"^[ \t]*class[ \t]+(\w+)", re.MULTILINE)
_OTHER_VERSION: Final = (
    "look for a newer stepaudio-cas, or a plugin that knows this version (docs/plugins.md)"
)

_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES: Final = (*_FUNCTIONS, ast.ClassDef, ast.Lambda)


class Place(NamedTuple):
    """A class in a file."""

    path: str
    module: str
    node: ast.ClassDef

    def __str__(self) -> str:
        return f"{self.path}:{self.node.lineno}"


def examine(root: str, plugins: Sequence[dict[str, Any]]) -> list[Finding]:
    """Look below `root` for the classes that the plugins declare, and compare."""
    if not os.path.isdir(root):
        return [wrong("host", f"{root} is not a folder", "give the folder of the host's code")]
    declared: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for plugin in plugins:
        for host in plugin["classes"]:
            declared.setdefault(host["name"], []).append((plugin["name"], host))
    findings: list[Finding] = []
    for path in _files(root):
        findings += _examine_file(root, path, declared)
    if not any(finding.name == "host.class" for finding in findings):
        text = f"no class that a plugin knows is defined below {root}"
        remedy = "is it the folder of the host's own code? Is there a plugin for this host?"
        findings.append(wrong("host", text, remedy))
    return findings


def _files(root: str) -> Iterator[str]:
    """Yield the Python files of a deployment, not those of environments inside it."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _SKIPPED
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        )
        yield from (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))


def _examine_file(
    root: str, path: str, declared: dict[str, list[tuple[str, dict[str, Any]]]]
) -> Iterator[Finding]:
    text = _read(path)
    names = {name.decode("utf-8", "replace") for name in _CLASS.findall(text)} & declared.keys()
    if not names:
        return
    shown = os.path.relpath(path, root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the host's, about its own escapes
            tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        remedy = "run doctor with the host's own interpreter: its Python may be a later one"
        yield warning("host.file", f"{shown} cannot be read: {error}", remedy, subject=shown)
        return
    module = _module_of(path)
    for node in _statements(tree.body):
        if isinstance(node, ast.ClassDef) and node.name in names:
            place = Place(shown, module, node)
            known = [
                (plugin, host) for plugin, host in declared[node.name] if _is_meant(host, place)
            ]
            found = [_compare(plugin, host, place) for plugin, host in known]
            # Two families of hosts may have a class of one name: who knows it speaks for it.
            yield from [finding for finding in found if finding.state is State.OK] or found


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""


def _module_of(path: str) -> str:
    """Return the last part of a module's name."""
    folder, name = os.path.split(path)
    return os.path.basename(folder) if name == "__init__.py" else name.removesuffix(".py")


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, those under `if` and `try` as well, none of functions or classes."""
    for node in body:
        yield node
        if isinstance(node, _SCOPES):
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, field, ()))
        for handler in getattr(node, "handlers", ()):
            yield from _statements(handler.body)


def _owned(node: ast.ClassDef) -> dict[str, ast.stmt]:
    """Return the names that a class body binds, each with what binds it last."""
    names: dict[str, ast.stmt] = {}
    for statement in _statements(node.body):
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names[statement.name] = statement
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found = (node for target in targets for node in ast.walk(target))
            names.update((n.id, statement) for n in found if isinstance(n, ast.Name))
    return names


def _is_meant(host: dict[str, Any], place: Place) -> bool:
    """Tell a class from one that only has its name: by its module, or by what it owns."""
    owned = _owned(place.node).keys()
    if not owned.isdisjoint(host.get("lacks", ())):
        return False
    return place.module in host["modules"] or owned >= set(host["owns"])


def _compare(plugin: str, host: dict[str, Any], place: Place) -> Finding:
    subject = f"{place.module}.{host['name']}"
    what = f"{plugin}: {subject} ({place})"
    owned = _owned(place.node)
    lacking = [name for name in host["owns"] if name not in owned]
    if lacking:
        text = f"{what} has no {', '.join(lacking)}: it is left alone"
        return wrong("host.class", text, _OTHER_VERSION, subject=subject)
    misfits = [
        f"{name}: {trouble}"
        for name, versions in host["methods"].items()
        if (trouble := _misfit_of_all(owned.get(name), versions))
    ]
    if misfits:
        text = f"{what}: {'; '.join(misfits)}"
        return wrong("host.class", text, _OTHER_VERSION, subject=subject)
    if place.module not in host["modules"]:
        known = " or ".join(f"{tail}.py" for tail in host["modules"])
        text = f"{what} is patched only if {place.path} is the script that is run"
        remedy = f"the plugin looks for it in {known}: rename the module, or ask for this one"
        return warning("host.class", text, remedy, subject=subject)
    names = ", ".join([*host["methods"], *host.get("held", ())])
    return ok("host.class", f"{what}: {names} as known", subject=subject)


def _misfit_of_all(node: ast.stmt | None, versions: list[list[str]]) -> str:
    """Say why a method is none of the versions that the plugin knows."""
    troubles = [_misfit(node, parameters) for parameters in versions]
    return troubles[0] if all(troubles) else ""


def _misfit(node: ast.stmt | None, knows: list[str]) -> str:
    """Say why a method is not the one that the plugin knows, as the patch would say it."""
    if node is None:
        return "there is no such method"
    if not isinstance(node, _FUNCTIONS):
        return "it is not a plain method"
    decorators = {getattr(d, "id", getattr(d, "attr", "")) for d in node.decorator_list}
    if decorators & _DECORATED_OTHERWISE:
        return f"it is a {min(decorators & _DECORATED_OTHERWISE)}, not a plain method"
    if isinstance(node, ast.AsyncFunctionDef) or _yields(node.body):
        return "it does not return its result when called"
    has = [argument.arg for argument in _arguments(node.args)][1:]
    if has != knows:
        return f"its parameters are ({', '.join(has)}), the plugin knows ({', '.join(knows)})"
    return ""


def _yields(nodes: Iterable[ast.AST]) -> bool:
    """Tell whether this is the body of a generator."""
    return any(
        isinstance(node, (ast.Yield, ast.YieldFrom))
        or (not isinstance(node, _SCOPES) and _yields(ast.iter_child_nodes(node)))
        for node in nodes
    )


def _arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    """Yield parameters in the order of `inspect.signature`."""
    yield from arguments.posonlyargs
    yield from arguments.args
    if arguments.vararg is not None:
        yield arguments.vararg
    yield from arguments.kwonlyargs
    if arguments.kwarg is not None:
        yield arguments.kwarg
