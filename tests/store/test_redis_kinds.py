"""Behind Sentinel, as a cluster, over TLS."""

import datetime as dt
import ipaddress

import pytest

from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import open_backend
from tests.support.processes import wait_until
from tests.support.redis_server import Cluster, RedisServer, Sentinel
from tests.support.values import entry

PATHS = [f"v1/objects/{number:02x}/x" for number in range(64)]


@pytest.fixture(scope="module")
def cluster():
    found = Cluster().start()
    yield found
    found.close()


def test_a_cluster_is_one_store_however_keys_are_spread(cluster):
    backend = open_backend(cluster.url)
    for path in PATHS:
        assert backend.put(path, path.encode(), create=True)
        assert not backend.put(path, b"second", create=True)
    assert all(int(node.ask("DBSIZE")[1:]) > 0 for node in cluster.nodes)
    assert backend.get_many([*PATHS, "x"], touch=True) == [*(p.encode() for p in PATHS), None]
    assert sorted(found.path for found in backend.list("v1/objects")) == PATHS
    assert backend.stat(PATHS[0]).size == len(PATHS[0])
    assert backend.delete(PATHS[0], expect=b"another") is False
    assert backend.delete(PATHS[0], expect=PATHS[0].encode()) is True
    assert backend.delete(PATHS[1]) is True
    assert backend.get(PATHS[0]) is backend.get(PATHS[1]) is None


def test_entries_and_leases_work_in_a_cluster(cluster):
    store, other = Store(open_backend(cluster.url)), open_backend(cluster.url)
    entries = [entry(number) for number in range(20)]
    for manifest, blob in entries:
        store.commit(manifest, blob)
    found = store.read_many([manifest.key for manifest, _ in entries])
    assert [found[manifest.key].blob for manifest, _ in entries] == [blob for _, blob in entries]
    leases = [store.backend.try_lock(str(number)) for number in range(8)]
    store.backend._leases.renew()
    assert [other.try_lock(str(number)) for number in range(8)] == [None] * 8
    for lease in leases:
        lease.release()
    assert all(other.try_lock(str(number)) for number in range(8))


def test_sentinel_leads_to_the_server_that_is_the_master_now(own_redis):
    master = own_redis()
    replica = own_redis(replicaof=f"127.0.0.1 {master.port}", repl_diskless_sync_delay=0)
    wait_until(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"))
    sentinel = own_redis(Sentinel, master)
    known = f"slave0:ip=127.0.0.1,port={replica.port}".encode()
    wait_until(lambda: b"slaves=1" in sentinel.ask("INFO", "sentinel"), 60)
    assert known in master.ask("INFO", "replication")
    backend = open_backend(sentinel.url)
    backend.put(PATHS[0], b"before")
    wait_until(lambda: b"before" in replica.ask("GET", f"stepaudio-cas:{PATHS[0]}"))
    master.kill()

    def writes():
        try:
            return backend.put(PATHS[1], b"after")
        except Exception:
            return False

    wait_until(writes)
    assert backend.get_many(PATHS[:2]) == [b"before", b"after"]
    assert b"after" in replica.ask("GET", f"stepaudio-cas:{PATHS[1]}")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that vouches for itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(built.public_bytes(pem))
    private = serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "key.pem").write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()))
    return folder


class TlsServer(RedisServer):
    """Speaks TLS on the port beside its plain one."""

    def __init__(self, folder):
        super().__init__(
            tls_cert_file=folder / "cert.pem", tls_key_file=folder / "key.pem",
            tls_auth_clients="no",
        )  # fmt: skip
        self.options["tls-port"] = self.tls_port = self.port + 10_000
        self.tls_url = f"rediss://127.0.0.1:{self.tls_port}"


def test_over_tls_the_certificate_is_checked(own_redis, certificate):
    server = own_redis(TlsServer, certificate)
    backend = open_backend(f"{server.tls_url}?ssl_ca_certs={certificate}/cert.pem")
    assert backend.put(PATHS[0], b"x")
    assert open_backend(server.url).get(PATHS[0]) == b"x"
    with pytest.raises(Exception, match=r"(?i)certificate"):
        open_backend(server.tls_url).get(PATHS[0])
    assert open_backend(f"{server.tls_url}?ssl_cert_reqs=none").get(PATHS[0]) == b"x"
