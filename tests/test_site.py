"""The documentation site: it builds without a warning, is whole, and its first pages are run."""

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.support.pages import BLOCK, HEADING, ROOT, Place, blocks
from tools.bench.plots import main, pictures

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TRANSLATED = sorted((DOCS / "zh").glob("*.md"))
FETCHED = {"src", "srcset", "poster", "data", "action"}

# Blocks of the first pages that are not run, by how they begin, and why. They are parsed.
NOT_RUN = {
    "docker build -t editx-cas .": "no Docker daemon, no image of a host",
    "docker compose -f docs/deploy/editx.yaml up -d --build": "the same; the file itself is tested",
    "kubectl create secret generic": "no cluster; the file itself is tested",
}
FIRST = ["index.md", "start.md", "deployments.md"]


def names(paths):
    return [str(path.relative_to(DOCS)) for path in paths]


class Page(HTMLParser):
    """What a page is made of: anchors, links, what it fetches, what stands in its attributes."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.fetched = set(), set(), set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in {"id", "name"}:
                self.anchors.add(value)
            elif name in FETCHED or (tag == "link" and name == "href"):
                self.fetched.add(value)
            elif name == "href":
                self.links.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site, where every warning is an error, and return its pages."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder, {path: Page(path) for path in folder.rglob("*.html")}


def test_the_configuration_is_strict_and_leaves_no_page_out_of_the_navigation():
    config = load_config(str(ROOT / "mkdocs.yml"))
    assert config.strict
    listed = [page for _, page in _leaves(config.nav)]
    assert sorted(listed) == sorted(names(PAGES))


def _leaves(nav):
    for item in nav:
        [(title, what)] = item.items()
        yield from [(title, what)] if isinstance(what, str) else _leaves(what)


def test_every_page_is_built(site):
    folder, pages = site
    built = {str(path.relative_to(folder)) for path in pages}
    assert built >= {name.removesuffix(".md") + ".html" for name in names(PAGES)}


def test_every_link_and_anchor_of_the_site_resolves(site):
    folder, pages = site
    for path, page in pages.items():
        for link in page.links | page.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            base = folder if parts.path.startswith("/") else path.parent  # of 404.html
            target = path
            if parts.path:
                target = Path(base, unquote(parts.path).lstrip("/")).resolve()
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), (path.name, link)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, (path.name, link)


def test_no_page_fetches_anything_from_elsewhere(site):
    folder, pages = site
    for path, page in pages.items():
        outside = {what for what in page.fetched if urlsplit(what).netloc}
        assert not outside, path.name
        assert "@import" not in path.read_text("utf-8")
    for sheet in folder.rglob("*.css"):
        text = sheet.read_text("utf-8")
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", text), sheet.name


SHELL = [
    pytest.param(text, id=f"{page.relative_to(ROOT)}: {text.splitlines()[0]}")
    for page in [ROOT / "README.md", *PAGES]
    for language, text, _ in blocks(page)
    if language == "sh"
]


@pytest.mark.parametrize("text", SHELL)
def test_every_block_of_shell_is_shell(text):
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", FIRST)
def test_the_blocks_of_a_first_page_run_as_they_stand(name, tmp_path):
    with Place(tmp_path) as place:
        for language, text, _ in blocks(DOCS / name):
            if language in {"sh", "console", "python"} and not _is_left_out(text):
                place.run_block(language, text, codes={})


def _is_left_out(text):
    return any(text.startswith(beginning) for beginning in NOT_RUN)


def test_what_is_not_run_is_there():
    texts = [text for name in FIRST for language, text, _ in blocks(DOCS / name)]
    for beginning in NOT_RUN:
        assert any(text.startswith(beginning) for text in texts), beginning


def test_the_first_pages_have_no_block_in_a_language_that_nothing_looks_at():
    looked_at = {"sh", "console", "python", "yaml", "ini", "dockerfile", ""}
    assert {language for name in FIRST for language, _, _ in blocks(DOCS / name)} <= looked_at


def test_the_times_of_the_comparison_are_those_of_the_benchmarks():
    times = set(re.findall(r"\b[\d.]+ (?:µs|ms|s)\b", (DOCS / "comparison.md").read_text("utf-8")))
    assert len(times) > 10
    page = (DOCS / "benchmarks.md").read_text("utf-8")
    assert {time for time in times if time not in page} == set()


# A page and its translation.


def code(page):
    """Return the blocks of a page, without the comments, which are translated."""
    return [(language, re.sub(r"[ ]+# .*", "", text)) for language, text, _ in blocks(page)]


def levels(page):
    text = BLOCK.sub("", page.read_text("utf-8"))
    return re.findall(r"^(#+) ", text, re.MULTILINE)


def rows(page):
    """Return the number of rows in each table of a page."""
    text = BLOCK.sub("", page.read_text("utf-8"))
    return [len(table.splitlines()) for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def spoken_of(page):
    """Return what a page names: settings, commands, counters."""
    text = BLOCK.sub("", page.read_text("utf-8"))
    return sorted({" ".join(name.split()) for name in re.findall(r"`([^`]+)`", text)})


@pytest.mark.parametrize("page", TRANSLATED, ids=names(TRANSLATED))
@pytest.mark.parametrize("of", [code, levels, rows, spoken_of], ids=lambda of: of.__name__)
def test_a_translation_is_in_step_with_its_page(page, of):
    assert of(page) == of(DOCS / page.name)


@pytest.mark.parametrize("page", TRANSLATED, ids=names(TRANSLATED))
def test_a_translation_is_one(page):
    text = re.sub(r"`[^`\n]+`", "", BLOCK.sub("", page.read_text("utf-8")))
    for heading in HEADING.findall(text):
        assert heading == "cas-tool" or re.search(r"[\u4e00-\u9fff]", heading), heading
    assert len(re.findall(r"[\u4e00-\u9fff]", text)) > 300


# Plots.

RUN = {
    "scale": "full",
    "machine": {"when": "2026-11-21 12:00 UTC", "cores": 2},
    "figures": {
        kind: {
            "BLAKE3 <of> the same bytes": {
                "seconds": {"median": 4e-4, "low": 3e-4, "high": 5e-4},
                "reference_seconds": {"median": 3e-4, "low": 2e-4, "high": 4e-4},
            }
        }
        for kind in ("memory_hit", "disk_hit")
    }
    | {
        "miss": {"stepaudio-cas": {"overhead_seconds": {"median": 2e-3, "low": 1e-3, "high": 3e-3}}}
    },
}


def test_a_run_is_drawn_into_pictures_that_say_what_was_measured():
    drawn = pictures(RUN)
    assert sorted(drawn) == ["disk-hit.svg", "memory-hit.svg", "miss.svg"]
    assert "BLAKE3 &lt;of&gt; the same bytes" in drawn["memory-hit.svg"]
    assert ">400 µs<" in drawn["memory-hit.svg"]
    assert ">2 ms<" in drawn["miss.svg"]


def test_the_pictures_of_the_site_are_those_of_the_run_that_the_benchmarks_show(tmp_path):
    page = (DOCS / "benchmarks.md").read_text("utf-8")
    for picture in sorted((DOCS / "img").glob("*.svg")):
        text = picture.read_text("utf-8")
        when, scale = re.search(r">([\d: -]+ UTC), (\w+) run", text).groups()
        assert f"{when}, " in page
        assert scale == "full"


def test_plots_are_written_where_they_are_wanted(tmp_path, capsys):
    run = tmp_path / "run.json"
    run.write_text(json.dumps(RUN))
    assert main([str(run), "--dir", str(tmp_path / "img")]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.read_text("utf-8") for path in written] == list(pictures(RUN).values())
