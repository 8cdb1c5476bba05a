"""Methods of what instances hold: only of those objects, whichever class they are of."""

import gc
import weakref

import pytest

from stepaudio_cas.activation.plugin import (
    Held,
    HostClass,
    Method,
    Model,
    Parts,
    Plugin,
    check,
    content,
)
from stepaudio_cas.activation.registry import is_host

HOST = """
class Session:
    def __init__(self, factor):
        self.factor, self.runs = factor, 0

    def run(self, audio):
        self.runs += 1
        return [self.factor * byte for byte in audio]

class Host:
    def __init__(self, factor=2):
        self.session = Session(factor)

    def say(self, audio):
        return sum(self.session.run(audio))
"""


def model(session):
    return Model((session,), lambda: Parts(settings={"factor": session.factor}))


def holding(find=lambda self: self.session, arguments=None, **options):
    method = Method("run", arguments or {"audio": content()}, model)
    return Plugin(
        "test", [HostClass("Host", ["host"], ["say"], [], held=[Held(find, method)], **options)]
    )


@pytest.fixture
def made(loader):
    def make(*args, text=HOST, **options):
        return loader.patch(loader.module(text, "host"), holding(*args, **options))

    return make


def test_what_an_instance_holds_is_cached_and_others_of_its_class_are_not(made, loader):
    module = made()
    one, again, other, alone = module.Host(), module.Host(), module.Host(3), module.Session(2)
    assert [host.say(b"ab") for host in (one, again, other)] == [390, 390, 585]
    assert [host.session.runs for host in (one, again, other)] == [1, 0, 1]
    assert loader.counters() == {"miss": 2, "hit.memory": 1}
    assert [sum(alone.run(b"ab")) for _ in range(2)] == [390, 390]
    assert alone.runs == 2


def test_one_object_that_two_instances_hold_is_taken_once(made, loader):
    module = made(
        text=HOST.replace("Session(factor)", "shared").replace(
            "class Host", "shared = Session(2)\n\nclass Host"
        )
    )
    module.Host().say(b"a")
    run = vars(module.shared)["run"]
    module.Host().say(b"a")
    assert vars(module.shared)["run"] is run
    assert loader.counters() == {"miss": 1, "hit.memory": 1}


@pytest.mark.parametrize(
    ("find", "arguments", "said"),
    [
        (lambda self: self.session, {"samples": content()}, "its parameters are (audio)"),
        (lambda self: self.nothing, None, "AttributeError"),
        (lambda self: 5, None, "TypeError"),
        (lambda self: Held, None, "there is no such method"),
    ],
)
def test_what_does_not_fit_is_left_alone_with_one_line(made, capfd, find, arguments, said):
    module = made(find, arguments)
    for _ in range(2):
        assert module.Host().say(b"ab") == 390
    [line] = [line for line in capfd.readouterr().err.splitlines() if "left alone" in line]
    assert said in line


def test_nothing_held_is_nothing_said(made, capfd):
    module = made(lambda self: None)
    assert module.Host().say(b"ab") == 390
    assert "left alone" not in capfd.readouterr().err


def test_a_version_that_has_what_it_should_lack_is_not_taken(made):
    module = made()
    told = [is_host(module.Host, holding(lacks=names).classes[0]) for names in (["say"], ["sing"])]
    assert told == [False, True]


def test_what_is_held_goes_with_its_instance(made):
    module = made()
    host = module.Host()
    host.say(b"a")
    session = weakref.ref(host.session)
    del host
    gc.collect()
    assert session() is None


def test_a_declaration_that_holds_something_else_is_refused():
    method = Method("run", {"audio": content()}, model)
    with pytest.raises(TypeError, match="not a Held"):
        check(Plugin("test", [HostClass("Host", ["host"], ["say"], [], held=[method])]))
    with pytest.raises(TypeError, match="one name where several are due"):
        check(holding(lacks="say"))
