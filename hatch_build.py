"""Puts the start-up files at the top of site-packages, in wheels and in editable installs alike."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = ("zzz_stepaudio_cas.pth", "zzz_stepaudio_cas.start", "_stepaudio_cas_start.py")


class StartUpFiles(BuildHookInterface):
    """The `.pth` sorts after those of editable installs, whose paths it needs."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to whatever kind of wheel is being built."""
        where = "force_include_editable" if version == "editable" else "force_include"
        for name in FILES:
            build_data[where][f"{self.root}/startup/{name}"] = name
