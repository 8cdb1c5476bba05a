"""Another user, without any rights of his own, in a store that is not his.

Takes the store's root and the numbers of the voices he asks for; says what he got.
"""

import json
import os
import sys

import stepaudio_cas as cas
from tests.support.values import Computation, counters, recipe

NOBODY = 65534


def drop_rights():
    """Become nobody, where we may choose; anybody else has no special rights anyway."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def visit(root, numbers):
    with cas.open(root, memory="0", log="off", deadline=60.0) as cache:
        cache._housekeeping.started = True
        tier = cache.chain.tiers[0]
        values, runs = [], []
        for number in numbers:
            compute = Computation(number=number)
            values.append(cache.get_or_compute(recipe(number), compute))
            runs.append(compute.runs)
        return {
            "values": values,
            "runs": runs,
            "counters": counters(cache),
            "reading": tier.reading.state,
            "writing": tier.writing.state,
        }


if __name__ == "__main__":
    visit("memory://", [0])  # load everything while we may read it
    drop_rights()
    sys.stdout.write(json.dumps(visit(sys.argv[1], list(map(int, sys.argv[2:])))))
