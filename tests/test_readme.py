"""What the README shows is run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


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
