"""Real Redis servers on loopback ports of their own: single, behind Sentinel, a cluster."""

import contextlib
import socket
import uuid

import pytest

from tests.support.processes import wait_until
from tests.support.servers import Server, free_ports


class RedisServer(Server):
    """One `redis-server`. It keeps what it has when it is killed; `options` are its own."""

    def __init__(self, **options):
        super().__init__()
        [self.port] = free_ports(1, distance=10_000)
        self.options = {name.replace("_", "-"): value for name, value in options.items()}
        self.url = f"redis://127.0.0.1:{self.port}"

    def command(self):
        options = {
            "bind": "127.0.0.1", "port": self.port, "dir": self.folder, "save": "",
            "appendonly": "yes", "appendfsync": "no", "daemonize": "no", **self.options,
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return ["redis-server", *words]

    def answers(self):
        return self.ask("PING").startswith((b"+PONG", b"-NOAUTH"))

    def ask(self, *words):
        """Send one command by a connection of its own; return the beginning of the answer."""
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"".join(parts))
            return connection.recv(1 << 16)

    def restart(self):
        self.kill()
        self.start()

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        super().close()


class Sentinel(RedisServer):
    """A `redis-sentinel` that watches a server under the name `voices`."""

    def __init__(self, master):
        super().__init__()
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/voices/0"
        (self.folder / "sentinel.conf").write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self.folder}\n"
            f"sentinel monitor voices 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds voices 500\n"
            "sentinel failover-timeout voices 3000\n"
        )

    def command(self):
        return ["redis-server", str(self.folder / "sentinel.conf"), "--sentinel"]


class Cluster:
    """Masters on loopback, each with its share of the slots."""

    def __init__(self, size=2):
        self.nodes = [RedisServer(cluster_enabled="yes") for _ in range(size)]

    @property
    def url(self):
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self):
        share = 16384 // len(self.nodes) + 1
        for number, node in enumerate(self.nodes):
            node.start()
            first, last = number * share, min((number + 1) * share, 16384) - 1
            assert node.ask("CLUSTER", "ADDSLOTSRANGE", first, last) == b"+OK\r\n"
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            assert node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port) == b"+OK\r\n"
        wait_until(lambda: all(map(self._is_whole, self.nodes)))
        return self

    def _is_whole(self, node):
        info = node.ask("CLUSTER", "INFO")
        known = b"cluster_known_nodes:%d\r" % len(self.nodes)
        return known in info and b"cluster_state:ok" in info

    def close(self):
        for node in self.nodes:
            node.close()


@pytest.fixture(scope="session")
def redis_server():
    """A server for all tests that leave it as it is."""
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server):
    """Where the documents of one test may go; a name added to it makes it another place.

    A server is given all the time it needs: on a busy machine half a second may not be enough.
    """
    return f"{redis_server.url}/0?timeout=30s&prefix={uuid.uuid4().hex}"


@pytest.fixture
def own_redis():
    """Start servers to break: `own_redis(maxmemory="5mb")`."""
    servers = []

    def start(kind=RedisServer, *arguments, **options):
        servers.append(kind(*arguments, **options))
        return servers[-1].start()

    yield start
    for server in reversed(servers):
        server.close()
