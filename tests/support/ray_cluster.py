"""A Ray cluster on loopback, for as long as somebody holds this program's stdin open.

It says its address, or why it cannot start, as one line of JSON.
"""

import json
import os
import sys
import tempfile

QUIET = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def main():
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory(
        prefix="ray", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        try:
            import ray

            ray.init(
                address="local",
                num_cpus=2,
                num_gpus=1,  # one to hand out, whatever the machine has
                include_dashboard=False,
                object_store_memory=80_000_000,
                log_to_driver=False,
                logging_level="ERROR",
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,  # short: there are sockets in it
            )
            said = {"address": ray.get_runtime_context().gcs_address}
        except BaseException as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        ray.shutdown()


if __name__ == "__main__":
    main()
