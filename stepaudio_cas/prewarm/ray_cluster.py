"""The Ray cluster that actors are on: how it is joined, what it lacks, how an actor of it ended."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.errors import CasError, SettingError

if TYPE_CHECKING:
    from typing import TextIO

_OBJECTS: Final = 100 * 1000**2
"""Bytes of shared memory for Ray on this machine: what goes through it are names and outcomes."""

_PATIENCE: Final = 10.0
"""Seconds for a cluster to say that it is there."""

_VITAL: Final = {"gcs_server", "raylet"}
_LONG: Final = 160

_DETAIL: Final = re.compile(r"Worker exit detail: (.*?)(?: There are some potential|\n|$)").search
_PLACE: Final = re.compile(r"\bip(?:=|: )([\w.:]+)").search


class Cluster(NamedTuple):
    """Which cluster, and how much of its machine an actor takes.

    Without an `address` it is one of our own, on this machine, that ends with us.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0


class Shared:
    """A stdout that one thread writes to, and others do not, whatever they think.

    Ray tells there of workers that died, whether or not anybody wants to know, and between the
    lines of a document.
    """

    def __init__(self, stream: TextIO, thread: int | None, others: TextIO | None) -> None:
        self._stream, self._thread, self._others = stream, thread, others

    def write(self, text: str) -> int:
        stream = self._stream if threading.get_ident() == self._thread else self._others
        return len(text) if stream is None else stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def connect(cluster: Cluster, *, show: bool) -> Any:
    """Join a cluster, or start one that only this machine reaches: whoever does may run code."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # both are read when it is imported
    if cluster.address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's name for loopback only
    try:
        import ray  # noqa: PLC0415 - an extra, and large
    except ImportError:
        raise SettingError("--engine ray needs Ray: pip install 'stepaudio-cas[ray]'") from None
    how: dict[str, Any] = {"log_to_driver": show, "logging_level": "ERROR"}
    if cluster.address is None:
        how |= {"object_store_memory": _OBJECTS, "include_dashboard": False}
        how |= {"_node_ip_address": "127.0.0.1"}
    else:
        _knock(cluster.address)
    try:
        ray.init(address=cluster.address or "local", **how)
    except Exception as error:  # of several kinds; other versions of Ray or Python among them
        where = cluster.address or "of our own"
        raise CasError(f"the Ray cluster {where}: {one_line(error)}") from None
    return ray


def _knock(address: str) -> None:
    """Look whether anybody is there: Ray asks again and again, for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():  # `auto`, and whatever else Ray knows
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except OSError as error:
        raise CasError(f"the Ray cluster {address}: {one_line(error)}") from None


def one_line(error: BaseException) -> str:
    """Say an error, whatever it is."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def lacking(ray: Any, cluster: Cluster) -> str:
    """Say that no machine which is there now has what an actor takes; empty if one has."""
    wanted = {"CPU": cluster.cpus, "GPU": cluster.gpus}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(has.get(kind, 0) >= n for kind, n in wanted.items()) for has in machines):
        return ""
    text = " and ".join(f"{n:g} {kind}" for kind, n in wanted.items() if n)
    return f"no machine of the Ray cluster has {text} for an actor now"


def died(ray: Any, cluster: Cluster) -> str:
    """Say that this machine is in the cluster no more; empty if it is. One of our own dies of it.

    Then its processes are ours, so that it is seen at once, if Ray lets us: it takes a while to
    notice.
    """
    if cluster.address is not None:
        return "" if _has_us(ray) else "this machine has left the Ray cluster"
    text = "the Ray cluster of our own has died"
    with contextlib.suppress(AttributeError):
        for name, _ in ray._private.worker._global_node.dead_processes():  # noqa: SLF001
            if name in _VITAL:
                return f"{text} (its {name} has ended)"
    return "" if _has_us(ray) else text


def _has_us(ray: Any) -> bool:
    try:
        here = ray.get_runtime_context().get_node_id()
        return any(node["Alive"] and node["NodeID"] == here for node in ray.nodes())
    except Exception:  # of several kinds: it cannot be asked, and may come back
        return True


def ending(error: Exception) -> str:
    """Say how an actor ended, and where: in Ray's words, without the page of advice around them."""
    text = str(error).strip() or one_line(error)
    detail, place = _DETAIL(text), _PLACE(text)
    lines = [line.strip() for line in text.splitlines()]
    if detail is not None:
        said = detail[1]
    elif "Traceback" in text:  # something that is not installed there
        said = lines[-1]
    else:
        said = next((line for line in lines if " because " in line), lines[0])
        said = said.split(". ")[0]
    said = said.strip().rstrip(".")
    said = said if len(said) <= _LONG else f"{said[:_LONG].rstrip()} …"
    return f"{said}, on {place[1]}" if place is not None else said
