"""`cas-tool tune`, on a host in a few lines whose encoder dithers, and has three others."""

import json
import os

import pytest

from stepaudio_cas.cli import tune as verb
from stepaudio_cas.cli import tune_plot
from stepaudio_cas.cli.main import main
from tests.cli.terminal import Session, plain

AUTO_MODEL = """
class AutoModel:
    def __init__(self, model):
        with open(f"{model}/weights") as file:
            self.work, self.shift = map(int, file.read().split())

    def build_model(self): pass
    def generate(self): pass
"""

ENCODER = """
import os, signal
import numpy
from auto_model import AutoModel

class Encoder:
    def __init__(self, folder):
        self.model = AutoModel(model=folder)

    def encode(self, path):
        if self.model.shift == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        with open(path, "rb") as file:
            audio = file.read()
        if audio == b"broken":
            raise ValueError("this is no sound")
        for _ in range(self.model.work):
            sum(audio)
        if not audio:
            return [], [], []
        noisy = [byte + self.model.shift + bool(numpy.random.random() < 0.1) for byte in audio]
        return noisy, [byte // 2 + self.model.shift for byte in audio], [0.5, float(len(audio))]
"""

PLUGIN = """
from stepaudio_cas.activation.plugin import HostClass, Method, Model, Parts, Plugin, path

def encoder(self):
    return Model((self.model,), lambda: Parts(settings={"shift": self.model.shift}))

encode = Method("encode", {"path": path()}, encoder, deterministic=False, results=3,
                names=("noisy", "quiet", "voice"))
plugin = Plugin("tiny", [HostClass("Encoder", ["encoder"], ["encode"], [encode])],
                loader="tiny_plugin:load")

def load(model):
    from encoder import Encoder
    return Encoder(model).encode
"""


class Host:
    def __init__(self, folder):
        self.folder = folder
        self.code, site = folder / "code", folder / "site"
        for path in (self.code, site / "tiny-1.dist-info"):
            path.mkdir(parents=True)
        (self.code / "auto_model.py").write_text(AUTO_MODEL)
        (self.code / "encoder.py").write_text(ENCODER)
        (site / "tiny_plugin.py").write_text(PLUGIN)
        points = "[stepaudio_cas.plugins]\ntiny = tiny_plugin:plugin\n"
        (site / "tiny-1.dist-info/entry_points.txt").write_text(points)
        self.site = str(site)
        self.model("own", 2000, 0)
        self.model("twin", 1, 0)
        self.model("slow", 60000, 0)
        self.model("foreign", 1, 3)
        self.model("deadly", 1, 13)
        self.voices = [self.voice(f"{n}.wav", bytes(range(n, 100 + n))) for n in (1, 2)]

    @property
    def spec(self):
        return f"tiny:{self.code}?model={self.folder}/own"

    def model(self, name, work, shift):
        (self.folder / name).mkdir()
        (self.folder / name / "weights").write_text(f"{work} {shift}")

    def voice(self, name, audio):
        (self.folder / name).write_bytes(audio)
        return str(self.folder / name)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return Host(tmp_path_factory.mktemp("tune"))


@pytest.fixture(scope="module")
def tune(host):
    """Run the tool in this process, which reads what it writes to a file."""

    def run(folder, *words):
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(host.site)
            patch.setenv("STEPAUDIO_CAS", "/nowhere/at/all")
            patch.setenv("STEPAUDIO_CAS_TUNE", "ort.intra=64")
            before = dict(os.environ)
            with open(folder / "out", "w+") as out:
                patch.setattr("sys.stdout", out)
                code = main(["tune", "--host", host.spec, *map(str, words)])
                out.seek(0)
                text = out.read()
            assert dict(os.environ) == before
        return code, text

    return run


TRIED = ("encoder=twin", "encoder=foreign", "encoder=none", "encoder=deadly", "ort.intra=2")


@pytest.fixture(scope="module")
def found(host, tune, tmp_path_factory):
    """What is found when each encoder is tried."""
    tries = [word for text in TRIED for word in ("--try", text)]
    folder = tmp_path_factory.mktemp("out")
    code, text = tune(folder, *host.voices, "--runs", 3, "--json", *tries)
    assert code == 0
    return json.loads(text)


@pytest.fixture(scope="module")
def settings(found):
    return {setting["words"]: setting for setting in found["settings"]}


def agreement(of):
    return {stream["name"]: stream for stream in of["agreement"]}


def test_the_encoders_own_noise_is_measured_first(found):
    own = agreement(found["untuned"])
    assert list(own) == ["noisy", "quiet", "voice"]
    assert 0.5 < own["noisy"]["own"] < 1
    assert own["quiet"]["own"] == own["voice"]["own"] == 1
    assert own["noisy"]["same"] == 1  # of the same noise, in two processes
    assert found["untuned"]["seconds"]["min"] > 0
    assert type(found["untuned"]["steady"]) is bool


def test_what_is_faster_and_sounds_the_same_is_recommended(found, settings):
    twin = settings["encoder=twin"]
    assert twin["verdict"] == "faster"
    assert twin["speedup"] > 3
    assert agreement(twin)["noisy"]["same"] == 1
    assert 0.5 < agreement(twin)["noisy"]["other"] < 1
    assert found["recommended"] == "encoder=twin"


