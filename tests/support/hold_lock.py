"""Take a lock, start another process, say its number, and keep the lock until killed."""

import subprocess
import sys
import time

from stepaudio_cas.store.local import LocalBackend

if __name__ == "__main__":
    lock = LocalBackend(sys.argv[1]).try_lock(sys.argv[2])
    assert lock is not None
    child = subprocess.Popen(["sleep", "300"], close_fds=False, stdout=subprocess.DEVNULL)
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    time.sleep(300)
