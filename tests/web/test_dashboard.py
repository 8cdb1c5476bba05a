"""The page, in a real browser, before a real server: every control is used, and has its effect."""

import re
import wave

import pytest
from playwright.sync_api import expect

import stepaudio_cas as cas
from stepaudio_cas.cli.main import main
from tests.support.processes import wait_until
from tests.web.chromium import (
    DESK,
    HOSTILE,
    PHONE,
    TOKEN,
    World,
    age,
    encode,
    give_token,
    open_page,
    rows,
    violations,
)

pytestmark = pytest.mark.usefixtures("harmless")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("dashboard"))
    yield made.start()
    made.close()


@pytest.fixture(scope="module")
def tab(chromium, world, troubles):
    return open_page(chromium, world.url, troubles)


@pytest.fixture
def page(tab, world):
    """Open the page anew, in a tab that knows nothing."""
    tab.emulate_media(color_scheme="light", reduced_motion="reduce")
    tab.evaluate("sessionStorage.clear(); localStorage.clear()")
    tab.goto(world.url)
    expect(rows(tab)).to_have_count(5)
    return tab


@pytest.fixture
def allowed(page):
    """Give the page the token."""
    give_token(page)
    return page


@pytest.fixture
def store(world):
    """Put the store back as it was, whatever a test does to its entries."""
    before = {path: path.read_bytes() for path in world.entries()}
    yield world
    for path in set(world.entries()) - set(before):
        path.unlink()
    for path, data in before.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_the_figures_are_those_of_the_store(page):
    expect(page.locator("#figures")).to_contain_text("67 %")
    expect(page.locator("#figures")).to_contain_text("10 hits, 5 misses")
    expect(page.locator("#figures")).to_contain_text("no limit; 5 entries")
    expect(page.locator("#plugins tbody tr").first).to_contain_text("host.tokens")
    expect(page.locator("#top tbody tr")).to_have_count(5)
    expect(page.locator("#tier-list tbody tr").first).to_contain_text("disk")
    expect(page.locator("#health")).to_contain_text("store disk in order")
    expect(page.locator("#bypasses")).to_contain_text("3 calls passed through: stateful")
    assert page.title().startswith("67 %")


def test_lines_over_time_have_words_and_a_table(visit, world):
    with cas.open(world.root, log="off") as cache:
        encode(cache, "anna.wav")
    wait_until(lambda: world.ask("stats")["hits"] == 11)
    page = visit(world.url)
    rate = page.locator("#charts figure").first
    expect(rate).to_contain_text("Last 100 %")
    rate.get_by_text("As a table").click()
    expect(rate.get_by_role("table", name="Hit rate")).to_contain_text("100 %")
    rate.locator("svg").hover()
    expect(rate.locator(".reading")).to_contain_text("100 %")
    page.get_by_label("Time shown").select_option("300")
    expect(rate).to_contain_text("Last 100 %")


def test_voices_are_searched_by_name(page):
    for asked, found in (("ann*", 2), ("clara.wav", 1), ("nobody", 0), ("*", 5)):
        page.get_by_label("Voice or key").fill(asked)
        page.get_by_role("button", name="Search").click()
        expect(rows(page)).to_have_count(found)


def test_voices_are_chosen_by_plugin_order_and_pin(page, world):
    page.locator("#search").get_by_label("Plugin").select_option("host.speaker")
    expect(rows(page)).to_have_count(1)
    page.locator("#search").get_by_label("Plugin").select_option("")
    page.get_by_label("Order").select_option("key")
    expect(rows(page)).to_have_count(5)
    keys = rows(page).evaluate_all("rows => rows.map((row) => row.dataset.key)")
    assert keys == sorted(world.keys())
    main(["--store", str(world.root), "pin", keys[2]])
    page.get_by_label("pinned only").check()
    expect(rows(page)).to_have_count(1)
    main(["--store", str(world.root), "unpin", keys[2]])


def test_more_voices_are_shown_where_there_are_more(page, store):
    with cas.open(store.root, log="off") as cache:
        for number in range(9):
            encode(cache, f"crowd-{number}.wav")
    page.reload()
    for order in ("last used first", "by key"):
        page.get_by_label("Order").select_option(order)
        expect(rows(page)).to_have_count(12)
        page.get_by_role("button", name="Show more").click()
        expect(rows(page)).to_have_count(14)
        expect(page.get_by_role("button", name="Show more")).to_be_hidden()
        expect(rows(page).nth(12).locator("button").first).to_be_focused()


