"""Voices before they are asked for: found, and encoded by the host's own code."""