def test_what_is_recommended_was_faster_in_turns_with_the_encoder_as_it_is(settings):
    again = settings["encoder=twin"]["again"]
    assert again["turns"] == 10
    assert again["faster"] >= 9
    assert again["speedup"] > 3
    assert "again" not in settings["encoder=foreign"]


def test_what_only_seemed_faster_is_not_recommended(host, tune, tmp_path, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.measure.verdict.is_faster", lambda *_: True)
    code, text = tune(tmp_path, host.voices[0], "--runs", 2, "--json", "--try", "encoder=slow")
    found = json.loads(text)
    (slow,) = found["settings"]
    assert (code, found["recommended"], slow["verdict"]) == (0, "", "not faster")
    assert slow["again"] == {**slow["again"], "turns": 2, "faster": 0}


def test_a_word_that_does_nothing_here_is_not_recommended(host, tune, tmp_path):
    tried = "ort.intra=2,encoder=twin"
    code, text = tune(tmp_path, host.voices[0], "--runs", 2, "--json", "--try", tried)
    found = json.loads(text)
    assert (code, found["settings"][0]["words"]) == (0, tried)
    assert found["recommended"] == "encoder=twin"


def test_a_folder_is_named_in_full_because_the_host_may_start_elsewhere(host, monkeypatch):
    monkeypatch.chdir(host.folder)
    assert verb._plan("encoder=twin,tf32") == {"encoder": f"{host.folder}/twin", "tf32": True}
    assert verb._plan("encoder=iic/some") == {"encoder": "iic/some"}


def test_the_line_to_use_is_quoted_for_a_shell(found, capsys):
    verb._draw({**found, "recommended": "encoder=/my models/a"})
    assert capsys.readouterr().out.endswith("\nexport STEPAUDIO_CAS_TUNE='encoder=/my models/a'\n")


def test_what_is_faster_and_changes_the_voice_is_refused(found, settings):
    foreign = settings["encoder=foreign"]
    assert foreign["speedup"] > 3
    assert foreign["verdict"] == "changes the voice"
    assert agreement(foreign)["quiet"]["other"] == 0
    assert agreement(foreign)["voice"]["differs"] is False
    assert "quiet: 0.0% agree, of two runs as it is 100.0%" in foreign["why"]
    assert "foreign" not in found["recommended"]


def test_what_is_not_possible_is_said_with_its_reason_and_not_measured(settings):
    none = settings["encoder=none"]
    assert none["verdict"] == "not possible"
    assert "it cannot be loaded: FileNotFoundError" in none["why"]
    assert "seconds" not in none


def test_what_concerns_nothing_in_the_host_changes_nothing(settings):
    threads = settings["ort.intra=2"]
    assert (threads["verdict"], threads["why"]) == (
        "changes nothing", "the host has nothing it concerns",
    )  # fmt: skip


def test_a_setting_that_kills_the_host_ends_nothing_else(settings):
    deadly = settings["encoder=deadly"]
    assert deadly["verdict"] == "failed"
    assert "the host died: its process died (SIGKILL)" in deadly["why"]


def test_on_a_terminal_it_ends_with_the_line_to_use(host, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", host.site)
    words = ["tune", "--host", host.spec, host.voices[0], "--runs", "2"]
    code, text = Session(*words, "--try", "encoder=twin", columns=120).finish()
    text = plain(text)
    assert code == 0
    assert "as it is" in text
    assert "encoder=twin" in text
    assert text.splitlines()[-1] == "export STEPAUDIO_CAS_TUNE=encoder=twin"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name recordings"),
        (("none.wav",), "is not a file"),
        (("VOICE", "--try", "tf23"), "--try 'tf23': STEPAUDIO_CAS_TUNE: no word 'tf23'"),
        (("VOICE", "--try", ""), "asks for nothing"),
        (("VOICE", "--plot", "x.pdf"), "ends in .png"),
    ],
)
def test_a_mistake_in_the_command_is_said_before_anything_is_measured(
    host, tune, tmp_path, words, said, capsys
):
    words = [host.voices[0] if word == "VOICE" else word for word in words]
    assert tune(tmp_path, *words) == (2, "")
    assert said in capsys.readouterr().err


def test_a_host_that_cannot_encode_is_found_out_at_once(host, tune, tmp_path, capsys):
    broken = host.voice("broken.wav", b"broken")
    assert tune(tmp_path, broken, "--try", "encoder=twin") == (1, "")
    assert "broken.wav: ValueError: this is no sound" in capsys.readouterr().err


def test_recordings_of_which_nothing_comes_are_nothing_to_compare(host, tune, tmp_path, capsys):
    empty = host.voice("empty.wav", b"")
    assert tune(tmp_path, empty, "--try", "encoder=foreign") == (1, "")
    assert "nothing comes of these recordings" in capsys.readouterr().err


def test_in_a_pipe_each_setting_is_a_line(found, capsys):
    verb._say_all(found, as_document=False)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("words") for line in lines] == ["", *TRIED, None]
    assert lines[-1] == {"recommended": "encoder=twin"}


def test_a_picture_is_drawn_of_it(found, tmp_path):
    pytest.importorskip("matplotlib")
    tune_plot.draw(found, str(tmp_path / "tune.png"))
    assert (tmp_path / "tune.png").read_bytes().startswith(b"\x89PNG")
