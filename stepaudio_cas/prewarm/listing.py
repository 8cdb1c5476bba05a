"""Names of files in folders and buckets, one after the other, so that millions fit in memory.

No more names are held than one folder has, and of a bucket on S3 no more than one page of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PAGE: Final = 1000


def local(path: str, trouble: Callable[[str], object]) -> Iterator[str]:
    """Yield the files in a folder and all folders in it, following links, each folder once.

    What cannot be read is told, and the rest goes on.
    """

    def tell(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # gone again
            trouble(f"{error.filename}: {error.strerror}")

    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(path, followlinks=True, onerror=tell):
        here = _identity(folder)
        if here is None or here in seen:  # gone again, or a link back to where we have been
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(folder, name) for name in sorted(files))


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        now = os.stat(folder)
    except OSError:
        return None
    return now.st_dev, now.st_ino


def remote(fs: Any, root: str) -> Iterator[str]:
    """Yield the files at a place of fsspec's and all below. Raises whatever its client raises."""
    if hasattr(fs, "call_s3"):
        yield from _pages(fs, root)
        return
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        found = {str(one["name"]): one["type"] for one in fs.ls(folder, detail=True)}
        fs.invalidate_cache(folder)
        found.pop(folder, None)
        yield from sorted(name for name, kind in found.items() if kind != "directory")
        waiting += sorted((n for n, kind in found.items() if kind == "directory"), reverse=True)


def _pages(fs: Any, root: str) -> Iterator[str]:
    """Ask S3 for one page after the other; its folders are only a way of writing names."""
    bucket, prefix, _ = fs.split_path(root)
    asked = {"Bucket": bucket, "Prefix": f"{prefix.rstrip('/')}/" if prefix else ""}
    while True:
        page = fs.call_s3("list_objects_v2", MaxKeys=_PAGE, **asked)
        names = (str(one["Key"]) for one in page.get("Contents", ()))
        yield from (f"{bucket}/{name}" for name in names if not name.endswith("/"))
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]
