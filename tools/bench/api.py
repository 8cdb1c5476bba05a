"""What the HTTP server inside a host costs the host's hits: with 64 clients that never stop asking.

    .venv/bin/python tools/bench/api.py [--clients 64] [--rounds 60] [--seconds 0.4] [--json]

The host is this process: one thread that looks up a voice of 10 s again and again, from memory.
Clients are in another process. Rounds without and with them alternate, so that whatever else the
machine does is in both. Said are medians of rounds, and the ratio of neighbouring ones.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATHS = ("/api/v1/stats", "/api/v1/entries", "/metrics", "/api/v1/health", "/api/v1/misses", "/")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--listeners", type=int, default=8, help="of the clients, so many listen")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        asyncio.run(_clients(options.ask, options.clients, options.listeners))
        return
    said = measure(options)
    if options.json:
        print(json.dumps(said))
        return
    alone, beside = said["alone_us"], said["beside_us"]
    print(f"hit without clients    {alone:8.1f} µs, p99 {said['p99_alone_us']:.0f} µs")
    p99 = said["p99_beside_us"]
    print(f"hit beside {options.clients:3} clients  {beside:8.1f} µs, p99 {p99:.0f} µs")
    print(f"cost, median of rounds {said['cost']:8.1%} (bar: 5 %)")
    print(f"cost, all rounds       {said['cost_of_sums']:8.1%}")
    print(f"server without clients {said['idle_cost']:8.1%}")
    print(f"answers a second       {said['answers_per_second']:8.1f}")


def measure(options):
    import numpy as np

    import stepaudio_cas as cas
    from stepaudio_cas.settings import Settings
    from stepaudio_cas.web.inside import Inside

    audio = np.random.default_rng(0).standard_normal((1, 480_000)).astype("float32")
    with tempfile.TemporaryDirectory() as folder, cas.open(f"{folder}/store", log="off") as cache:
        call = cache.cached(version="1", name="bench")(lambda _: ([1] * 250, [2] * 250))
        hit = lambda: call(audio)  # noqa: E731
        hit()
        bare = [_round(hit, options.seconds) for _ in range(10)]
        inside = Inside(cache, Settings(http="127.0.0.1:0"), settle=0.0)
        inside.start()
        assert inside.ready.wait(60)
        asking = Clients(inside.url, options)
        alone, beside = [], []
        _round(hit, options.seconds)
        try:
            for _ in range(options.rounds):
                asking.pause()
                alone.append(_round(hit, options.seconds))
                asking.go_on()
                time.sleep(0.05)
                beside.append(_round(hit, options.seconds))
            answers = asking.answers()
        finally:
            asking.end()
            inside.stop()
    costs = [b[0] / a[0] - 1 for a, b in zip(alone, beside, strict=True)]
    middle = lambda rounds, at: statistics.median(r[at] for r in rounds) * 1e6  # noqa: E731
    return {
        "clients": options.clients,
        "alone_us": middle(alone, 0),
        "beside_us": middle(beside, 0),
        "p99_alone_us": middle(alone, 1),
        "p99_beside_us": middle(beside, 1),
        "cost": statistics.median(costs),
        "cost_of_sums": sum(b[0] for b in beside) / sum(a[0] for a in alone) - 1,
        "idle_cost": middle(alone, 0) / middle(bare, 0) - 1,
        "hits": sum(r[2] for r in alone),
        "answers_per_second": answers / (options.rounds * (options.seconds + 0.05)),
        "processors": os.cpu_count(),
    }


def _round(hit, seconds):
    """Return the mean and the 99th percentile of hits, and how many there were."""
    times, end = [], time.perf_counter() + seconds
    before = time.perf_counter()
    while before < end:
        hit()
        now = time.perf_counter()
        times.append(now - before)
        before = now
    times.sort()
    return sum(times) / len(times), times[int(len(times) * 0.99)], len(times)


class Clients:
    """A process that asks; it is stopped between rounds, as a whole."""

    def __init__(self, url, options):
        words = ["--ask", url, "--clients", options.clients, "--listeners", options.listeners]
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__), *map(str, words)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "asking\n"

    def pause(self):
        os.kill(self._process.pid, 19)

    def go_on(self):
        os.kill(self._process.pid, 18)

    def answers(self):
        self._process.terminate()
        return int(self._process.stdout.read())

    def end(self):
        os.kill(self._process.pid, 18)
        self._process.kill()
        self._process.wait()


async def _clients(url, number, listeners):
    import signal

    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    count, stop = [0], asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def listen():
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while await reader.read(65536):
            pass

    async def ask(at):
        while True:
            reader, writer = await asyncio.open_connection(host, port)
            path = PATHS[at % len(PATHS)]
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
            await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
            writer.close()
            count[0] += 1
            at += 1

    tasks = [asyncio.create_task(listen()) for _ in range(min(listeners, number))]
    tasks += [asyncio.create_task(ask(n)) for n in range(number - len(tasks))]
    print("asking", flush=True)
    await stop.wait()
    print(count[0], flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    main()
