"""The page without a mouse or without sight: every control is reached, the focus is never lost."""

import re

import pytest
from playwright.sync_api import expect

import stepaudio_cas as cas
from tests.support.processes import wait_until
from tests.web.chromium import encode, fill, rows
from tests.web.serving import Served

pytestmark = pytest.mark.usefixtures("harmless")
CONTROLS = "a[href], button, input, select, summary, audio, [tabindex='0']"
LIST = """async (steps) => {
    const { h, keyed } = await import("./static/dom.js");
    const section = document.body.appendChild(h("section"));
    const list = section.appendChild(h("ul"));
    const row = (one) => h("li", null, h("button", {}, "look"), h("button", {}, `go ${one.name}`));
    const said = [];
    for (const [items, focus] of steps) {
        keyed(list, items, (one) => one.name, row);
        if (focus) list.children[focus[0]].children[focus[1]].focus();
        const active = document.activeElement;
        const shown = [...list.children].map((one) => one.dataset.key).join(" ");
        said.push([shown, active === section ? "section" : active.textContent]);
    }
    return said;
}"""


@pytest.fixture
def host(root, token_file, tmp_path):
    """Serve the page in a host that has been at work."""
    fill(root)
    with cas.open(root, log="off") as cache, Served(cache, token_file, tmp_path) as served:
        encode(cache, "anna.wav", rate=24000)
        served.url = f"http://127.0.0.1:{served.port}/"
        yield served


def named(*names, state=0):
    return [{"name": name, "state": state} for name in names]


def test_every_control_is_reached_by_tab_and_seen_to_be(visit, host):
    page = visit(host.url)
    expect(rows(page)).to_have_count(6)
    expect(page.locator("#miss-list summary")).to_have_count(1)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wanted = page.locator(CONTROLS).filter(visible=True)
    count, seen = wanted.count(), set()
    for _ in range(count):
        page.keyboard.press("Tab")
        number, outline = page.evaluate("""(controls) => {
            const all = [...document.querySelectorAll(controls)];
            const active = document.activeElement;
            return [all.indexOf(active), getComputedStyle(active).outlineStyle];
        }""", CONTROLS)  # fmt: skip
        assert outline != "none"
        seen.add(number)
    assert len(seen) == count > 40


def test_the_focus_stays_where_it_is_while_what_is_around_it_changes(visit, host):
    page = visit(host.url)
    everything = [
        [named("a", "b", "c"), (1, 1)],
        [named("b", "c"), None],  # what stood before it has gone
        [named("n", "b", "c"), None],  # something new stands before it
        [named("n", "c", "b"), None],  # it has another place
        [named("n", "c", "b", state=1), None],  # it is written anew
        [named("n", "c", state=1), None],  # it has gone itself
        [[], None],
    ]
    said = page.evaluate(LIST, everything)
    assert said == [
        ["a b c", "go b"], ["b c", "go b"], ["n b c", "go b"], ["n c b", "go b"],
        ["n c b", "go b"], ["n c", "go c"], ["", "section"],
    ]  # fmt: skip


def test_what_is_there_twice_is_shown_twice_and_in_its_order(visit, host):
    page = visit(host.url)
    twice = [named("a") + named("b") + named("a", state=1), (2, 1)]
    again = [named("c") + named("a") + named("b") + named("a", state=1), None]
    assert page.evaluate(LIST, [twice, twice, again]) == [
        ["a b a 2", "go a"], ["a b a 2", "go a"], ["c a b a 2", "go a"],
    ]  # fmt: skip


def test_what_is_heard_goes_on_when_its_line_is_written_anew(visit, host):
    page = visit(host.url)
    voice = {"id": "0" * 32, "name": "dora.wav", "bytes": 9, "uploaded": 1.0, "why": ""}

    def say(state, number=1):
        def answer(route):
            said = route.fetch().json()
            one = {**voice, "state": state}
            said["spool"]["voices"] = [{**one, "id": f"{n:032x}"} for n in range(number)]
            route.fulfill(json=said)

        page.unroute("**/api/v1/prewarm")
        page.route("**/api/v1/prewarm", answer)

    sent = page.locator("#sent tbody tr")
    say("queued")
    expect(sent).to_contain_text("waiting")
    page.locator("#sent .player").evaluate("player => { player.kept = true; }")
    page.get_by_role("button", name="Remove dora.wav").focus()
    say("kept")
    expect(sent).to_contain_text("kept")
    assert page.locator("#sent .player").evaluate("player => player.kept")
    expect(page.get_by_role("button", name="Remove dora.wav")).to_be_focused()
    say("kept", 45)
    expect(sent).to_have_count(20)
    for count, left in ((40, 5), (45, 0)):
        page.locator("#sent-more").click()
        expect(sent).to_have_count(count)
        assert page.locator("#sent-more").is_visible() is bool(left)
    expect(sent.nth(40).get_by_role("button").first).to_be_focused()


def test_what_cannot_be_played_leaves_its_button_with_the_focus(visit, host):
    page = visit(host.url)
    page.evaluate("sessionStorage.setItem('stepaudio-cas.token /', 'a-token-of-many-letters')")
    page.reload()
    holder = page.evaluate_handle("""async () => {
        const { player } = await import("./static/player.js");
        return document.querySelector("main").appendChild(player("1".repeat(32), "dora.wav"));
    }""")
    play = page.get_by_role("button", name="Play dora.wav")
    play.focus()
    page.keyboard.press("Enter")
    wait_until(lambda: holder.evaluate("one => one.querySelector('[role=alert]') !== null"))
    expect(play).to_be_focused()


def test_what_is_kept_back_is_counted_without_a_word(visit, host):
    page = visit(host.url)
    said = page.locator("#events-said")
    expect(page.locator("#live")).to_have_text("live")
    wait_until(lambda: host.inside._observer.followed)
    pause = page.get_by_role("button", name="Pause")
    assert pause.get_attribute("aria-pressed") is None  # it says by its name what it does
    pause.click()
    encode(host.cache, "ben.wav")
    expect(said).to_contain_text("1 kept back")
    expect(said).to_have_attribute("aria-live", "off")
    page.get_by_role("button", name="Go on").click()
    expect(said).to_have_attribute("aria-live", "polite")
    expect(said).to_have_text(re.compile("^New: "))
    spoken = page.locator("[role=status], [role=alert], [aria-live]")
    held = {one.get_attribute("id") for one in spoken.all()}
    assert not held & {"misses-said", "figures", "event-list", "foot"}
