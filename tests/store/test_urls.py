import re
import sys
from pathlib import Path

import pytest

import stepaudio_cas as cas
from stepaudio_cas.errors import SettingError
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.urls import default_root, local_root, open_backend


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("/srv/voices", "/srv/voices"),
        ("  /srv/voices  ", "/srv/voices"),
        ("/srv/two words", "/srv/two words"),
        ("file:///srv/voices", "/srv/voices"),
        ("file://localhost/srv/voices", "/srv/voices"),
        ("file:///srv/two%20words", "/srv/two words"),
        ("~/voices", str(Path("~/voices").expanduser())),
        ("voices", str(Path("voices").absolute())),
    ],
)
def test_paths_and_file_urls_are_local(url, root):
    backend = open_backend(url)
    assert type(backend) is LocalBackend
    assert local_root(backend) == root


def test_a_path_is_not_decoded_like_a_url():
    assert local_root(open_backend("/srv/50%20off")) == "/srv/50%20off"


def test_memory_urls_are_of_this_process():
    backend = open_backend("memory://name")
    assert type(backend) is MemoryBackend
    assert backend.url == "memory://name"
    assert local_root(backend) is None


def test_any_other_url_goes_to_fsspec(tmp_path):
    backend = open_backend(f"local://{tmp_path}/remote")
    assert type(backend).__name__ == "FsspecBackend"
    backend.put("v1/objects/a", b"content")
    assert (tmp_path / "remote/v1/objects/a").read_bytes() == b"content"


BAD = [
    "file://voices",
    "file://host/voices",
    "file://",
    "nothing://known",
    "redis+tls://x",
    "s3:/bucket",
    "file:/x",
    "file:x",
    "s3:x",
    "$HOME/voices",
    "${HOME}/voices",
]


@pytest.mark.parametrize("url", BAD)
def test_a_bad_url_is_a_setting_error_that_names_it(url):
    with pytest.raises(SettingError) as error:
        open_backend(url)
    assert str(error.value).startswith(f"{url}: ")


@pytest.mark.parametrize("url", BAD)
def test_a_bad_url_is_named_by_open_too(url):
    with pytest.raises(SettingError, match=re.escape(url)):
        cas.open(url)


def test_a_store_whose_package_is_missing_says_what_to_install(monkeypatch):
    def missing(*args, **kwargs):
        raise ImportError("Install it to access it")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(SettingError, match=r"^sftp://host/voices: .* install it \("):
        open_backend("sftp://host/voices")


@pytest.mark.parametrize("scheme", ["gs", "gcs"])
def test_gcs_without_its_package_says_what_to_install(monkeypatch, scheme):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(SettingError, match=r"pip install 'stepaudio-cas\[gcs\]'"):
        open_backend(f"{scheme}://bucket/voices")


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_s3_needs_no_package(aws, scheme):
    backend = open_backend(f"{scheme}://bucket/voices/")
    assert type(backend).__name__ == "S3Backend"
    assert backend.url == "s3://bucket/voices"


@pytest.mark.parametrize("url", ["s3://x", "s3://b?region=eu", "gs://two words/x", "s3://b#x"])
def test_what_is_no_bucket_is_said(url):
    with pytest.raises(SettingError, match=re.escape(f"{url}: a bucket and a folder in it")):
        open_backend(url)


def test_a_secret_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(SettingError, match="do not belong into a URL") as error:
        open_backend("s3://AKIA:hush@bucket/voices")
    assert "hush" not in str(error.value)


def test_the_default_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "stepaudio-cas"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_root() == Path("~/.cache/stepaudio-cas").expanduser()
