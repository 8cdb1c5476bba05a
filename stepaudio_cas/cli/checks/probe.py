"""Runs inside the interpreter that is looked at, as `python -c`, and says in JSON what it sees.

It stands alone, because nothing of ours may come into that interpreter but what it finds by itself;
and it runs in any Python 3, so that one that is too old can say so.
"""
# ruff: noqa: PLC0415, UP036 - looks at what may not be there

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARK = "stepaudio-cas probe: "
START_FILES = ("zzz_stepaudio_cas.pth", "zzz_stepaudio_cas.start", "_stepaudio_cas_start.py")
DEPENDENCIES = ("blake3", "fsspec", "msgpack")


def look(schemes: "list[str]") -> "dict[str, Any]":
    """Say everything there is to know."""
    seen = _at_start()
    if sys.path and not sys.path[0]:
        del sys.path[0]  # the current folder, which is there because of `-c`
    seen.update(version=list(sys.version_info[:3]), executable=sys.executable)
    seen["flags"] = {
        letter: bool(getattr(sys.flags, name))
        for letter, name in (
            ("S", "no_site"),
            ("I", "isolated"),
            ("E", "ignore_environment"),
            ("s", "no_user_site"),
        )
    }
    seen["site_folders"] = _site_folders()
    seen["start_files"] = {
        name: [d for d in seen["site_folders"] if os.path.isfile(os.path.join(d, name))]
        for name in START_FILES
    }
    if sys.version_info >= (3, 10):
        seen["package"] = _package()
        seen["dependencies"] = {name: _dependency(name) for name in DEPENDENCIES}
        seen["requires"] = _requires()
        seen["plugins"], seen["plugin_troubles"] = _plugins()
        seen["schemes"] = {scheme: _scheme(scheme) for scheme in schemes}
    return seen


def _at_start() -> "dict[str, Any]":
    """Look before anything of ours is imported by this probe."""
    ours = [n for n in sys.modules if n.startswith("stepaudio_cas")]
    finders = [type(f).__module__ for f in sys.meta_path]
    return {
        "modules": sorted(ours),
        "finders": finders.count("stepaudio_cas.activation.finder"),
    }


def _site_folders() -> "list[str]":
    import site

    found = []
    try:
        found += site.getsitepackages()
        if site.ENABLE_USER_SITE:
            found.append(site.getusersitepackages())
    except AttributeError:
        import sysconfig

        found.append(sysconfig.get_paths()["purelib"])
    return [folder for folder in dict.fromkeys(found) if os.path.isdir(folder)]


def _trouble(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _package() -> "dict[str, str]":
    try:
        import stepaudio_cas
    except Exception as error:
        return {"error": _trouble(error)}
    return {"file": str(stepaudio_cas.__file__), "version": stepaudio_cas.__version__}


def _dependency(name: str) -> "dict[str, str]":
    from importlib.metadata import PackageNotFoundError, version

    try:
        module = __import__(name)
    except Exception as error:
        return {"error": _trouble(error)}
    try:
        return {"version": version(name)}
    except PackageNotFoundError:
        return {"version": str(getattr(module, "__version__", "of an unknown version"))}


def _requires() -> "list[str]":
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return requires("stepaudio-cas") or []
    except PackageNotFoundError:
        return []


def _plugins() -> "tuple[list[dict[str, Any]], list[str]]":
    try:
        from stepaudio_cas.activation.registry import entry_points, load
    except ImportError:
        return [], []
    found, troubles = [], list[str]()
    for name, reference in sorted(entry_points(troubles).items()):
        try:
            classes = [_declared(host) for host in load(reference).classes]
            found.append({"name": name, "reference": reference, "classes": classes})
        except (Exception, SystemExit) as error:
            found.append({"name": name, "reference": reference, "error": _trouble(error)})
    return found, troubles


def _declared(host: "Any") -> "dict[str, Any]":
    return {
        "name": host.name,
        "modules": list(host.modules),
        "owns": list(host.owns),
        "lacks": list(host.lacks),
        "held": [one.method.name for one in host.held],
        "methods": {
            name: [list(method.arguments) for method in host.methods if method.name == name]
            for name in dict.fromkeys(method.name for method in host.methods)
        },
    }


def _scheme(scheme: str) -> str:
    """Say what keeps a kind of store from working here; nothing if nothing does."""
    try:
        if scheme in {"gs", "gcs"}:
            if not os.environ.get("STORAGE_EMULATOR_HOST"):
                __import__("google.auth")
            return ""
        from fsspec import get_filesystem_class

        get_filesystem_class(scheme)
    except Exception as error:
        return _trouble(error)
    return ""


if __name__ == "__main__":
    print(MARK + json.dumps(look(sys.argv[1:])), flush=True)  # noqa: T201 - who asked is listening
