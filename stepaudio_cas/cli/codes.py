"""Exit codes, the same for every verb."""

from typing import Final

FINE: Final = 0
FOUND: Final = 1
"""Something is wrong, or is not as it was said to be."""

USAGE: Final = 2
INTERRUPTED: Final = 130
