"""How we get into a process that nobody edits: boot, finder, plugin API, patching."""
