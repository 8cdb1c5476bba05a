"""The page of a host that is at work: events, breakers, misses, in a real browser."""

import pytest
from playwright.sync_api import expect

import stepaudio_cas as cas
from tests.support.processes import wait_until
from tests.web.chromium import HOSTILE, encode
from tests.web.serving import Served

pytestmark = pytest.mark.usefixtures("harmless")


@pytest.fixture
def host(root, token_file, tmp_path):
    """Serve the page in a host that is at work."""
    with cas.open(root, log="off") as cache, Served(cache, token_file, tmp_path) as served:
        yield served


def test_events_come_as_they_happen_and_can_be_held_back(visit, host):
    page = visit(f"http://127.0.0.1:{host.port}/")
    listed = page.locator("#event-list li")
    expect(page.locator("#live")).to_have_text("live")
    wait_until(lambda: host.inside._observer.followed)
    encode(host.cache, HOSTILE)
    encode(host.cache, HOSTILE)
    expect(listed.filter(has_text="encoded in")).to_have_count(1)
    expect(listed.filter(has_text="from memory")).to_contain_text(HOSTILE)
    expect(page.locator("#tier-list")).to_contain_text("closed, in use")
    page.get_by_role("button", name="Pause").click()
    encode(host.cache, "ben.wav")
    expect(page.locator("#events-said")).to_contain_text("1 kept back")
    assert listed.filter(has_text="ben.wav").count() == 0
    page.get_by_role("button", name="Go on").click()
    expect(listed.filter(has_text="ben.wav")).to_have_count(1)
    for kind in ("hits", "misses", "bypasses", "errors", "prewarm", "counts"):
        page.get_by_label(kind, exact=True).uncheck()
    expect(listed.filter(visible=True)).to_have_count(0)
    page.get_by_label("misses", exact=True).check()
    expect(listed.filter(visible=True)).to_have_count(2)
    page.get_by_role("button", name="Empty the list").click()
    expect(listed).to_have_count(0)


def test_a_miss_says_what_differs_from_what_is_kept(visit, host):
    encode(host.cache, "anna.wav")
    encode(host.cache, "anna.wav", rate=24000)
    page = visit(f"http://127.0.0.1:{host.port}/")
    miss = page.locator("#miss-list li").first
    expect(miss).to_contain_text("rate")
    miss.get_by_text("Compared with anna.wav").click()
    expect(miss.get_by_role("table")).to_contain_text("24000")


def test_a_line_that_is_cut_is_taken_up_again(visit, root, token_file, tmp_path):
    with cas.open(root, log="off") as cache:
        with Served(cache, token_file, tmp_path) as first:
            page = visit(f"http://127.0.0.1:{first.port}/")
            expect(page.locator("#live")).to_have_text("live")
        expect(page.locator("#live")).to_contain_text("not live")
        expect(page.locator("#trouble")).to_contain_text("does not answer")
        with Served(cache, token_file, tmp_path, f"127.0.0.1:{first.port}"):
            expect(page.locator("#live")).to_have_text("live")
            expect(page.locator("#trouble")).to_be_hidden()
