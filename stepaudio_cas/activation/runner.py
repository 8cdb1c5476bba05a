# Started by `cas-tool run` in the place of a program. (`-x` makes Python skip this line.)
# ruff: noqa: PLC0415, S102, UP036 - imports as little as it can, and what it starts may be old
"""Runs a script, `-m` module or `-c` code as the interpreter would have, with us started first.

For interpreters that `site` and the environment cannot reach: `-S`, `-I`, `-E`. Also what the
`sitecustomize` beside it uses. Stands alone, and does no harm in any Python 3.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDERS = "_STEPAUDIO_CAS_FOLDERS"
"""The variable that says where we and what we need can be imported from: see `reach`."""


def activate(main: "tuple[str, str] | None" = None) -> None:
    """Start us, unless the operator has switched us off since. Never raises."""
    asked = os.environ.get("STEPAUDIO_CAS", os.environ.get("STEPAUDIO_CAS_CONFIG", ""))
    if asked.strip().lower() in ("", "0", "off", "false", "no"):
        return
    before = list(sys.path)
    try:
        reach()
        from stepaudio_cas.activation import boot
    except Exception as error:
        sys.path[:] = before
        _say(f"cannot be activated: {type(error).__name__}: {error}; the host runs without it")
    else:
        boot.start(main)


def reach() -> None:
    """Make us importable. Everybody else's modules go before ours and those that we need."""
    if "stepaudio_cas.activation.finder" in sys.modules:
        return  # the `.pth` was here first
    if sys.version_info < (3, 10):
        raise ImportError("Python 3.10 or later is needed")
    tag, _, folders = os.environ.get(FOLDERS, "").partition(os.pathsep)
    if tag == sys.implementation.cache_tag:
        sys.path.extend(f for f in folders.split(os.pathsep) if f and f not in sys.path)
        return
    try:
        import stepaudio_cas  # noqa: F401 - installed for this interpreter as well
    except ImportError:
        raise ImportError(f"it is installed for {tag or 'nobody'}, not here") from None


def run(words: "list[str]") -> None:
    """Run the program that `words` name: `script …`, `-m module …`, `-c code …` or `- …`."""
    kind = words[0] if words[0] in ("-m", "-c", "-") else "script"
    program = words[1 if kind in ("-m", "-c") else 0]
    if kind == "script":
        program = os.path.join(os.getcwd(), program)  # not normalised either
    folder = _folder(kind, program)
    sys.argv[:] = words if kind in ("-", "script") else [kind, *words[2:]]
    _set_first_folder(folder, always=kind == "script" and folder == program)
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "path")
    sys.path[:] = [entry for entry in sys.path if entry != here]
    names = _new_main()
    try:
        activate({"-m": ("module", program), "script": ("script", program)}.get(kind, ("", "")))
        _execute(kind, program, folder, names)
    except BaseException:
        sys.excepthook = _without_us(sys.excepthook)
        raise


def _folder(kind: str, program: str) -> str:
    """Say what goes first on `sys.path`; for a folder or zip file that is run, itself."""
    if kind == "script":
        return program if _importer(program) else os.path.dirname(os.path.realpath(program))
    return os.getcwd() if kind == "-m" else ""


def _importer(path: str) -> object:
    for hook in sys.path_hooks:
        try:
            return hook(path)
        except ImportError:
            continue
    return None


def _set_first_folder(folder: str, *, always: bool) -> None:
    """Put `folder` where the interpreter put ours, if it did: `-I` and `-P` have it put none."""
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path[0:1] = [folder]
    elif always:
        sys.path.insert(0, folder)


def _new_main() -> "dict[str, Any]":
    """Make a fresh `__main__` with what this version of Python puts into one."""
    mine = vars(sys.modules["__main__"])
    made = type(sys)("__main__")
    names = vars(made)
    names.update({n: mine[n] for n in mine if n.startswith("__") and n.endswith("__")})
    names["__doc__"] = None
    sys.modules["__main__"] = made
    return names


def _execute(kind: str, program: str, folder: str, names: "dict[str, Any]") -> None:
    if kind == "script" and folder != program:
        exec(_code_of_script(program, names), names)
        return
    names["__loader__"] = sys.modules["_frozen_importlib"].BuiltinImporter
    names["__file__"] = "<stdin>"
    if kind != "-":
        for name in ("__file__", "__cached__"):
            names.pop(name, None)
    if kind in ("-", "-c"):
        exec(_code_of_text(kind, program), names)
        return
    import runpy

    # What the interpreter itself calls.
    run_module = vars(runpy)["_run_module_as_main"]
    run_module(*((program, True) if kind == "-m" else ("__main__", False)))


def _code_of_text(kind: str, program: str) -> "Any":
    if kind == "-":
        return compile(sys.stdin.buffer.read(), "<stdin>", "exec", dont_inherit=True)
    if sys.version_info >= (3, 14):
        import textwrap

        program = textwrap.dedent(program)
    return compile(program, "<string>", "exec", dont_inherit=True)


def _code_of_script(path: str, names: "dict[str, Any]") -> "Any":
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        sys.stderr.write(f"{sys.executable}: can't open file {path!r}: {reason}\n")
        raise SystemExit(2) from None
    from importlib import machinery

    magic = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER
    compiled = path.endswith(".pyc") or text[:4] == magic
    kind = machinery.SourcelessFileLoader if compiled else machinery.SourceFileLoader
    loader = kind("__main__", path)
    names.update(__file__=path, __loader__=loader)
    if compiled:
        return loader.get_code("__main__")
    return compile(text, path, "exec", dont_inherit=True)


def _without_us(hook: "Any") -> "Any":
    """Leave our frames out of the traceback of an exception that nobody has caught."""

    def show(kind: "Any", error: "Any", trace: "Any") -> None:
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        hook(kind, error.with_traceback(trace), trace)

    return show


def _say(text: str) -> None:
    if os.environ.get("STEPAUDIO_CAS_LOG") != "off":
        line = f"stepaudio-cas: {text} (Python {sys.version.split()[0]})\n"
        try:
            os.write(2, line.encode("utf-8", "replace"))
        except OSError:
            return


if __name__ == "__main__":
    run(sys.argv[1:])
