"""The page that the reference host serves: a voice is sent by hand, and encoded by the models."""

import os
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.hosts.runs import HOST, _environment, copy_model
from tests.hosts.speech import write_speech
from tests.support.processes import wait_until
from tests.web.chromium import give_token, rows
from tests.web.serving import TOKEN

pytestmark = pytest.mark.usefixtures("harmless")
SERVED = re.compile(r"STEPAUDIO_CAS_HTTP: (http://\S+) is served")


class Service:
    """The reference host as a deployment has it; variables alone make it serve the page."""

    def __init__(self, folder, model):
        self.presets = folder / "presets"
        self.presets.mkdir()
        (folder / "token").write_text(f"{TOKEN}\n")
        (folder / "token").chmod(0o600)
        self.voice = write_speech(folder / "dora.wav", 2, seed=5)
        settings = {
            "STEPAUDIO_CAS": folder / "store",
            "STEPAUDIO_CAS_HTTP": "127.0.0.1:0",
            "STEPAUDIO_CAS_HTTP_TOKEN_FILE": folder / "token",
            "STEPAUDIO_CAS_WATCH": self.presets,
            "XDG_STATE_HOME": folder / "states",
        }
        self.log = folder / "service.log"
        with open(self.log, "w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "app.py", "--model-path", model, "--port", "0"], cwd=HOST,
                env=_environment(folder, settings), stdout=subprocess.PIPE, stderr=said, text=True,
            )  # fmt: skip

    def url(self):
        found = SERVED.search(self.log.read_text())
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return found[1] if found else ""

    def close(self):
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture
def service(tmp_path, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    started = Service(tmp_path, copy_model(base, tmp_path / "model"))
    yield started
    started.close()


def test_a_voice_that_is_sent_on_the_page_is_encoded_by_the_host_and_shown(visit, service):
    wait_until(service.url, 120)
    page = visit(service.url())
    give_token(page)
    expect(page.locator("#watched")).to_contain_text("spool", timeout=120_000)
    page.get_by_label("Recording", exact=True).set_input_files(service.voice)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#upload-said")).to_contain_text("dora.wav was sent")
    expect(page.locator("#sent tbody tr")).to_contain_text("kept", timeout=120_000)
    assert not list(service.presets.iterdir())
    expect(page.locator("#miss-list")).to_contain_text("dora.wav")
    page.get_by_label("Voice or key").fill("dora.wav")
    page.get_by_role("button", name="Search").click()
    expect(rows(page)).to_have_count(4)
    expect(rows(page).filter(has_text="pinned")).to_have_count(4)
    row = rows(page).filter(has_text="wav2token")
    row.get_by_role("button", name="dora.wav", exact=True).click()
    entry = page.locator("#entry")
    expect(entry.locator("dl")).to_contain_text(re.compile(r"Tokens ?speech \d+, vq02 \d+"))
    entry.get_by_role("button", name="Play dora.wav").click()
    heard = page.get_by_label("The recording dora.wav")
    wait_until(lambda: heard.evaluate("audio => audio.duration") == 2.0)
    page.keyboard.press("Escape")
