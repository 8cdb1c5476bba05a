"""The entries that tests of the store and of faults work with."""

from stepaudio_cas import make_recipe
from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.manifest import Manifest
from stepaudio_cas.identity.digest import digest_bytes


def recipe(number=0, schema="test/1"):
    """What stands for one voice."""
    return make_recipe(schema, params={"voice": number})


def tokens(number=0):
    """What its tokens are."""
    return [number, number + 1], [number] * 5, [7, 8, 9]


def entry(number=0, value=None, **fields):
    """Return the manifest and the object of an entry that no cache has made."""
    encoded = codec.encode(tokens(number) if value is None else value)
    manifest = Manifest(
        key=recipe(number).key,
        object=digest_bytes(encoded.data),
        size=len(encoded.data),
        codec=encoded.codec,
        schema="test/1",
    )
    return manifest._replace(**fields), encoded.data


class Computation:
    """A host's function that knows how often it has run."""

    def __init__(self, value=None, number=0):
        self.value = tokens(number) if value is None else value
        self.runs = 0

    def __call__(self):
        self.runs += 1
        return self.value


def counters(cache):
    """What a cache has counted, without what depends on time and place."""
    return {
        name: number
        for name, number in cache.stats()["counters"].items()
        if not name.startswith(("seconds.", "bytes."))
    }


def errors(cache):
    """The kinds of errors a cache has counted."""
    return {name for name in counters(cache) if name.startswith("error.")}
