"""What the documentation says exists: settings, commands, links, counters, the files to deploy."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from stepaudio_cas.cli.main import VERBS, _split, build_parser
from stepaudio_cas.errors import CasError
from stepaudio_cas.settings import _READERS, read_settings
from stepaudio_cas.store.counters import COUNTERS
from stepaudio_cas.store.http import Client
from stepaudio_cas.store.objectstore import bucket_and_prefix
from stepaudio_cas.store.redis_url import parse_place
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import open_backend
from tests.support.values import entry

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DEPLOY = DOCS / "deploy"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
YAML = sorted(DEPLOY.glob("*.yaml"))
EVERYTHING = [*PAGES, *sorted(DEPLOY.iterdir())]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
VARIABLE = re.compile(r"\bSTEPAUDIO_CAS(?:_[A-Z]+)*\b")
KNOWN = {*_READERS, "STEPAUDIO_CAS_CONFIG"}


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def operations():
    return (DOCS / "operations.md").read_text("utf-8")


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", operations(), re.MULTILINE | re.DOTALL)[1]


@pytest.mark.parametrize("name", ["operations.md", "zh/operations.md"])
def test_the_table_of_settings_is_complete(name):
    text = (DOCS / name).read_text("utf-8")
    listed = re.findall(r"^\| `(STEPAUDIO_CAS\w*)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(_READERS)


@pytest.mark.parametrize("path", EVERYTHING, ids=names(EVERYTHING))
def test_no_page_names_a_variable_that_there_is_not(path):
    assert set(VARIABLE.findall(path.read_text("utf-8"))) <= KNOWN


def anchors(path):
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=names(PAGES))
def test_every_link_leads_somewhere(path):
    text = INLINE.sub("", FENCED.sub("", path.read_text("utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        page = path.parent / name if name else path
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), target


def commands_in(line):
    """Take the commands of a line of shell apart, each up to a pipe, a redirection or a comment."""
    line = re.sub(r"\$\(\(.*?\)\)", "1", line)
    for found in re.finditer(r"(?<![\w/-])cas-tool (?=[a-z-])", line):
        lexer = shlex.shlex(line[found.end() :], posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words = []
        for word in lexer:
            if set(word) <= set("|&;<>()"):
                break
            words.append(word)
        yield words


def commands(path):
    text = path.read_text("utf-8")
    if path.suffix == ".yaml":
        yield from (words for line in text.splitlines() for words in commands_in(line))
        for strings in lists(list(yaml.safe_load_all(text))):
            if strings[:1] == ["cas-tool"]:
                yield strings[1:]
        return
    for _, block in FENCED.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from commands_in(line)
    for line in re.findall(r"^    (?:\$ )?(cas-tool .*)$", text, re.MULTILINE):
        yield from commands_in(line)
    for code in INLINE.findall(FENCED.sub("", text)):
        if code.startswith("cas-tool "):
            yield from (words for words in commands_in(code) if "…" not in code)


def lists(node):
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        if node and all(isinstance(item, str) for item in node):
            yield node
        for item in node:
            yield from lists(item)


ALL_COMMANDS = [
    pytest.param(words, id=f"{path.relative_to(ROOT)}: {' '.join(words)}")
    for path in EVERYTHING
    if path.suffix in {".md", ".yaml"}
    for words in commands(path)
]


@pytest.mark.parametrize("words", ALL_COMMANDS)
def test_every_command_is_one_that_cas_tool_takes(words):
    words, _ = _split(words)
    if all(word.startswith("--") for word in words[1:]):  # a verb or an option that is spoken of
        (verbs,) = build_parser(words)._subparsers._group_actions
        assert set(words[1:]) <= set(verbs.choices[words[0]]._option_string_actions)
        return
    assert build_parser(words).parse_args(words).verb in VERBS


def test_the_commands_are_found():
    assert len(ALL_COMMANDS) > 40


def environments(node):
    """Yield what the services and containers of a document get as variables."""
    if isinstance(node, list):
        for item in node:
            yield from environments(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "environment":
                yield value
            elif name == "env":
                yield {item["name"]: item["value"] for item in value}
            else:
                yield from environments(value)


@pytest.mark.parametrize("path", YAML, ids=names(YAML))
def test_what_is_deployed_has_settings_that_can_be_used(path):
    found = list(environments(list(yaml.safe_load_all(path.read_text("utf-8")))))
    assert found
    for environment in found:
        can_be_used(environment)


def variables(language, text):
    """Return the variables that a block, or a unit of systemd, gives to a host."""
    if language == "yaml":
        return list(environments(list(yaml.safe_load_all(text))))
    pairs = re.findall(r"^(?:Environment=|ENV )(\w+)=(\S+)$", text, re.MULTILINE)
    return [dict(pairs)] if pairs else []


SETTING = [
    pytest.param(environment, id=f"{path.relative_to(ROOT)}: {environment}")
    for path in [*PAGES, *sorted(DEPLOY.glob("*.service"))]
    for language, text in (
        FENCED.findall(path.read_text("utf-8"))
        if path.suffix == ".md"
        else [("ini", path.read_text("utf-8"))]
    )
    if language in {"yaml", "ini", "dockerfile"}
    for environment in variables(language, text)
]


@pytest.mark.parametrize("environment", SETTING)
def test_what_a_page_sets_can_be_used(environment):
    can_be_used(environment)


def test_the_variables_of_pages_and_units_are_found():
    assert len(SETTING) >= 5


def can_be_used(environment):
    plain = {k: re.sub(r"\$\{\w+:-(\w+)\}", r"\1", v) for k, v in environment.items()}
    settings, problems = read_settings(plain)
    assert not problems
    assert settings.stores
    for url in settings.stores:
        is_a_place(url)


def is_a_place(url):
    scheme = url.partition("://")[0]
    if scheme.startswith("redis"):
        parse_place(url)
    elif scheme == "s3":
        bucket_and_prefix(url)
    else:
        assert scheme in {"file", url}


def test_the_counters_to_watch_are_counted():
    cells = re.findall(r"^\| (`[^|]+) \|", section("What to watch"), re.MULTILINE)
    watched = [name for cell in cells for name in INLINE.findall(cell)]
    assert len(watched) > 20
    for name in watched:
        family = name.partition(".")[0] + "."
        assert name in COUNTERS or family in COUNTERS, name


# What the policies allow is what the clients ask for.

S3_ACTIONS = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
GCS_ACTIONS = {"GET": {"get"}, "POST": {"create", "delete"}, "DELETE": {"delete"}}


@pytest.fixture
def asked(monkeypatch):
    """Collect the requests that are sent: the method, or `LIST`."""
    found, send = set(), Client.request

    def request(client, method, target, *arguments, **options):
        listing = re.search(r"[?&](list-type|maxResults)=", target)
        found.add("LIST" if listing else method)
        return send(client, method, target, *arguments, **options)

    monkeypatch.setattr(Client, "request", request)
    return found


def read_all_of(backend, manifest):
    store = Store(backend)
    assert store.read(manifest.key) is not None
    assert len(store.read_many([manifest.key])) == 1
    assert backend.stat("v1/pins/none") is None
    assert list(backend.list("v1"))


def write_and_remove(backend):
    manifest, blob = entry(1)
    Store(backend).commit(manifest, blob)
    Store(backend).commit(manifest, blob, overwrite=True)
    for expected in (None, b"here"):
        backend.put("v1/probes/here", b"here")
        assert backend.delete("v1/probes/here", expect=expected)
    return manifest


def s3_actions(requests):
    return {f"s3:{S3_ACTIONS.get(method, 'ListBucket')}" for method in requests}


def gcs_actions(requests):
    named = (GCS_ACTIONS.get(method, {"list"}) for method in requests)
    return {f"storage.objects.{action}" for actions in named for action in actions}


def allowed(name):
    document = json.loads((DEPLOY / name).read_text("utf-8"))
    if "Statement" not in document:
        return document["includedPermissions"]
    assert all(statement["Effect"] == "Allow" for statement in document["Statement"])
    return [action for statement in document["Statement"] for action in statement["Action"]]


@pytest.mark.parametrize(("scheme", "actions"), [("s3", s3_actions), ("gcs", gcs_actions)])
def test_the_policies_allow_what_is_asked_for_and_nothing_else(scheme, actions, request, asked):
    backend = open_backend(f"{request.getfixturevalue(f'{scheme}_url')}/policies")
    manifest = write_and_remove(backend)
    asked_by_writer = set(asked)
    asked.clear()
    read_all_of(backend, manifest)
    assert sorted(allowed(f"{scheme}-reader.json")) == sorted(actions(asked))
    assert sorted(allowed(f"{scheme}-writer.json")) == sorted(actions(asked_by_writer | asked))


def test_the_rights_in_redis_are_enough_to_write_and_to_read(own_redis):
    server = own_redis()
    for rule in re.findall(r"^ACL .*$", operations(), re.MULTILINE):
        assert server.ask(*rule.replace(">…", ">secret").split()) == b"+OK\r\n"
    at = f"127.0.0.1:{server.port}/0"
    writer = open_backend(f"redis://writer:secret@{at}")
    manifest = write_and_remove(writer)
    lease = writer.try_lock("gc")
    assert lease is not None
    lease.release()
    reader = open_backend(f"redis://reader:secret@{at}")
    store = Store(reader)
    store.read_many([manifest.key], touch=False)
    path = next(iter(reader.list("v1/manifests"))).path
    assert reader.stat(path) == writer.stat(path)
    with pytest.raises(CasError):
        reader.put("v1/pins/none", b"")
