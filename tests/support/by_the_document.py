"""docs/format.md as a program: a reader, a writer, the keys and the counters, from that page alone.

Nothing here uses the package: only the standard library, `msgpack` and `blake3`.
"""

import collections
import json
import math
import struct
from typing import NamedTuple

import msgpack
from blake3 import blake3

SUM, MAC = 74, 82  # the lengths of `,"sum":"…"}` and `,"mac":"…"`
MAC_CONTEXT = "stepaudio-cas 2026 manifest mac"
LINE = b"0123456789abcdef0123456789abcdef"  # of a key file


# The reader.


class Array(NamedTuple):
    kind: str
    dtype: str
    shape: list
    data: bytes


def digest(data):
    return blake3(data).hexdigest()


def place(root, folder, name, suffix=""):
    return root / "v1" / folder / name[:2] / f"{name}{suffix}"


def need(condition):
    if not condition:
        raise LookupError("a miss")


def read(root, key, line=None):
    """The artifact of a key; a LookupError is a miss. `line` is one of a key file."""
    try:
        data = place(root, "manifests", key, ".json").read_bytes()
        manifest = json.loads(data)
        need(len(data) <= 2**20 and manifest["format"] == 1 and manifest["key"] == key)
        need(data == seal(data[: -SUM - MAC if line else -SUM], line))
        content = place(root, "objects", manifest["object"]).read_bytes()
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise LookupError("a miss") from error
    need(len(content) == manifest["size"] and digest(content) == manifest["object"])
    need(manifest["codec"] in ("tokens/1", "value/1"))
    return tuple(unpack(content)) if manifest["codec"] == "tokens/1" else unpack(content)


def unpack(data):
    return msgpack.unpackb(data, ext_hook=extension, strict_map_key=False)


def extension(code, payload):
    need(code in (1, 2))
    return tuple(unpack(payload)) if code == 1 else Array(*unpack(payload))


def seal(body, line=None):
    """A whole manifest: `body`, its MAC by a line of a key file, and the sum of both."""
    if line:
        secret = blake3(line.strip(), derive_key_context=MAC_CONTEXT).digest()
        mac = blake3(body, key=secret).hexdigest()
        body += f',"mac":"{digest(secret)[:8]}:{mac}"'.encode()
    return body + f',"sum":"{digest(body)}"}}'.encode()


# The writer.


def write(root, key, codec, content, line=None):
    manifest = {"format": 1, "key": key, "object": digest(content), "size": len(content)}
    manifest |= {"codec": codec, "schema": "independent", "plugin": "", "inputs": {}, "params": {}}
    manifest |= {"created": "2026-11-21T09:00:00Z", "compute_seconds": 0.5, "fingerprint": ""}
    manifest |= {"producer": {"host": "elsewhere"}, "deterministic": True, "label": ""}
    body = json.dumps(manifest, separators=(",", ":")).encode().removesuffix(b"}")
    for path, data in (
        (place(root, "objects", digest(content)), content),
        (place(root, "manifests", key, ".json"), seal(body, line)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def pack(value):
    return msgpack.packb(value, default=pack_extension, strict_types=True)


def pack_extension(value):
    return msgpack.ExtType(2 if isinstance(value, Array) else 1, pack(list(value)))


# The keys.


class Named(NamedTuple):
    """What is encoded as `x`: an enum member, a torch dtype or device."""

    parts: tuple


def key_of(schema, fingerprint, params, inputs):
    return digest(b"stepaudio-cas key 1\n" + encode([schema, fingerprint, params, inputs]))


def array_digest(array):
    shape = ",".join(map(str, array.shape))
    return digest(array.data + f"\0array\0{array.kind}\0{array.dtype}\0{shape}".encode())


def encode(value):
    match value:
        case None | True | False:
            return {None: b"n", True: b"t", False: b"f"}[value]
        case int():
            return b"i%d;" % value
        case float():
            return b"d" + struct.pack(">d", math.nan if math.isnan(value) else value)
        case complex():
            return b"c" + encode(value.real) + encode(value.imag)
        case str():
            return b"s%d:%s" % (len(value.encode()), value.encode())
        case bytes():
            return b"b%d:%s" % (len(value), value)
        case Array():
            return b"a" + bytes.fromhex(array_digest(value))
        case Named():
            return b"x" + b"".join(map(encode, value.parts))
        case list() | tuple():
            sort, items = b"l" if isinstance(value, list) else b"u", map(encode, value)
        case dict():
            pairs = sorted((encode(name), encode(item)) for name, item in value.items())
            sort, items = b"m", (name + item for name, item in pairs)
        case set() | frozenset():
            sort, items = b"S", sorted(map(encode, value))
    return b"%s%d:%s" % (sort, len(value), b"".join(items))


# The counters.


def read_counters(root):
    paths = (root / "v1/counters").glob("[!.]*.json")
    documents = {path.name: json.loads(path.read_bytes()) for path in paths}
    before = [documents.pop(n) for n in list(documents) if documents[n].get("zeroed")]
    absorbed = {name for document in documents.values() for name in document["absorbed"]}
    left = [document for name, document in documents.items() if name not in absorbed]
    total, seen = collections.Counter(), set()
    for document in sorted(left, key=lambda document: -len(document["absorbed"])):
        if seen.isdisjoint(document["absorbed"]):
            seen.update(document["absorbed"])
            for subject in document["subjects"]:
                total.update(flat(subject))
    highest = collections.Counter()
    for document in before:
        highest |= collections.Counter(
            dict(c for s in document["subjects"] for c in flat(s).items())
        )
    total.subtract(highest)
    left = collections.Counter()
    for (*_, name), number in total.items():
        left[name] += number if number > 1e-6 else 0
    return left


def flat(subject):
    return {(subject["plugin"], subject["model"], n): c for n, c in subject["counts"].items()}
