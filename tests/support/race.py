"""Processes, each with threads, that ask for one new key at once. Says what each of them got.

Takes the store's URL, a file to which every computation adds a line, the numbers of processes and
threads, and which of these: `no-locks` makes `flock` do nothing, `together` lets every computation
wait until all processes compute, so that all of them really race to store.
"""

import fcntl
import json
import os
import sys

import stepaudio_cas as cas
from tests.support.processes import in_children, in_threads, wait_until
from tests.support.values import counters, recipe


def add_line(path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"computed\n")
    os.close(fd)


def count_lines(path):
    with open(path) as file:
        return len(file.readlines())


def race(url, log, processes, threads, options):
    if "no-locks" in options:
        fcntl.flock = lambda fd, operation: None

    def work(_):
        def compute():
            add_line(log)
            if "together" in options:
                wait_until(lambda: count_lines(log) >= processes)
            return [os.getpid()], list(os.urandom(8)), [1, 2, 3]

        with cas.open(url, memory="1MB", log="off", deadline=60.0) as cache:
            cache._housekeeping.started = True
            got = in_threads(threads, lambda _: cache.get_or_compute(recipe(), compute))
            return {"values": got, "counters": counters(cache)}

    return in_children(processes, work)


if __name__ == "__main__":
    url, log, processes, threads, *options = sys.argv[1:]
    cas.open("memory://").close()  # import everything once
    found = race(url, log, int(processes), int(threads), options)
    sys.stdout.write(json.dumps(found))
