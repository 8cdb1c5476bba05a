"""What the README shows is run as it stands."""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

from tests.support import pages

README = Path(__file__).parent.parent / "README.md"

# By how they begin, and why.
NOT_RUN = {"tools/demo ": "minutes each; the second one is what runs this test"}
SOMETHING_FOUND = {"cas-tool explain": 1}  # a recording that is not there


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def run(script):
    return subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, env=dict(os.environ)
    )


def test_the_python_of_the_readme_runs_and_computes_once_ever(tmp_path):
    script = tmp_path / "readme.py"
    text = "\n".join(blocks("python"))
    assert '"/tmp/voices"' in text
    script.write_text(text.replace('"/tmp/voices"', repr(str(tmp_path / "voices"))))
    first, second = run(script), run(script)
    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    assert first.stdout.count("computing") == 1
    assert "computing" not in second.stdout


def test_the_lines_that_the_readme_shows_are_the_lines_that_are_said(tmp_path):
    script = tmp_path / "readme.py"
    script.write_text(
        "\n".join(blocks("python")).replace('"/tmp/voices"', repr(str(tmp_path / "voices")))
    )
    said = run(script).stderr
    shown = [block for block in blocks("") if block.startswith("stepaudio-cas:")]
    assert len(shown) == 1
    for line in shown[0].splitlines():
        shape = re.sub(r"[0-9a-f]{12}", "<key>", line)
        shape = re.escape(re.sub(r"[\d.]+ (?:µs|ms|s)\b", "<time>", shape))
        pattern = shape.replace("<key>", "[0-9a-f]{12}").replace("<time>", r"[\d.]+ (?:µs|ms|s)")
        assert re.search(pattern, said), (line, said)


def test_the_commands_of_the_readme_run_and_print_what_it_shows(
    tmp_path, redis_url, s3_url, seaweedfs
):
    bucket = f"{s3_url}/{uuid.uuid4().hex}"
    instead = {
        "redis://cache:6379/0?ttl=7d": f"'{redis_url}&ttl=7d'",
        "s3://fleet-voices/editx": f"{bucket}/store",
        "s3://bucket/voices": f"{bucket}/studio",
    }
    with pages.Place(tmp_path, **instead) as place:
        recording = (tmp_path / "srv/presets/ben.wav").read_bytes()
        assert seaweedfs.ask("PUT", f"{bucket[4:]}/studio/ben.wav", recording) == 200
        for language, text, heading in pages.blocks(README):
            if language not in {"sh", "console"} or any(map(text.startswith, NOT_RUN)):
                continue
            if heading == "The store in order":
                place.run_block("sh", "python app.py", {})
                place.change_model(1)
                place.let_time_pass(hours=2)
            place.run_block(language, text, SOMETHING_FOUND)


def test_what_is_not_run_is_there():
    for beginning in NOT_RUN:
        assert any(text.startswith(beginning) for text in blocks("sh"))
