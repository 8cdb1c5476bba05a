"""What a verb does its work with: processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from typing import TYPE_CHECKING, Final, Protocol

from stepaudio_cas.cli import context
from stepaudio_cas.errors import SettingError
from stepaudio_cas.prewarm.encode import Everywhere, Outcome
from stepaudio_cas.prewarm.ray_cluster import Cluster
from stepaudio_cas.prewarm.ray_engine import RayWorkers
from stepaudio_cas.prewarm.voices import Voice, is_remote
from stepaudio_cas.prewarm.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from stepaudio_cas.cli.hosts import Opening
    from stepaudio_cas.prewarm.encode import Encoding
    from stepaudio_cas.prewarm.workers import Lost
    from stepaudio_cas.settings import Settings

LOCAL, RAY = "local", "ray"
_FOR_RAY: Final = ("ray_address", "cpus", "gpus", "shared_disk")
_ON_DISK: Final = {"", "default", "file", "local"}
_IN_MEMORY: Final = {"memory"}


class Engine(Protocol):
    """Does something for each voice, wherever."""

    unwritten: int

    def run(self, items: Iterable[Voice]) -> Iterator[tuple[Voice, Outcome | Lost]]: ...
    def finish(self, *, now: bool = False) -> list[tuple[Voice, Outcome | Lost]]: ...


def add(parser: argparse.ArgumentParser) -> None:
    """Add `--engine`, `--jobs` and what belongs to Ray."""
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=1,
        metavar="N",
        help="processes or actors, each with a host [1]",
    )
    parser.add_argument(
        "--engine",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="this machine's processes, or Ray [local]",
    )
    ray = parser.add_argument_group("with --engine ray")
    ray.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="the cluster [RAY_ADDRESS, or one of its own on this machine]",
    )
    ray.add_argument("--cpus", type=_share, metavar="C", help="CPUs for each actor [1]")
    ray.add_argument("--gpus", type=_share, metavar="G", help="GPUs for each actor, also 0.5 [0]")
    ray.add_argument(
        "--shared-disk",
        action="store_const",
        const=True,
        help="folders have the same path and content on all machines",
    )


def cluster(options: argparse.Namespace) -> Cluster | None:
    """Read what belongs to Ray; None if the work is done on this machine."""
    if options.engine == LOCAL:
        given = [name for name in _FOR_RAY if getattr(options, name) is not None]
        if given:
            raise SettingError(f"--{given[0].replace('_', '-')} is for --engine ray")
        return None
    address = options.ray_address or os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise SettingError(
            f"{address}: the Ray client is not supported; run this on a machine of the cluster"
            " (address HOST:6379), or with: ray job submit -- cas-tool prewarm …"
        )
    return Cluster(
        None if address in {"", LOCAL} else address,
        1.0 if options.cpus is None else options.cpus,
        options.gpus or 0.0,
    )


def shared(opening: Opening, settings: Settings, *, shared_disk: bool | None) -> Opening:
    """Leave the stores that all machines reach. Raises `SettingError` if there is none."""
    apart = _IN_MEMORY if shared_disk else _IN_MEMORY | _ON_DISK
    stores = [store for store in settings.stores if _scheme(store) not in apart]
    if not stores:
        text = "each machine of the cluster would fill one of its own, and nobody would find it"
        remedy = "" if shared_disk else ", or --shared-disk if its folder is mounted on all of them"
        named = ",".join(settings.stores)
        raise SettingError(f"{named}: {text}; name a shared store, such as s3://…{remedy}")
    return dataclasses.replace(opening, store=context.absolute(",".join(stores)))


def check_places(places: Iterable[str], *, shared_disk: bool | None) -> None:
    """Refuse recordings that only this machine has."""
    ours = next((place for place in places if not is_remote(place)), None)
    if ours is not None and not shared_disk:
        raise SettingError(
            f"{ours}: the other machines of the cluster do not have it; give the URL of a"
            " bucket, or --shared-disk if its folder is mounted on all of them"
        )


def start(
    where: Cluster | None,
    opening: Opening,
    encoding: Encoding,
    jobs: int,
    *,
    show: bool,
    tell: Callable[[str], object],
) -> AbstractContextManager[Engine]:
    """Return the processes or the actors, which begin when there is something to do."""
    if where is None:
        return Workers[Voice, Outcome](opening, encoding, jobs, show=show)
    everywhere = Everywhere(encoding)
    return RayWorkers(opening, everywhere, jobs, cluster=where, show=show, tell=tell)


def _scheme(store: str) -> str:
    if store == "default":
        return store
    return store.partition("://")[0] if "://" in store else ""


def _jobs(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes")
    return number


def _share(text: str) -> float:
    """Read a number of CPUs or GPUs. Ray shares one among actors, but not several."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf or (number > 1 and number != int(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor a part of one")
    return number
