"""Other processes: forked ones that start together, and programs of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def in_children(count, work):
    """Run `work(number)` in `count` forked children that start at once; return their results."""
    gate, opener = os.pipe()
    children = [_fork(work, number, gate, opener) for number in range(count)]
    os.close(gate)
    os.close(opener)
    outputs = [_read_all(pipe) for _, pipe in children]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in children]
    assert codes == [0] * count, codes
    return [json.loads(output) for output in outputs]


def in_child(work):
    """Run `work()` in a forked child and return its result."""
    return in_children(1, lambda _: work())[0]


def _fork(work, number, gate, opener):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    code = 1
    signal.alarm(100)  # a child that hangs is a failure, not a hang
    try:
        os.close(opener)
        os.read(gate, 1)  # ends when the parent has made all children
        with open(writer, "w") as pipe:
            json.dump(work(number), pipe)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _read_all(pipe):
    with open(pipe) as file:
        return file.read()


def run_program(name, *arguments, timeout=150):
    """Run `tests/support/<name>.py` and return what its last line says, as JSON."""
    done = start_program(name, *arguments)
    try:
        output, errors = done.communicate(timeout=timeout)
    finally:
        done.kill()
    assert done.returncode == 0, errors[-4000:]
    return json.loads(output.splitlines()[-1])


def start_program(name, *arguments):
    """Start `tests/support/<name>.py` with pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.support.{name}", *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition, seconds=60.0):
    """Poll until `condition()` is true; fail if that takes longer than anything reasonable."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def in_threads(count, work):
    """Run `work(number)` in threads that start together; return results, or raise the first."""
    barrier = threading.Barrier(count)
    results, errors = [None] * count, []

    def run(number):
        try:
            barrier.wait(60)
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return results
