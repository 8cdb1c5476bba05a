"""A call on several items: what is there is taken, and only the rest is computed."""

import pytest

from stepaudio_cas.activation.plugin import (
    Bypass,
    HostClass,
    Items,
    Method,
    Model,
    Parts,
    Plugin,
    check,
    content,
    value,
)

LISTENER = """
asked = []

class Listener:
    def hear(self, clips, rate=16000, **more):
        clips = clips if isinstance(clips, list) else [clips]
        asked.append((list(clips), rate, more))
        return answer(clips)

def answer(clips):
    return [{"heard": clip.decode().upper(), "at": len(asked)} for clip in clips]
"""


def split(self, arguments):
    if not isinstance(arguments["clips"], list):
        return None
    return [{**arguments, "clips": clip} for clip in arguments["clips"]]


def some(arguments, positions):
    return {**arguments, "clips": [arguments["clips"][at] for at in positions]}


def resolve(self, arguments):
    if arguments["more"].get("live"):
        raise Bypass("streaming", "live= is given")
    return {**arguments, "rate": arguments["rate"] or 16000}


def listener(**options):
    options = {"items": Items(split, some), "resolve": resolve} | options
    arguments = {"clips": content(), "rate": value(), "more": value()}
    method = Method("hear", arguments, lambda self: Model((), Parts), **options)
    return Plugin("test", [HostClass("Listener", ["listener"], ["hear"], [method])])


@pytest.fixture
def made(loader):
    def make(text=LISTENER, **options):
        settings = options.pop("settings", {})
        module = loader.module(text, "listener")
        return loader.patch(module, listener(**options), **settings)

    return make


def heard(results):
    return [result["heard"] for result in results]


def test_only_what_is_missing_is_computed_in_one_call_and_the_order_is_kept(made, loader):
    module = made()
    one = module.Listener()
    assert heard(one.hear(b"b")) == ["B"]
    assert heard(one.hear([b"c", b"b", b"a", b"c"])) == ["C", "B", "A", "C"]
    assert [clips for clips, *_ in module.asked] == [[b"b"], [b"c", b"a"]]
    assert heard(one.hear([b"a", b"b", b"c"])) == ["A", "B", "C"]
    assert heard(one.hear(b"c")) == ["C"]
    assert len(module.asked) == 2
    assert loader.counters() == {"miss": 3, "hit.memory": 5, "hit.shared": 1}


def test_without_a_way_to_ask_for_some_each_is_asked_for_alone(made):
    module = made(items=Items(split))
    one = module.Listener()
    one.hear([b"a", b"b"], 8000, mono=True)
    assert module.asked == [([b"a"], 8000, {"mono": True}), ([b"b"], 8000, {"mono": True})]


def test_options_are_in_the_keys_of_all_as_they_are_resolved(made):
    module = made()
    one = module.Listener()
    for options in ({}, {"rate": None}, {"rate": 8000}, {"mono": True}):
        one.hear([b"a", b"b"], **options)
    assert [(rate, more) for _, rate, more in module.asked] == [
        *((16000, {}), (8000, {})),
        (16000, {"mono": True}),
    ]


def test_a_call_that_is_refused_is_passed_through_once(made, loader):
    module = made()
    one = module.Listener()
    for clips in (b"a", [b"a", b"b"]):
        one.hear(clips, live=True)
    assert len(module.asked) == 2
    assert loader.counters() == {"bypass.streaming": 2}


def test_what_the_host_raises_reaches_the_caller_without_a_trace_of_ours(made, loader):
    module = made(LISTENER.replace("clip.decode()", "clip.decode('ascii')"))
    one = module.Listener()
    one.hear([b"a"])
    with pytest.raises(UnicodeDecodeError) as raised:
        one.hear([b"a", b"\xff"])
    assert raised.value.__context__ is None
    assert heard(one.hear([b"a"])) == ["A"]
    assert len(module.asked) == 2


def test_more_values_than_items_are_passed_through(made, loader):
    module = made(LISTENER.replace("in clips]", "in clips for _ in clips]"))
    one = module.Listener()
    assert heard(one.hear([b"a", b"b"])) == ["A", "A", "B", "B"]
    assert loader.counters() == {"bypass.unexpected-result": 1}


def test_what_is_not_to_be_kept_is_computed_again(made, loader):
    module = made(keep=lambda results: results[0]["heard"] != "A")
    one = module.Listener()
    for _ in range(2):
        assert heard(one.hear([b"a", b"b"])) == ["A", "B"]
    assert [clips for clips, *_ in module.asked] == [[b"a", b"b"], [b"a"]]
    assert loader.counters() == {"miss": 1, "hit.memory": 1, "bypass.not-kept": 2}


def test_what_was_packed_is_restored_for_the_call_as_it_was_made(made):
    def restore(self, arguments, results):
        for at, result in enumerate(results):
            result["at"] = -at
        return results

    module = made(pack=lambda results: [{**result, "at": 0} for result in results], restore=restore)
    one = module.Listener()
    for clips in ([b"a", b"b"], [b"b", b"c", b"a"], [b"a"]):
        assert [result["at"] for result in one.hear(clips)] == [-n for n in range(len(clips))]
    assert one.hear(b"b")[0]["at"] == 0


def test_a_restore_that_fails_costs_a_call_and_no_more(made, loader):
    def restore(self, arguments, results):
        raise LookupError("no name for it")

    module = made(restore=restore)
    assert heard(module.Listener().hear([b"a", b"b"])) == ["A", "B"]
    assert loader.counters()["bypass.unexpected-result"] == 1


def test_a_cache_that_is_off_asks_the_host(made, loader):
    module = made()
    loader.cache.close()
    assert heard(module.Listener().hear([b"a", b"b"])) == ["A", "B"]
    assert [clips for clips, *_ in module.asked] == [[b"a", b"b"]]


def test_a_declaration_is_checked():
    with pytest.raises(TypeError, match="items"):
        check(listener(items=split))
