"""`cas-tool prewarm --engine ray`, on a real cluster of this machine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from stepaudio_cas.maintenance.inventory import manifests, pinned
from stepaudio_cas.store.local import LocalBackend
from tests.prewarm.small_host import SmallHost
from tests.support.processes import start_program, wait_until
from tests.support.ray_cluster import QUIET

HELD = """
import os

from encoder import Encoder


def make(weights, notes):
    made = Encoder(weights)
    pid = os.getpid()
    with open(f"{notes}.gpus", "a") as seen:
        seen.write(os.environ.get("CUDA_VISIBLE_DEVICES", "none") + "\\n")

    def ask(path):
        with open(path, "rb") as file:
            audio = file.read().strip()
        with open(f"{notes}/{pid}", "a") as mine:
            mine.write(path + "\\n")
        if audio.startswith(b"held") and not os.path.exists(f"{notes}/held"):
            os.mkfifo(f"{notes}/held")
            open(f"{notes}/held").read()
        return made.encode(audio, 16000)

    return ask


def die(weights):
    os.abort()
"""


WIDE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


class Ray:
    """The cluster, what is on its machine, and the command that uses it."""

    def __init__(self, folder):
        self.site = SmallHost(folder / "small").site
        self.notes = folder / "notes"
        self.notes.touch()
        self.address = ""

    @property
    def environment(self):
        path = os.pathsep.join([str(self.site), *sys.path])
        return {**os.environ, **QUIET, "PYTHONPATH": path, "SMALL_HOST_NOTES": str(self.notes)}

    @contextlib.contextmanager
    def start(self, *words, host, address=None):
        address = self.address if address is None else address
        joined = ("--ray-address", address, "--shared-disk") if address else ()
        with subprocess.Popen(
            [sys.executable, "-m", "stepaudio_cas", *map(str, words), "--engine", "ray", *joined,
             "--host", host],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=self.environment if address else {**self.environment, WIDE: "1"},
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def run(self, *words, **how):
        with self.start(*words, **how) as process:
            out, err = process.communicate(timeout=60)
            return process.returncode, out, err


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    made = Ray(tmp_path_factory.mktemp("ray"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTHONPATH", "SMALL_HOST_NOTES"):
            patch.setenv(name, made.environment[name])
        cluster = start_program("ray_cluster")
    said = json.loads(cluster.stdout.readline() or '{"error": "it died"}')
    if "error" in said:
        cluster.kill()
        pytest.fail(f"Ray does not start here: {said['error']}; {cluster.stderr.read()[-2000:]}")
    made.address = said["address"]
    yield made
    cluster.communicate(timeout=60)


@pytest.fixture
def small(tmp_path):
    return SmallHost(tmp_path / "own")


def of_session(session):
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(entry.name)) == session:
                yield int(entry.name)


def program(pid):
    """Say what a process runs; empty if it has ended."""
    with contextlib.suppress(OSError):
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    return ""


def listening(session):
    """Find the addresses, in hexadecimal, at which the processes of a session can be reached."""
    inodes = set()
    for pid in of_session(session):
        with contextlib.suppress(OSError):
            inodes |= {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [
        line.split() for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    ]  # fmt: skip
    return {
        line[1].partition(":")[0]
        for line in lines
        if line[3] == "0A" and f"socket:[{line[9]}]" in inodes
    }


@contextlib.contextmanager
def let_go(pipe, process):
    """Wait until the host reads a pipe, and hold it there for as long as this is open."""
    writers = []

    def reached():
        assert process.poll() is None, process.stderr.read()
        with contextlib.suppress(OSError):
            writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return writers

    wait_until(reached)
    yield
    os.close(*writers)


def labels(root):
    return {kept.manifest.label for kept in manifests(LocalBackend(root))}


def test_a_voice_whose_actor_is_killed_goes_to_a_new_one_and_nothing_is_lost(
    ray, small, root, tmp_path
):
    (small.code / "held.py").write_text(HELD)
    notes = tmp_path / "pids"
    notes.mkdir()
    held = small.voice("0.wav", "held")
    voices = {held, *(small.voice(f"{n}.wav", f"la {n}") for n in range(1, 13))}
    host = f"{small.code}/held:make?weights={small.weights}&notes={notes}"
    words = ("--store", root, "prewarm", small.voices, "--jobs", 2, "--gpus", "0.5")
    with ray.start(*words, host=host) as process:

        def at(pid):
            return (notes / pid).read_text().splitlines()

        def pids():
            return sorted(entry.name for entry in notes.iterdir() if entry.name != "held")

        def both_at_work():
            assert process.poll() is None, process.stderr.read()
            return (notes / "held").exists() and len(pids()) == 2

        wait_until(both_at_work)
        victim = next(pid for pid in pids() if at(pid)[-1:] == [held])
        os.kill(int(victim), signal.SIGKILL)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert Counter(json.loads(line)["voice"] for line in out.splitlines()) == Counter(voices)
        assert "13 new, 0 already there, 0 failed" in err
        assert labels(root) == voices
        assert pinned(LocalBackend(root)) == {kept.key for kept in manifests(LocalBackend(root))}
        asked = Counter(path for pid in pids() for path in at(pid))
        assert asked == Counter(voices) + Counter([held])
        assert at(victim) == [held]
    assert set((tmp_path / "pids.gpus").read_text().split()) == {"0"}


def test_what_fails_is_named_as_it_is_without_ray(ray, small, root):
    broken, deadly = small.voice("broken.wav", "broken"), small.voice("deadly.wav", "die")
    good = small.voice("good.wav", "la")
    small.voice("notes.txt", "nothing")
    code, out, err = ray.run("--store", root, "prewarm", small.voices, "--json", host=small.spec)
    said = json.loads(out)
    assert code == 1, err
    assert (said["new"], said["there"], said["failed"], len(said["left_out"])) == (1, 0, 2, 1)
    why = {failure["voice"]: failure["why"] for failure in said["failures"]}
    assert why.pop(broken) == "the host says: ValueError: this is no sound"
    told = why.pop(deadly)
    assert told.startswith("its actor died, 3 times (Worker unexpectedly exits")
    assert told.endswith(", on 127.0.0.1)")
    assert why == {}
    assert ray.notes.read_text().splitlines().count("die") == 3
    assert labels(root) == {good}
    assert err == ""


def test_ctrl_c_finishes_what_is_in_hand_on_a_cluster_of_our_own(ray, small, root):
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    first = small.voice("1.wav", f"wait {pipe}")
    small.voice("2.wav", "la")
    small.voice("3.wav", "lo")
    words = ("--store", root, "prewarm", small.voices, "--no-pin")
    with ray.start(*words, host=small.spec, address="") as process:
        with let_go(pipe, process):
            assert listening(process.pid) <= LOOPBACK
            assert listening(process.pid) != set()
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
            assert process.stderr.readline().startswith("finishing what is in hand")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert [json.loads(line)["voice"] for line in out.splitlines()] == [first]
        assert "1 new, 0 already there, 0 failed; in " in err
        assert "stopped early" in err
        assert labels(root) == {first}


def test_a_cluster_of_our_own_that_dies_ends_the_command_and_loses_nothing(ray, small, root):
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    first = small.voice("1.wav", "la")
    small.voice("2.wav", f"wait {pipe}")
    with ray.start(
        "--store", root, "prewarm", small.voices, host=small.spec, address=""
    ) as process:
        with let_go(pipe, process):
            (raylet,) = (pid for pid in of_session(process.pid) if program(pid) == "raylet")
            os.kill(raylet, signal.SIGKILL)
            out, err = process.communicate(timeout=100)
        assert process.returncode == 1
        assert [json.loads(line)["voice"] for line in out.splitlines()] == [first]
        assert "the Ray cluster of our own has died (its raylet has ended)" in err
        assert len(err.splitlines()) == 1
        assert labels(root) == {first}


@pytest.mark.parametrize(
    ("host", "code", "text"),
    [
        ("{spec}&more=1", 2, "no option more; it has weights, ask (on "),
        ("{code}/held:die?weights=w", 1, "the host cannot be loaded: 3 actors died of it ("),
    ],
)
def test_a_host_that_cannot_be_loaded_is_one_line(host, code, text, ray, small, root):
    (small.code / "held.py").write_text(HELD)
    voice = small.voice("1.wav", "la")
    host = host.format(spec=small.spec, code=small.code)
    got, out, err = ray.run("--store", root, "prewarm", voice, host=host)
    assert (got, out) == (code, "")
    assert text in err
    assert len(err.splitlines()) == 1


def test_what_no_machine_has_is_said_and_waited_for(ray, small, root):
    voice = small.voice("1.wav", "la")
    with ray.start("--store", root, "prewarm", voice, "--gpus", "2", host=small.spec) as process:
        text = "no machine of the Ray cluster has 1 CPU and 2 GPU for an actor now; waiting"
        assert process.stderr.readline().startswith(text)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")


def test_what_the_host_prints_is_shown_if_it_is_wanted_and_never_in_our_output(ray, small, root):
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    small.voice("1.wav", "print")
    small.voice("2.wav", f"wait {pipe}")
    words = ("--store", root, "prewarm", small.voices, "--json", "--verbose")
    with ray.start(*words, host=small.spec) as process:
        while "the host prints" not in process.stderr.readline():
            assert process.poll() is None
        with let_go(pipe, process):
            pass
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, json.loads(out)["new"]) == (0, 2)


FEW = """
import sys
from stepaudio_cas.prewarm.ray_cluster import Cluster
from stepaudio_cas.prewarm.ray_engine import RayWorkers

