"""The file that starts us may be seen twice, or from several places: we are there once."""

import pytest

from tests.activation import hosts
from tests.activation.deployments import Environment, Host, assert_cached

COUNT = """
import sys
ours = [type(f).__name__ for f in sys.meta_path if type(f).__module__.startswith("stepaudio_cas")]
assert ours == ["Finder"], ours
"""


def test_the_file_may_be_processed_again_while_running(host, environment):
    again = f"import site; site.addsitedir({str(environment.packages)!r}, set())\n"
    host.write("app.py", again + hosts.APP + again + COUNT)
    assert_cached(host, "app.py")


@pytest.fixture
def twice(tmp_path, wheel):
    """An environment with two folders of packages that both have us."""
    made = Environment(tmp_path / "venv", wheel).link_needed()
    made.install(wheel, tmp_path / "second")
    (made.packages / "a.pth").write_text(
        f"import site; site.addsitedir({str(tmp_path / 'second')!r})\n"
    )
    return Host(tmp_path, made)


def test_two_folders_of_packages_may_have_us(twice):
    twice.write("app.py", hosts.APP + COUNT)
    first, _ = assert_cached(twice, "app.py")
    assert "skipped" not in first.errors


def test_a_plugin_in_a_folder_that_site_adds_after_us_is_found(tmp_path, wheel):
    made = Environment(tmp_path / "venv", wheel).link_needed()
    host = Host(tmp_path, made)
    host.plugin("late", "raise RuntimeError('found')")
    del host.environment["PYTHONPATH"]
    (made.packages / "zzzz.pth").write_text(f"{tmp_path / 'site'}\n")
    host.write("service.py", hosts.SCRIPT)
    assert "plugin late (late_plugin:plugin) is skipped" in host.run("service.py").errors


def test_a_package_that_is_gone_leaves_the_host_running(tmp_path, wheel):
    made = Environment(tmp_path / "venv").link_needed()
    made.install(wheel, tmp_path / "unpacked")
    file = made.packages / "zzz_stepaudio_cas.pth"
    (tmp_path / "unpacked" / file.name).rename(file)
    host = Host(tmp_path, made)
    done = host.run("app.py")
    assert (done.encodes, len(done.results)) == (2, 2)


def test_a_missing_dependency_is_said_and_the_host_runs(tmp_path, wheel):
    made = Environment(tmp_path / "venv", wheel).link_needed()
    (made.packages / "msgpack").unlink()
    done = Host(tmp_path, made).run("app.py")
    assert (done.encodes, len(done.results)) == (2, 2)
    assert len(done.lines) == 1
    assert done.lines[0].endswith(
        "StepAudioTokenizer is left as it is: ModuleNotFoundError: No module named 'msgpack'"
    )
