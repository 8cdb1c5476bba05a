"""Compute the keys that golden_keys.json gives; runs by itself in any Python that has `blake3`.

Values stand in that file as Python literals. `python -m tests.identity.golden` prints what this
Python and this source make of them.
"""

import ast
import enum
import json
import math
import pathlib
import sys

from stepaudio_cas.identity.canonical import canonical
from stepaudio_cas.identity.files import FileDigest
from stepaudio_cas.identity.fingerprint import make_fingerprint
from stepaudio_cas.identity.recipe import Input, make_recipe

FILE = pathlib.Path(__file__).with_name("golden_keys.json")


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Rate(enum.IntEnum):
    HIGH = 48000


class Mode(str, enum.Enum):
    FAST = "fast"


WITHOUT_LITERAL = {
    "nan": math.nan,
    "negative nan": -math.nan,
    "infinity": math.inf,
    "nan in a complex number": complex(math.nan, -0.0),
    "a set": {3, 1, 2, "c", "a", "b", None},
    "a frozen set": frozenset({(1, "x"), (2, "y")}),
    "enum": Colour.BLUE,
    "flag": Access.WRITE,
    "combined flags": Access.READ | Access.WRITE,
    "no flag": Access(0),
    "combined integer flags": Rights.READ | Rights.WRITE,
    "integer enum": Rate.HIGH,
    "text enum": Mode.FAST,
}


def compute(vectors):
    """What is said of each vector, computed anew."""
    return {
        "canonical": {
            text: canonical(ast.literal_eval(text)).hex() for text in vectors["canonical"]
        },
        "without literal": {n: canonical(v).hex() for n, v in WITHOUT_LITERAL.items()},
        "fingerprints": [one | {"id": fingerprint(one).id} for one in vectors["fingerprints"]],
        "keys": [one | {"key": key(one, vectors)} for one in vectors["keys"]],
    }


def fingerprint(one):
    files = {role: FileDigest(*pair) for role, pair in one["files"].items()}
    settings = ast.literal_eval(one["settings"])
    return make_fingerprint(
        files=files, settings=settings, source=one["source"], runtime=one["runtime"]
    )


def key(one, vectors):
    number = one["fingerprint"]
    return make_recipe(
        one["schema"],
        inputs={name: Input(*pair) for name, pair in one["inputs"].items()},
        params=ast.literal_eval(one["params"]),
        fingerprint=None if number is None else fingerprint(vectors["fingerprints"][number]),
    ).key


def load():
    return json.loads(FILE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(compute(load()), indent=1))