def test_what_a_voice_is_called_is_never_markup(page):
    page.get_by_label("Voice or key").fill("<img*")
    page.get_by_role("button", name="Search").click()
    page.locator("#voice-list").get_by_role("button", name=HOSTILE, exact=True).click()
    expect(page.locator("#entry-title")).to_have_text(HOSTILE)
    expect(page.locator("#entry dl")).to_contain_text(HOSTILE)
    expect(page.locator("#miss-list")).to_contain_text(HOSTILE)
    expect(page.locator("#top")).to_contain_text(HOSTILE)
    assert page.locator("main img, main b, dialog img, dialog b").count() == 0
    assert page.evaluate("window.hacked") is None


def test_an_entry_tells_of_its_tokens_and_its_key_by_keyboard_alone(page):
    page.get_by_label("Voice or key").fill("ben.wav")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    opener = rows(page).get_by_role("button", name="ben.wav", exact=True)
    opener.focus()
    page.keyboard.press("Enter")
    entry = page.get_by_role("dialog")
    expect(entry).to_contain_text("0 20, 1 13, 2 20")
    expect(entry).to_contain_text("nothing: the store keeps what came of a recording")
    expect(entry.get_by_role("table")).to_contain_text("layers")
    page.keyboard.press("Escape")
    expect(entry).to_be_hidden()
    expect(opener).to_be_focused()


