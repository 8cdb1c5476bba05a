"""The page when things are not as they should be: names, stores, servers, tokens, clocks."""

import json
import re

import pytest
from playwright.sync_api import expect

import stepaudio_cas as cas
from stepaudio_cas.settings import Settings
from tests.support.processes import wait_until
from tests.web.chromium import DESK, HOSTILE, TOKEN, encode, give_token, rows, violations
from tests.web.serving import Served, Standalone

pytestmark = pytest.mark.usefixtures("harmless")
NARROW = {"width": 320, "height": 640}
AWAY = "redis://127.0.0.1:1/0"
TURNED = "evil\u202egpj.exe.wav"
HEBREW = "שלום עולם (1).wav"
NAMES = (
    HOSTILE, TURNED, HEBREW, "مرحبا.wav", "👩\u200d👩\u200d👧 🎙️.wav", "   ", "\u200b", "x" * 900,
    "two\nlines.wav", "{{7*7}}.wav", "中文.wav",
)  # fmt: skip


def write(root, *names):
    with cas.open(root, log="off") as cache:
        for name in names:
            encode(cache, name)


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """Serve stores, each pair once for all tests of this module."""
    started = []

    def serving_(*stores):
        folder = tmp_path_factory.mktemp("served")
        (folder / "token").write_text(f"{TOKEN}\n")
        settings = Settings(stores=tuple(map(str, stores)))
        started.append(Standalone(settings, folder / "token", folder))
        return f"http://127.0.0.1:{started[-1].port}/"

    yield serving_
    for server in started:
        server.close()


@pytest.fixture(scope="module")
def url(serving, tmp_path_factory):
    """Serve a store of as many voices as are shown at once."""
    root = tmp_path_factory.mktemp("twelve") / "store"
    write(root, *(f"voice-{number:02}.wav" for number in range(12)))
    return serving(root)


def refuse(route):
    route.fulfill(status=503, json={"error": "too much at once.", "remedy": "wait"})


def expire(route):
    route.fulfill(status=401, json={"error": "this is not the token", "remedy": "send it"})


def test_names_of_any_kind_are_seen_and_turn_nothing(visit, serving, tmp_path):
    write(tmp_path / "store", *NAMES)
    page = visit(serving(tmp_path / "store"), viewport=NARROW)
    expect(rows(page)).to_have_count(len(NAMES))
    shown = rows(page).locator("button.link").all_inner_texts()
    assert all(name.strip() for name in shown)
    assert "evil\ufffdgpj.exe.wav" in shown
    assert f"\u2068{HEBREW}\u2069" in shown
    assert "👩\u200d👩\u200d👧 🎙️.wav" in shown
    assert max(map(len, shown)) < 170
    assert "\u202e" not in page.locator("body").inner_text()
    assert page.evaluate("[document.documentElement.scrollWidth, window.hacked]") == [320, None]
    assert violations(page) == []
    page.get_by_role("button", name=re.compile("^x+…x+$")).click()
    expect(page.locator("#entry dl")).to_contain_text("x" * 900)


def test_of_a_store_that_is_away_nothing_is_said_that_is_not_known(visit, serving, tmp_path):
    write(tmp_path / "store", "anna.wav")
    page = visit(serving(AWAY, tmp_path / "store"))
    first, second = (page.locator("#tier-list tbody tr").nth(number) for number in range(2))
    expect(first).to_contain_text("Connection refused")
    assert first.locator("td.number").all_inner_texts()[:2] == ["\u2013"] * 2
    assert second.locator("td.number").all_inner_texts()[0] == "1"
    expect(page.locator("#figures")).to_contain_text("the store does not answer")
    expect(page.locator("#figures")).not_to_contain_text("0 entries")
    expect(page.locator("#voices-said.bad")).to_contain_text("Connection refused. To do")


def test_numbers_of_any_size_have_room(visit, url):
    page = visit(url, viewport=NARROW)

    def grow(route):
        said, many = route.fetch().json(), 9_876_543_210_123
        said |= {"hits": many, "misses": many, "hit_rate": 0.001, "seconds_saved": 9e11}
        said |= {"bytes": 7e17, "limit": 8e17, "entries": many, "seconds_encoding": 9e6}
        route.fulfill(json=said)

    page.route("**/api/v1/stats*", grow)
    page.reload()
    figures = page.locator("#figures")
    for shown in ("0.1 %", "28,519 years", "104 d went", "700 PB", "88 % full"):
        expect(figures).to_contain_text(shown)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_a_search_that_failed_is_made_again_when_it_can_be(visit, url):
    page = visit(url)
    expect(rows(page)).to_have_count(12)
    page.route("**/api/v1/entries*", refuse)
    page.get_by_label("Voice or key").fill("voice-03*")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#voices-said.bad")).to_contain_text("Too much at once. To do: wait.")
    page.unroute("**/api/v1/entries*")
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#voices-said")).to_have_class("quiet")


def test_where_there_is_no_more_the_focus_stays_on_a_voice(visit, url):
    page = visit(url)
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    expect(rows(page).nth(11).locator("button").first).to_be_focused()


