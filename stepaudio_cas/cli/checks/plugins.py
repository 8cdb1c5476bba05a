"""Which plugins there are, and whether they load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepaudio_cas.cli.checks.finding import Finding, ok, warning, wrong
from stepaudio_cas.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def examine(
    seen: dict[str, Any], wanted: Sequence[str] | None
) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Judge what the probe has seen; return the declarations of the plugins that will be used."""
    plugins: list[dict[str, Any]] = seen.get("plugins", [])
    usable = [p for p in plugins if "error" not in p and (wanted is None or p["name"] in wanted)]
    return list(_judge(plugins, seen.get("plugin_troubles", []), wanted)), usable


def _judge(
    plugins: list[dict[str, Any]], troubles: list[str], wanted: Sequence[str] | None
) -> Iterator[Finding]:
    for plugin in plugins:
        name = plugin["name"]
        if wanted is not None and name not in wanted:
            yield ok("plugin", f"{name} is not in {PREFIX}_PLUGINS: left out", subject=name)
        elif "error" in plugin:
            text = f"{name} ({plugin['reference']}) does not load: {plugin['error']}"
            remedy = f"mend or uninstall it, or leave it out of {PREFIX}_PLUGINS"
            yield wrong("plugin", text, remedy, subject=name)
        else:
            classes = ", ".join(host["name"] for host in plugin["classes"])
            yield ok("plugin", f"{name}: {classes}", subject=name)
    for trouble in troubles:
        yield warning("plugin.twice", trouble, "uninstall one of the two")
    there = {plugin["name"] for plugin in plugins}
    for name in sorted(set(wanted or ()) - there):
        text = f"{PREFIX}_PLUGINS names {name}, which is not installed"
        remedy = f"install it, or name one of: {', '.join(sorted(there)) or 'none is installed'}"
        yield wrong("plugin", text, remedy, subject=name)
    if not there:
        text = "no plugin is installed: nothing of any host will be cached"
        yield wrong("plugin.none", text, "pip install --force-reinstall stepaudio-cas")
