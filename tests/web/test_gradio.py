"""The panel, in apps of Gradio: placed there, or by the variable alone at the foot of a host."""

import json
import re

import pytest
from fastapi import FastAPI
from playwright.sync_api import expect

from stepaudio_cas.activation import panel
from stepaudio_cas.web.gradio import cas_panel
from tests.web.chromium import HOSTILE, browser, encode
from tests.web.gradio_host import GradioHost, build, gradio_here  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
LABELS = ["Hits", "Misses", "Hit rate", "Time saved", "Entries", "Size"]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host that has the variable, in a process of its own."""
    host = GradioHost(tmp_path_factory.mktemp("host"), STEPAUDIO_CAS_PANEL="1")
    import gradio  # noqa: F401 - both take their time, which is the same time

    yield host.started()
    host.close()


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


def host_part(config, count):
    kept = ("id", "targets", "inputs", "outputs", "queue", "api_name")
    return [{name: one[name] for name in kept} for one in config["dependencies"][:count]]


def test_the_variable_puts_a_panel_at_the_foot_and_leaves_all_else_as_it_was(host, gr):
    app = build()
    without = json.loads(json.dumps(app.get_config_file(), default=str))
    assert (host.foot()["type"], host.foot()["props"]["label"]) == ("accordion", "Voice cache")
    names = [one["props"].get("label") for one in host.config["components"]]
    assert [name for name in names if name in LABELS] == LABELS
    count = len(without["components"])
    assert count > 10
    kinds = [
        [(one["id"], one["type"]) for one in config["components"][:count]]
        for config in (host.config, without)
    ]
    assert kinds[0] == kinds[1]
    assert host_part(host.config, 1) == host_part(without, 1)
    assert len(without["dependencies"]) == 1
    assert host.apis().keys() == app.get_api_info()["named_endpoints"].keys() == {"/clone"}
    assert "STEPAUDIO_CAS_PANEL" not in host.said()


def test_the_hosts_own_calls_go_on_and_are_told(host):
    first = host.clone(7)
    assert host.clone(7) == first != host.clone(8)
    assert host.encodes() == 2
    shown = host.look()
    assert shown[4] == "2"
    assert re.fullmatch(r"looked at .* · mode rw · this process: 1 hit, 2 misses", shown[7])
    happened = [line.split()[1] for line in shown[8].splitlines()]
    assert happened == ["miss", "hit", "miss"]
    assert "stepaudio.StepAudioTokenizer.wav2token" in shown[8]


def test_it_is_opened_with_a_click_and_follows_the_host(host, chromium):
    asked = []
    with chromium.new_page() as page:
        page.on("request", lambda one: asked.append(one.url))
        page.goto(host.url)
        head = page.get_by_role("button", name="Voice cache")
        expect(head).to_be_visible(timeout=30000)
        assert not [url for url in asked if "predict" in url]  # closed, it asks for nothing
        head.click()
        hits = page.get_by_label("Hits", exact=True)
        expect(hits).to_have_value("1", timeout=30000)
        expect(page.get_by_label("Hit rate")).to_have_value("33.3%")
        page.get_by_label("Voice", exact=True).fill("8")
        page.get_by_role("button", name="CLONE").click()
        log = page.get_by_label("Log")
        expect(log).to_have_value(re.compile(r"( hit .*){2}", re.DOTALL), timeout=30000)


def test_a_panel_in_an_app_shows_names_as_text(open_cache, chromium, gr):
    cache = open_cache()
    encode(cache, HOSTILE)
    with gr.Blocks(analytics_enabled=False) as demo:
        cas_panel(cache, every=60)
    encode(cache, HOSTILE)
    _, url, _ = demo.launch(quiet=True, prevent_thread_lock=True, server_name="127.0.0.1")
    try:
        with chromium.new_page() as page:
            page.goto(url)
            log = page.get_by_label("Log")
            expect(log).to_have_value(re.compile(re.escape(HOSTILE)), timeout=30000)
            encode(cache, "ben.wav")
            page.get_by_role("button", name="Refresh").click()
            expect(log).to_have_value(re.compile(" hit .* miss .*ben.wav", re.DOTALL))
            assert page.evaluate("window.hacked") is None
    finally:
        demo.close()


@pytest.fixture
def patched(gr, monkeypatch):
    """Patch Gradio for one test, as it is patched while it is imported."""
    for name in ("launch", "validate_queue_settings"):
        monkeypatch.setattr(gr.Blocks, name, vars(gr.Blocks)[name])  # put back afterwards
    panel.apply({"Blocks": gr.Blocks}, "gradio.blocks")


def accordions(app):
    found = [block for block in app.blocks.values() if block.get_block_name() == "accordion"]
    assert all(one in app.children for one in found)
    return len(found)


def greeting(gr):
    return gr.Interface(lambda name: f"Hello {name}", "textbox", "textbox", api_name="greet")


def serve(gr, app):
    """Do what is done to an app on every way to being served."""
    return gr.mount_gradio_app(FastAPI(), app, path="/app")


@pytest.mark.usefixtures("patched")
def test_an_app_has_one_when_it_is_served_however_often(gr):
    app = greeting(gr)
    assert accordions(app) == 0
    serve(gr, app)
    serve(gr, app)
    assert accordions(app) == 1
    assert app.children[-1].label == "Voice cache"
    assert app.config["layout"]["children"][-1]["id"] == app.children[-1]._id


@pytest.mark.usefixtures("patched")
def test_of_apps_within_an_app_only_the_outermost_has_one(gr):
    app = gr.TabbedInterface([greeting(gr), gr.ChatInterface(lambda said, _: said)], ["one", "two"])
    serve(gr, app)
    assert accordions(app) == 1


@pytest.mark.usefixtures("patched")
def test_an_app_of_several_pages_has_one_on_each(gr):
    with gr.Blocks() as app:
        gr.Markdown("first")
    with app.route("Second"):
        gr.Markdown("second")
    serve(gr, app)
    assert accordions(app) == 2
    pages = app.config["page"]
    for name in ("", "second"):
        last = pages[name]["layout"]["children"][-1]["id"]
        assert app.blocks[last].get_block_name() == "accordion"
        assert {app.fns[number].page for number in pages[name]["dependencies"]} == {name}
    assert app.current_page == "second"


@pytest.mark.usefixtures("patched")
def test_an_app_that_is_launched_while_it_is_built_goes_on_being_built(gr):
    with gr.Blocks() as app, gr.Row() as row:
        app.validate_queue_settings()
        text = gr.Textbox()
    assert row.children[0] is text or text in row.children[0].children
    assert accordions(app) == 1


@pytest.mark.usefixtures("patched")
def test_an_app_with_a_panel_of_its_own_has_no_second_one(gr):
    with gr.Blocks() as app:
        cas_panel()
    serve(gr, app)
    assert accordions(app) == 0


@pytest.mark.usefixtures("patched")
def test_what_is_worked_out_when_the_page_is_loaded_is_worked_out_once(gr):
    with gr.Blocks() as app:
        gr.Textbox(lambda: "now")
    loads = [f for f in app.fns.values() if ("load" in {kind for _, kind in f.targets})]
    serve(gr, app)
    assert [f for f in app.fns.values() if "load" in {kind for _, kind in f.targets}] == loads
    assert len(loads) == 1


@pytest.mark.usefixtures("patched")
def test_a_second_patch_changes_nothing(gr):
    launch = gr.Blocks.launch
    panel.apply({"Blocks": gr.Blocks}, "gradio.blocks")
    assert gr.Blocks.launch is launch
    assert launch.__wrapped__ is not launch


@pytest.mark.parametrize("broken", ["Dataframe", "Timer", "Timer.get_config"])
@pytest.mark.usefixtures("patched")
def test_an_app_that_it_does_not_fit_is_served_as_it_was(gr, monkeypatch, capfd, broken):
    app = greeting(gr)
    before, children = app.get_config_file(), list(app.children)
    with monkeypatch.context() as later:
        later.setattr(f"gradio.{broken}", None)
        serve(gr, app)
        serve(gr, app)
    after = app.get_config_file()
    for part in ("components", "dependencies", "layout"):
        assert after[part] == before[part]
    assert app.children == children
    assert gr.context.Context.root_block is gr.context.Context.block is None
    said = capfd.readouterr().err
    assert said.count("STEPAUDIO_CAS_PANEL: the page is left as it is: TypeError") == 1


def test_a_gradio_that_has_neither_way_is_said_and_left_alone(capfd):
    other = type("Blocks", (), {})
    panel.apply({"Blocks": other}, "gradio.blocks")
    panel.apply({"Blocks": other}, "host.blocks")
    panel.apply({}, "gradio.blocks")
    assert capfd.readouterr().err.count("this version of Gradio is not known") == 1
    assert not [name for name in vars(other) if not name.startswith("__")]


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"STEPAUDIO_CAS": "/x"}, False),
        ({"STEPAUDIO_CAS": "/x", "STEPAUDIO_CAS_PANEL": "1"}, True),
        ({"STEPAUDIO_CAS": "/x", "STEPAUDIO_CAS_PANEL": "voices"}, True),
        ({"STEPAUDIO_CAS": "/x", "STEPAUDIO_CAS_PANEL": "0"}, False),
        ({"STEPAUDIO_CAS_PANEL": "1"}, False),
        ({"STEPAUDIO_CAS": "/x", "STEPAUDIO_CAS_PANEL": "1", "STEPAUDIO_CAS_MODE": "off"}, False),
    ],
)
def test_it_is_there_only_if_it_is_asked_for(monkeypatch, variables, wanted):
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert panel.wanted() is wanted
