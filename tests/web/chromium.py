"""A real browser, and what stands behind the page: `cas-tool serve`, with `cas-tool watch`."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib import resources

from playwright.sync_api import expect, sync_playwright

import stepaudio_cas as cas
from stepaudio_cas import make_fingerprint, make_recipe
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.identity.recipe import ARRAY, Input
from tests.prewarm.small_host import SmallHost

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 30_000
TOKEN = "a-token-of-many-letters"
HOSTILE = '<img src=x onerror="window.hacked=1"><b>bold</b>.wav'
VOICES = ("anna.wav", "ben.wav", "clara.wav", HOSTILE)
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 740}


@contextmanager
def browser():
    """Start Chromium, as a distribution packs it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "no chromium here: tools/setup installs it"
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield started
        started.close()


def open_page(chromium, url, troubles, **how):
    """Open the page in a context of its own, and note what it should not do."""
    how = {"viewport": DESK, "color_scheme": "light", "reduced_motion": "reduce", **how}
    context = chromium.new_context(**how)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()

    def hear(said):
        refused = said.text.startswith("Failed to load resource")  # an answer of 400 and above
        if said.type in {"error", "warning"} and not refused:
            troubles.append(said.text)

    def follow(request):
        if not request.url.startswith((url, "blob:")):
            troubles.append(request.url)

    page.on("console", hear)
    page.on("request", follow)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(url)
    return page


def encode(cache, name, rate=16000, plugin="host.tokens"):
    """Have a voice encoded, or taken from the cache, as a plugin does it."""
    audio = Input(ARRAY, digest_bytes(name.encode()), {"shape": (1, 32000), "name": name})
    recipe = make_recipe(
        f"{plugin}/1", inputs={"audio": audio}, params={"rate": rate},
        fingerprint=make_fingerprint(settings={"layers": 12}),
    )  # fmt: skip
    tokens = [len(name)] * 20, [2] * 13, [3] * 20
    return cache.get_or_compute(recipe, lambda: tokens, plugin=plugin, label=name)


def fill(root):
    """Make a store of a host that has been: four voices, two plugins, everything used again."""
    with cas.open(root, log="off") as cache:
        for _ in range(3):
            for name in VOICES:
                encode(cache, name)
            encode(cache, "anna.wav", plugin="host.speaker")
            cache.bypassed(cas.Bypass("stateful", "a session"), "host.tokens")


class World:
    """A store, a server for it, and a daemon that encodes what is sent to the server."""

    def __init__(self, folder):
        self.folder, self.root, self.spool = folder, folder / "store", folder / "spool"
        self.token_file = folder / "token"
        self.token_file.write_text(f"{TOKEN}\n")
        self.token_file.chmod(0o600)
        self.spool.mkdir(mode=0o700)
        self.small = SmallHost(folder / "small")
        self.processes = []
        fill(self.root)

    def start(self):
        where = ("--state", self.folder / "states")
        self.watch = self._run("watch", self.spool, "--host", self.small.spec, *where,
                               "--settle", "0.05")  # fmt: skip
        self.serving = self._run("serve", "--json", "--port", "0", "--token-file", self.token_file,
                                 "--spool", self.spool, *where)  # fmt: skip
        self.url = json.loads(self.serving.stdout.readline())["url"]
        return self

    def _run(self, *words):
        path = os.pathsep.join([str(self.small.site), *sys.path])
        started = subprocess.Popen(
            [sys.executable, "-m", "stepaudio_cas", "--store", self.root, *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
        )  # fmt: skip
        self.processes.append(started)
        return started

    def ask(self, what):
        """Ask the server itself."""
        with urllib.request.urlopen(f"{self.url}api/v1/{what}", timeout=30) as answer:
            return json.load(answer)

    def keys(self):
        """The entries that are on disk."""
        return {path.stem for path in (self.root / "v1/manifests").glob("*/*.json")}

    def entries(self):
        """The files of manifests and objects."""
        parts = [self.root / "v1" / part for part in ("manifests", "objects")]
        return [path for part in parts for path in part.rglob("*") if path.is_file()]

    def sent(self):
        """The recordings that wait on the server."""
        return [path for path in self.spool.iterdir() if not path.name.startswith(".")]

    def close(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.communicate(timeout=30)


def violations(page, part="html"):
    """Have axe look at the page as it stands; return what it has against it."""
    script = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
    if not page.evaluate("'axe' in window"):  # past the page's policy, which forbids strange ones
        page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": script})
    found = page.evaluate("part => axe.run(part)", part)["violations"]
    return [(one["impact"], one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def rows(page):
    return page.locator("#voice-list tbody tr")


def give_token(page, token=TOKEN):
    if not page.locator("#token-dialog").is_visible():
        page.get_by_role("button", name="Token").click()
    page.get_by_role("textbox", name="Token").fill(token)
    page.get_by_role("button", name="Use it").click()
    if token == TOKEN:
        expect(page.locator("#token-open")).to_have_text("Token: given")


def age(world):
    """Have all entries look as if nobody had used them for hours."""
    then = time.time() - 7200
    for path in (world.root / "v1").rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))
