"""A host as those are that people run: tabs, a queue, and no line that knows of us."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from types import SimpleNamespace

import pytest

from tests.activation.deployments import Host

APP = """
import gradio as gr
import numpy as np
from tokenizer import StepAudioTokenizer

class EditxTab:
    def __init__(self):
        self.tokenizer = StepAudioTokenizer("model")

    def register_components(self):
        with gr.Tab("Editx"):
            with gr.Row():
                with gr.Column():
                    self.voice = gr.Number(label="Voice", value=1)
                with gr.Column():
                    self.tokens = gr.Textbox(label="Tokens")
            self.button = gr.Button("CLONE", variant="primary")
        with gr.Tab("Read me"):
            gr.Markdown("Audio editing and zero-shot cloning")

    def register_events(self):
        self.button.click(self.clone, [self.voice], [self.tokens])

    def clone(self, voice):
        return self.tokenizer(np.full((1, 64), voice, dtype="float32"), 16000)

def build(tab):
    with gr.Blocks(title="Editx") as demo:
        gr.Markdown("## Editx")
        tab.register_components()
        tab.register_events()
    return demo

if __name__ == "__main__":
    build(EditxTab()).queue().launch(server_name="127.0.0.1", share=False)
"""


@pytest.fixture(name="gr")
def gradio_here(monkeypatch):
    """Gradio, which takes its time to import. It makes event loops that nobody closes."""
    import gradio

    loops, new = [], asyncio.new_event_loop
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: loops.append(new()) or loops[-1])
    yield gradio
    asyncio.set_event_loop(None)
    for loop in loops:
        loop.close()


def build():
    """Build the app here, where nothing of ours is at work; ids begin as in a new process."""
    from gradio.context import Context

    Context.id = 0
    names = {"__name__": "app"}
    exec(APP.replace("from tokenizer import StepAudioTokenizer", "StepAudioTokenizer = str"), names)
    return names["build"](names["EditxTab"]())


class GradioHost:
    """The host in a process of its own, and what a browser asks of it."""

    def __init__(self, folder, **variables):
        self.host = Host(folder, SimpleNamespace(python=sys.executable))
        self.host.write("app.py", APP)
        still = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder / "temp")}
        self.errors = open(folder / "errors", "w+")  # noqa: SIM115 - until it is closed
        self.process = subprocess.Popen(
            [sys.executable, "-u", "app.py"], cwd=folder, text=True, stdout=subprocess.PIPE,
            stderr=self.errors, env=self.host.environment | still | variables,
        )  # fmt: skip

    def started(self):
        """Wait until it is served, on the first port that is free."""
        for line in self.process.stdout:
            if "running on local url" in line.lower():
                self.url = line.rpartition(" ")[2].strip()
                self.config = self._ask("/config")
                return self
        raise AssertionError(self.said())

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def encodes(self):
        return len((self.host.folder / "encodes").read_text().splitlines())

    def clone(self, voice):
        """Call the host's function as its API has it, through its queue."""
        event = self._ask("/gradio_api/call/clone", {"data": [voice]})["event_id"]
        with urllib.request.urlopen(
            f"{self.url}/gradio_api/call/clone/{event}", timeout=60
        ) as came:
            kind, data = came.read().decode().strip().split("\n")[-2:]
        assert kind == "event: complete", (kind, data)
        return json.loads(data.removeprefix("data: "))[0]

    def apis(self):
        return self._ask("/gradio_api/info")["named_endpoints"]

    def foot(self):
        """The last thing on the page."""
        last = self.config["layout"]["children"][-1]["id"]
        return next(one for one in self.config["components"] if one["id"] == last)

    def look(self):
        """Ask for what the timer of the panel asks for: figures, tiers, state, log."""
        (number,) = (
            one["id"] for one in self.config["dependencies"]
            if [kind for _, kind in one["targets"]] == ["tick", "click"]
        )  # fmt: skip
        asked = {"data": [], "fn_index": number, "session_hash": "anybody"}
        return self._ask("/gradio_api/run/predict", asked)["data"]

    def _ask(self, path, document=None):
        body = None if document is None else json.dumps(document).encode()
        asked = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)

    def close(self):
        self.process.kill()
        self.process.communicate()
        self.errors.close()
        assert self.process.returncode == -9