def test_where_no_more_can_be_shown_this_is_said(visit, url):
    page = visit(url)
    expect(rows(page)).to_have_count(12)
    many = [{"key": f"{number:064x}", "voice": f"v{number}"} for number in range(500)]

    def answer(route):
        limit = int(re.search(r"limit=(\d+)", route.request.url)[1])
        said = {"entries": many[:limit], "cursor": None, "complete": True, "looked_at": 5000}
        route.fulfill(json=said)

    page.route("**/api/v1/entries*", answer)
    more, count = page.get_by_role("button", name="Show more"), 12
    while count < 500:
        more.click()
        count = min(count + 12, 500)
        expect(rows(page)).to_have_count(count)
    expect(more).to_be_hidden()
    expect(page.locator("#voices-said")).to_contain_text("500 entries shown. There may be more")


def test_that_the_store_grows_is_said_once(visit, serving, tmp_path):
    page = visit(serving(tmp_path / "store"))
    expect(page.locator("#voice-list")).to_contain_text("No entry is kept yet.")
    write(tmp_path / "store", "anna.wav")
    expect(rows(page)).to_have_count(1)
    page.evaluate("Date.now = ((now) => () => now() + 30000)(Date.now)")
    page.evaluate("""() => {
        window.said = [];
        const note = document.getElementById("voices-said");
        new MutationObserver(() => said.push(note.textContent)).observe(note, {childList: true});
    }""")
    for number in (2, 3):
        write(tmp_path / "store", f"voice-{number}.wav")
        expect(page.locator("#figures")).to_contain_text(f"{number} entries")
    wait_until(lambda: page.evaluate("said"))
    assert page.evaluate("said") == [
        "The store holds something else by now; search again to see it."
    ]


def test_times_are_told_by_the_clock_of_the_server(visit, url):
    page = visit(url)
    page.add_init_script("Date.now = ((now) => () => now() - 86400000)(Date.now)")
    page.reload()
    made = rows(page).first.locator("time").first
    expect(made).to_have_text(re.compile(r"^(now|[1-5]?\d s ago|\d+ min ago)$"))
    page.add_init_script("Date.now = ((now) => () => now() + 2 * 86400000)(Date.now)")
    page.reload()
    expect(made).to_have_text(re.compile(r"^(now|[1-5]?\d s ago|\d+ min ago)$"))


def test_a_token_that_is_changed_is_asked_for_each_time(visit, url):
    page = visit(url)
    give_token(page)
    for _ in range(2):
        page.route("**/api/v1/stats*", expire)
        expect(page.locator("#token-said")).to_contain_text("This is not the token")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.unroute("**/api/v1/stats*")
        page.keyboard.press("Escape")
        expect(page.locator("#trouble")).to_be_hidden()


def test_one_answer_does_not_end_what_is_wrong_with_another(visit, url):
    page = visit(url)
    page.route("**/api/v1/prewarm", refuse)
    note = page.locator("#trouble")
    expect(note).to_contain_text("Too much at once")
    page.evaluate("""() => {
        window.changed = 0;
        const note = document.getElementById("trouble");
        const how = {attributes: true, childList: true};
        new MutationObserver(() => { changed += 1; }).observe(note, how);
    }""")
    for _ in range(2):
        with page.expect_response("**/api/v1/stats*"):
            pass
    assert page.evaluate("changed") == 0
    page.unroute("**/api/v1/prewarm")
    expect(note).to_be_hidden()


def test_a_removal_that_failed_leaves_the_focus_and_says_so(visit, url):
    page = visit(url)
    give_token(page)
    page.route("**/api/v1/rm", lambda route: route.continue_() if asks(route) else refuse(route))
    page.get_by_role("button", name=re.compile("Remove voice-01.wav")).click()
    yes = page.locator("#confirm-yes")
    expect(yes).to_be_visible()
    yes.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#confirm-said")).to_contain_text("Too much at once. To do: wait.")
    expect(yes).to_be_focused()


def asks(route):
    return json.loads(route.request.post_data)["dry_run"]


def test_a_dialog_that_is_closed_too_early_hides_nothing(visit, serving, tmp_path):
    write(tmp_path / "store", "anna.wav", "ben.wav")
    page, held = visit(serving(tmp_path / "store")), []
    give_token(page)
    page.route("**/api/v1/rm", lambda one: one.continue_() if asks(one) else held.append(one))
    page.get_by_role("button", name=re.compile("Remove anna.wav")).click()
    page.locator("#confirm-yes").click()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#confirm-dialog")).to_be_hidden()
    (route,) = held
    route.continue_()
    expect(page.locator("#voices-said")).to_contain_text("anna.wav is removed")
    expect(rows(page)).to_have_count(1)


def test_a_server_that_comes_back_is_taken_as_it_is(visit, root, token_file, tmp_path):
    with cas.open(root, log="off") as cache:
        encode(cache, "anna.wav")
        with Served(cache, token_file, tmp_path) as first:
            page = visit(f"http://127.0.0.1:{first.port}/", viewport=DESK)
            expect(rows(page)).to_have_count(1)
        page.get_by_role("button", name="Search").click()
        expect(page.locator("#voices-said")).to_contain_text("The server does not answer")
        encode(cache, "ben.wav")
        with Served(cache, token_file, tmp_path, f"127.0.0.1:{first.port}"):
            expect(rows(page)).to_have_count(2)
            expect(page.locator("#live")).to_have_text("live")
