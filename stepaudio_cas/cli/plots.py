"""Pictures of what was measured, by matplotlib, which is imported only for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import SettingError

if TYPE_CHECKING:
    import argparse

COLOURS: Final = ("#3b6ea5", "#d98c3f", "#6a9f58", "#a05a8c", "#8a8a8a", "#c2b04a")
INK: Final = "#333333"
_REMEDY: Final = "--plot needs matplotlib: pip install 'stepaudio-cas[plot]'"


def add(parser: argparse.ArgumentParser) -> None:
    """Add `--plot`."""
    parser.add_argument("--plot", metavar="FILE.png", help="draw it, too; needs matplotlib")


def check(path: str | None) -> None:
    """Raise `SettingError` before anything is measured if it could not be drawn afterwards."""
    if path is None:
        return
    folder = os.path.dirname(os.path.abspath(path))
    if not path.lower().endswith(".png"):
        raise SettingError(f"--plot {path}: a name that ends in .png")
    if not os.path.isdir(folder):
        raise SettingError(f"--plot {path}: there is no folder {folder}")
    try:
        import matplotlib  # noqa: F401, ICN001, PLC0415 - only for pictures
    except ImportError:
        raise SettingError(_REMEDY) from None


def figure(panels: int, title: str) -> tuple[Any, list[Any]]:
    """Return a figure with so many panels side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    made = Figure(figsize=(4.8 * panels, 4.4), layout="constrained")
    FigureCanvasAgg(made)
    made.suptitle(title, fontsize=11, color=INK)
    axes = [made.add_subplot(1, panels, number + 1) for number in range(panels)]
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(colors=INK, labelsize=9)
        panel.set_axisbelow(True)
        panel.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    return made, axes


def save(made: Any, path: str) -> None:
    """Write the figure, whole or not at all."""
    passing = f"{path}.{os.getpid()}.tmp"
    try:
        made.savefig(passing, format="png", dpi=120)
        os.replace(passing, path)
    finally:
        if os.path.exists(passing):
            os.unlink(passing)
