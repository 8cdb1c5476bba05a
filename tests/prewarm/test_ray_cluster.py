"""What is said of actors that have ended."""

import pytest

from stepaudio_cas.prewarm.ray_cluster import ending

DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: _Remote
\tactor_id: d2544c3ce837ca4abf29291501000000
\tip: 10.0.0.7
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            DIED + "The actor is dead because its owner has died. Owner Id: 01ffff Owner Ip"
            " address: 10.0.0.1 Worker exit detail: Owner's node has crashed.",
            "Owner's node has crashed, on 10.0.0.7",
        ),
        (
            DIED + "The actor is dead because its worker process has died. Worker exit type:"
            " SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error"
            " code 2. End of file. There are some potential root causes. (1) The process …",
            "Worker unexpectedly exits with a connection error code 2. End of file, on 10.0.0.7",
        ),
        (
            DIED + "The actor died because its node has died. Node Id: d2376e\n"
            "\tthe actor's node was terminated unexpectedly: health check failed",
            "The actor died because its node has died, on 10.0.0.7",
        ),
        (
            (
                "Task was killed due to the node running low on memory.\nMemory on the node"
                " (IP: 10.0.0.7, ID: ab) was 15GB / 16GB (0.95)\nRefer to the documentation"
            ),
            "Task was killed due to the node running low on memory",
        ),
        (
            DIED + "Worker exit detail: " + "long " * 200,
            ("long " * 32).rstrip() + " …, on 10.0.0.7",
        ),
        ("", "RuntimeError"),
    ],
)
def test_how_an_actor_ended_is_one_short_line(text, said):
    assert ending(RuntimeError(text)) == said
