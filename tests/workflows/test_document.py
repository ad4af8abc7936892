"""docs/pull-requests.md where a shell runs it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "pull-requests.md"


def test_the_passphrases_salt_goes_whichever_sed_there_is(tmp_path: Path) -> None:
    (line,) = re.findall(r"^ *(sed .*)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    # BSD's takes the word after a bare -i for the ending of a copy.
    assert re.search(r"sed -i\.\w+ ", line)
    file = tmp_path / "Pulumi.NAME.yaml"
    file.write_text("encryptionsalt: v1:abc\nconfig: {}\n", encoding="utf-8")
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_text(encoding="utf-8") == "config: {}\n"