def test_the_first_tab_leads_past_the_navigation(page):
    page.keyboard.press("Tab")
    expect(page.get_by_text("Go to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_removing_asks_for_the_token_and_then_whether_it_is_meant(page, store):
    before = store.keys()
    page.get_by_role("button", name=re.compile("Remove clara.wav")).click()
    give_token(page, "a-token-that-is-wrong")
    expect(page.locator("#token-said")).to_contain_text("This is not the token")
    assert store.keys() == before
    give_token(page)
    page.locator("#confirm-dialog").get_by_role("button", name="Cancel").click()
    assert store.keys() == before
    page.get_by_role("button", name=re.compile("Remove clara.wav")).click()
    expect(page.locator("#confirm-title")).to_have_text("Remove clara.wav?")
    page.locator("#confirm-yes").click()
    expect(page.locator("#voices-said")).to_contain_text("clara.wav is removed")
    assert len(before - store.keys()) == 1
    expect(rows(page)).to_have_count(4)


def test_a_pinned_voice_goes_only_if_that_is_said(allowed, store):
    page, before = allowed, store.keys()
    main(["--store", str(store.root), "pin", "ben.wav"])
    page.get_by_role("button", name="ben.wav", exact=True).click()
    expect(page.locator("#entry")).to_contain_text("Pinned")
    page.locator("#entry").get_by_role("button", name="Remove…").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#voices-said")).to_contain_text("pinned and was not removed")
    assert store.keys() == before
    page.get_by_role("button", name=re.compile("Remove ben.wav")).click()
    page.get_by_label("remove it although it is pinned").check()
    page.locator("#confirm-yes").click()
    expect(page.locator("#voices-said")).to_contain_text("ben.wav is removed")
    assert len(before - store.keys()) == 1
    main(["--store", str(store.root), "unpin", *(before - store.keys())])


def test_cleaning_up_is_a_plan_first_and_is_then_carried_out(allowed, store):
    page, before, form = allowed, store.keys(), allowed.locator("#gc-form")
    age(store)
    form.get_by_label("Keep at most, entries").fill("3")
    form.get_by_label("Who goes first").select_option("value")
    form.get_by_role("button", name="Make a plan").click()
    expect(page.locator("#gc-said")).to_contain_text("2 entries, ")
    expect(page.locator("#plan")).to_contain_text("It holds until")
    assert store.keys() == before
    page.get_by_role("button", name="Carry it out…").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#gc-said")).to_contain_text("Done: 2 entries")
    expect(page.locator("#plan")).to_be_hidden()
    expect(rows(page)).to_have_count(3)
    assert len(store.keys()) == 3


def test_a_plan_can_be_for_a_plugin_an_age_a_size_and_models(allowed, world):
    page, form = allowed, allowed.locator("#gc-form")
    form.get_by_label("Keep within").fill("a lot")
    form.get_by_role("button", name="Make a plan").click()
    expect(page.locator("#gc-said.bad")).to_contain_text("'a lot' is not a size")
    age(world)
    form.get_by_label("Keep within").fill("50GB")
    form.get_by_label("Remove what was not used for").fill("1h")
    form.get_by_label("only models in use stay").check()
    form.get_by_label("Only of plugin").select_option("host.speaker")
    form.get_by_role("button", name="Make a plan").click()
    expect(page.locator("#gc-said")).to_contain_text("1 entry, ")
    assert len(world.keys()) == 5


def test_a_recording_is_heard_sent_encoded_and_taken_back(allowed, store):
    page, before = allowed, store.keys()
    sound = store.folder / "emil.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(b"@" * 800)  # as text it is text, which is what the small host reads
    page.get_by_label("Recording", exact=True).set_input_files(sound)
    expect(page.locator("#preview-audio")).to_be_visible()
    wait_until(lambda: page.evaluate("document.getElementById('preview-audio').duration") == 0.1)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#upload-said")).to_contain_text("emil.wav was sent")
    wait_until(lambda: store.keys() - before)
    expect(page.locator("#sent tbody tr")).to_contain_text("kept")
    assert len(store.sent()) == 1
    page.locator("#sent").get_by_role("button", name="Play emil.wav").click()
    heard = page.get_by_label("The recording emil.wav")
    wait_until(lambda: heard.evaluate("audio => audio.duration") == 0.1)
    page.get_by_label("Voice or key").fill("emil.*")
    page.get_by_role("button", name="Search").click()
    expect(rows(page)).to_have_count(len(store.keys() - before))
    rows(page).get_by_role("button", name="emil.wav", exact=True).first.click()
    expect(page.locator("#entry").get_by_role("button", name="Play emil.wav")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#sent").get_by_role("button", name="Remove emil.wav").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#sent-said")).to_contain_text("emil.wav is removed")
    expect(page.locator("#sent")).to_contain_text("No voice was sent here")
    assert store.sent() == []


def test_what_is_no_recording_is_refused_with_what_to_do(allowed, world):
    page, text = allowed, world.folder / "notes.txt"
    text.write_text("no sound")
    page.get_by_label("Recording", exact=True).set_input_files(text)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#upload-said.bad")).to_contain_text("To do:")
    assert world.sent() == []
    page.get_by_label("Its name in a watched folder").fill("nobody.wav")
    page.get_by_role("button", name="Look again").click()
    expect(page.locator("#again-said.bad")).to_contain_text("No folder that is watched")


def test_from_elsewhere_nothing_is_shown_before_the_token_is_given(visit, world):
    page = visit(world.url, extra_http_headers={"X-Forwarded-For": "192.0.2.7"})
    expect(page.get_by_role("dialog")).to_be_visible()
    assert rows(page).count() == 0
    give_token(page)
    expect(rows(page)).to_have_count(5)
    expect(page.locator("#live")).to_have_text("live")
    page.reload()
    expect(rows(page)).to_have_count(5)
    page.get_by_role("button", name="Token: given").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("#trouble")).to_contain_text("needs the token")
    assert page.evaluate("JSON.stringify(sessionStorage) + document.cookie") == "{}"


def test_a_token_that_is_not_to_be_kept_is_gone_with_the_page(page):
    page.get_by_role("button", name="Token…").click()
    page.get_by_label("keep it until this tab is closed").uncheck()
    give_token(page)
    assert TOKEN not in page.evaluate("JSON.stringify(sessionStorage)")
    page.reload()
    expect(page.locator("#token-open")).to_have_text("Token…")


def test_light_and_dark_follow_the_system_until_somebody_chooses(page):
    def theme():
        return page.evaluate("document.documentElement.dataset.theme")

    page.emulate_media(color_scheme="dark")
    wait_until(lambda: theme() == "dark")
    page.get_by_label("Appearance").select_option("light")
    assert theme() == "light"
    page.reload()
    assert theme() == "light"
    expect(page.get_by_label("Appearance")).to_have_value("light")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_everybody_can_use_it(visit, world, theme, screen):
    page = visit(world.url, color_scheme=theme, viewport=screen)
    expect(rows(page)).to_have_count(5)
    expect(page.locator("#miss-list li")).to_have_count(5)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    rows(page).get_by_role("button", name="ben.wav", exact=True).click()
    expect(page.locator("#entry dl")).to_be_visible()
    assert violations(page, "dialog[open]") == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Token").click()
    assert violations(page, "dialog[open]") == []
    give_token(page)
    page.get_by_label("Keep at most, entries").fill("3")
    page.get_by_role("button", name="Make a plan").click()
    expect(page.locator("#plan")).to_be_visible()
    assert violations(page, "#gc") == []
