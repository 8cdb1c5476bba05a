# ruff: noqa: INP001, PLC0415, S102, UP036 - a folder for PYTHONPATH, of any version of Python 3
"""Put on PYTHONPATH by `cas-tool run`: starts us in every Python that the command starts.

Whatever `sitecustomize` there is besides runs as if this one were not here.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _run_next() -> None:
    """Run the next `sitecustomize` on the path; errors are `site`'s to report, as ever."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]
    mine = sys.modules.pop("sitecustomize")
    try:
        __import__("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", mine)


def _start() -> None:
    if sys.version_info < (3, 10):
        return
    from importlib.machinery import SourceFileLoader

    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    name = "_stepaudio_cas_runner"
    path = os.path.join(folder, "runner.py")
    names: dict[str, Any] = {"__name__": name, "__file__": path}
    code: Any = SourceFileLoader(name, path).get_code(name)
    exec(code, names)
    names["activate"]()


try:
    _run_next()
finally:
    _start()
