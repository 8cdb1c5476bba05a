"""What can go wrong, named once. Only `SettingError` and `Bypass` ever reach a caller."""

from __future__ import annotations


class CasError(Exception):
    """The root of this package's exceptions."""


class SettingError(CasError, ValueError):
    """A setting has a value that cannot be used; the text names it and says what is allowed."""


class Bypass(CasError):  # noqa: N818 - it is a decision, not an error
    """This call cannot be described or kept exactly, so it is not cached.

    `reason` is a short slug, counted; `detail` tells a person which part it was.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Damaged(CasError):  # noqa: N818 - describes the document
    """Something is in the store under this name, but it is not what it should be."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class Unavailable(CasError):  # noqa: N818 - describes the store
    """A store did not do what was asked: it failed, hung, or is being left alone for a while."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class Forbidden(CasError, PermissionError):  # noqa: N818 - describes the store
    """A store knows who asks and does not let him: asking again soon is of no use."""
