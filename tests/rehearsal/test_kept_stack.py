"""A stack that is kept after up: it stays until it is ended."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from user_command import MINUTES, rehearsal_processes, start

from rehearsal.toolchain import Toolchain

pytestmark = pytest.mark.seconds(150)


def test_a_kept_stack_stays_up_until_it_is_ended(toolchain: Toolchain) -> None:
    with start("dev", "--keep") as process:
        printed, _ = process.communicate(timeout=20 * MINUTES)
    assert process.returncode == 0, printed
    try:
        kubeconfig = next(
            line.partition("=")[2] for line in printed.splitlines() if line.strip().startswith("export KUBECONFIG=")
        )
        assert yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8"))["clusters"]
        assert rehearsal_processes("dev")
    finally:
        with start("down") as ending:
            said, _ = ending.communicate(timeout=2 * MINUTES)
    assert "ended dev-" in said
    assert rehearsal_processes("dev") == []
    assert not Path(kubeconfig).exists()
