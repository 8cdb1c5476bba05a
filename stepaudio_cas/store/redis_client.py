"""A connection to Redis as we want it: no long waits, one retry, and errors that we can tell."""

from __future__ import annotations

import contextlib
import errno
import time
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stepaudio_cas.errors import Forbidden, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepaudio_cas.store.redis_url import Place


def connect(place: Place) -> Any:
    """Return a client for a place. That of a cluster asks it for its nodes first."""
    options = _options(place)
    if place.kind == "cluster":
        from redis.cluster import ClusterNode, RedisCluster  # noqa: PLC0415 - slow to import

        nodes = [ClusterNode(host, port) for host, port in place.hosts]
        return RedisCluster(startup_nodes=nodes, ssl=place.tls, **options)
    if place.kind == "sentinel":
        from redis.sentinel import Sentinel  # noqa: PLC0415

        timeouts = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
        sentinel = Sentinel(list(place.hosts), sentinel_kwargs={**timeouts, **place.sentinel})
        return sentinel.master_for(place.master, db=place.db, ssl=place.tls, **options)
    host, port = place.hosts[0]
    pool = redis.BlockingConnectionPool(
        connection_class=redis.SSLConnection if place.tls else redis.Connection,
        host=host,
        port=port,
        db=place.db,
        timeout=place.timeout,
        **options,
    )
    return redis.Redis(connection_pool=pool)


def _options(place: Place) -> dict[str, Any]:
    return {
        "socket_timeout": place.timeout,
        "socket_connect_timeout": place.timeout,
        # A server that was restarted leaves dead connections behind; one that hangs is not asked
        # again: the caller has gone by then.
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        "max_connections": place.pool,
        "protocol": 2,
        **place.connection,
    }


@contextlib.contextmanager
def telling(place: Place) -> Iterator[None]:
    """Raise what the client raises as what it means to us."""
    try:
        yield
    except redis.TimeoutError as error:
        raise Unavailable("timeout", f"{place.shown} does not answer") from error
    except redis.AuthenticationError as error:
        raise Unavailable("credentials", f"{place.shown}: {error}") from error
    except redis.ConnectionError as error:
        raise Unavailable("down", f"{place.shown}: {error}") from error
    except (redis.RedisError, redis.exceptions.RedisClusterException) as error:
        raise Unavailable("server", f"{place.shown}: {error}") from error


def nodes(client: Any) -> Iterator[Any]:
    """Yield a client for every server that has keys of its own."""
    if not hasattr(client, "get_primaries"):
        yield client
        return
    for node in client.get_primaries():
        yield client.get_redis_connection(node)


def clock_ahead(client: Any) -> float:
    """Return by how many seconds the server's clock is ahead of ours; 0 if it may not be asked."""
    before = time.time()
    try:
        seconds, micros = next(nodes(client)).time()
    except redis.ResponseError:
        return 0.0
    return float(seconds + micros / 1e6 - (before + time.time()) / 2)


def answers(pipe: Any) -> list[Any]:
    """Send what is in a pipeline; a command that was refused has its error among the answers."""
    return list(pipe.execute(raise_on_error=False))


def checked(answer: Any) -> Any:
    """Return an answer, or raise the error that it is, as the system would have named it."""
    if not isinstance(answer, Exception):
        return answer
    if isinstance(answer, redis.exceptions.OutOfMemoryError):
        raise OSError(errno.ENOSPC, f"the server's memory is full: {answer}") from answer
    if isinstance(answer, redis.exceptions.NoPermissionError):
        raise Forbidden(str(answer)) from answer
    if isinstance(answer, redis.exceptions.ReadOnlyError):
        raise OSError(errno.EROFS, f"the server is a replica: {answer}") from answer
    raise answer


def is_wrong_type(answer: Any) -> bool:
    """Tell whether a key holds something that is not a document."""
    return isinstance(answer, redis.ResponseError) and str(answer).startswith("WRONGTYPE")
