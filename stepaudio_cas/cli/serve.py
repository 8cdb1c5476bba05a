"""`cas-tool serve`: the HTTP API, the page and the metrics, in a process of their own."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from stepaudio_cas.cli import tables
from stepaudio_cas.cli.codes import FINE
from stepaudio_cas.cli.stores import read_settings
from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.prewarm import state
from stepaudio_cas.settings import parse_address

if TYPE_CHECKING:
    import argparse
    import socket

    from stepaudio_cas.settings import Settings

ADDRESS = "127.0.0.1:8765"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `serve`."""
    parser.description = (
        "Serve a page that shows what the stores hold and save, an HTTP API (described at\n"
        "/api/v1/openapi.json), events, and metrics for Prometheus at /metrics. Reading is open\n"
        "to this machine; any other one, and every change, needs the token in --token-file, made\n"
        "if it is not there. In a host's own process, STEPAUDIO_CAS_HTTP does the same."
    )
    parser.epilog = (
        "example:\n  cas-tool --store /srv/cache serve\n"
        "  cas-tool serve --host 0.0.0.0 --port 80 --token-file /run/secrets/cas\n"
        "  curl -H \"Authorization: Bearer $(cat TOKEN_FILE)\" -d '{}' \\\n"
        "      http://127.0.0.1:8765/api/v1/clear\n\n"
        "exit codes: 0 ended by a signal, 1 the address cannot be had, 2 wrong usage"
    )
    host, _, port = ADDRESS.rpartition(":")
    parser.add_argument("--host", default=host, help=f"address to listen at [{host}]")
    parser.add_argument("--port", default=port, help=f"port; 0 is any that is free [{port}]")
    parser.add_argument(
        "--token-file", metavar="FILE", help="with a token in each line [~/.local/state/…]"
    )
    parser.add_argument(
        "--spool", metavar="DIR", help="where voices go that are sent; to be watched, too"
    )
    parser.add_argument("--state", metavar="DIR", help="where those say it who watch folders")


def main(options: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    settings = read_settings(options)
    try:
        address = parse_address(f"{options.host}:{options.port}")
    except ValueError as error:
        raise SettingError(str(error)) from None
    try:
        from stepaudio_cas.web.server import bind  # noqa: PLC0415 - heavy
    except ImportError as error:
        raise CasError(f"{error.name} is missing: pip install 'stepaudio-cas[http]'") from None
    try:
        listening = bind(address)
    except OSError as error:
        text = f"{address} cannot be had: {error.strerror or error}; --port 0 takes any"
        raise CasError(text) from None
    with listening:
        _serve(options, settings, listening)
    return FINE


def _serve(options: argparse.Namespace, settings: Settings, listening: socket.socket) -> None:
    from stepaudio_cas.web.server import Server, url_of  # noqa: PLC0415 - heavy
    from stepaudio_cas.web.service import Service  # noqa: PLC0415
    from stepaudio_cas.web.source import of_settings  # noqa: PLC0415
    from stepaudio_cas.web.spool import Spool  # noqa: PLC0415
    from stepaudio_cas.web.tokens import Tokens, default_path, make_token  # noqa: PLC0415

    path = options.token_file or settings.http_token_file or default_path()
    path = os.path.abspath(os.path.expanduser(path))
    made = make_token(path)
    tokens = Tokens(path)
    tokens.check()
    source = of_settings(settings, states=options.state)
    spool = Spool(os.path.abspath(os.path.expanduser(options.spool or state.default_spool())))
    server = Server(Service(source, tokens, spool=spool), listening)
    url = url_of(listening)

    def ready() -> None:
        if options.json:
            tables.line({"url": url, "token_file": path, "token_made": made, "spool": spool.folder})
            sys.stdout.flush()
            return
        _say(f"{url} shows {', '.join(store.url for store in source.stores)}")
        _say(f"the token for changes is in {path}{' (made just now)' if made else ''}")
        if tokens.seen_by_others:
            _say(f"other users of this machine can read it: chmod 600 {path}")

    def stop(*_: Any) -> None:
        server.stop()

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        server.run(ready)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _say(text: str) -> None:
    print(f"cas-tool: {text}", file=sys.stderr, flush=True)  # noqa: T201 - a tool talks