class Host:
    def close(self):
        return True

taken, most = 0, 0

def items():
    global taken
    for taken in range(1, 201):
        yield taken

with RayWorkers(Host, lambda host, item: -item, 2, cluster=Cluster(sys.argv[1])) as workers:
    for done, (item, result) in enumerate(workers.run(items()), start=1):
        assert result == -item
        most = max(most, taken - done)
print(done, most)
"""


def test_items_are_taken_no_faster_than_they_are_done(ray):
    done = subprocess.run(
        [sys.executable, "-c", FEW, ray.address],
        env=ray.environment, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    count, most = map(int, done.stdout.split())
    assert count == 200
    assert most <= 4


FULL = """
import sys
import ray
from stepaudio_cas.prewarm import ray_engine
from stepaudio_cas.prewarm.ray_cluster import Cluster

ray_engine._ROOM = 0

class Host:
    def close(self):
        return True

class Other:
    def here(self):
        return True

def tell(text):
    print(text)
    if other:
        ray.kill(other.pop())

other = []
with ray_engine.RayWorkers(
    Host, lambda host, item: -item, 2, cluster=Cluster(sys.argv[1]), tell=tell
) as workers:
    other.append(ray.remote(Other).options(num_cpus=2).remote())
    ray.get(other[0].here.remote())
    print(sorted(result for _, result in workers.run(range(5))))
"""


def test_a_full_cluster_is_waited_for_and_that_is_said_once(ray):
    done = subprocess.run(
        [sys.executable, "-c", FULL, ray.address],
        env=ray.environment, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "no machine of the Ray cluster has had room for an actor for 0 s; waiting for one that has",
        "the Ray cluster has room for an actor: going on",
        "[-4, -3, -2, -1, 0]",
    ]


def test_an_address_where_no_cluster_is_is_one_line(ray, small, root):
    voice = small.voice("1.wav", "la")
    words = ("--store", root, "prewarm", voice)
    code, out, err = ray.run(*words, host=small.spec, address="127.0.0.1:1")
    assert (code, out) == (1, "")
    assert "the Ray cluster 127.0.0.1:1: " in err
    assert len(err.splitlines()) == 1
