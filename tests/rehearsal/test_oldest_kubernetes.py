"""The oldest version of Kubernetes that a stack may have. dev and prod are of the newest."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from labs import small_stack
from rich.console import Console

from rehearsal.phases import Options
from rehearsal.run import rehearse
from settings.kubernetes_versions import KUBERNETES_VERSIONS


# Where its control plane is in no cache it is built, which takes longer than the rehearsal.
@pytest.mark.endurance
@pytest.mark.seconds(400)
def test_a_stack_of_the_oldest_version_goes_up_and_down(tmp_path: Path) -> None:
    stack_file = small_stack(tmp_path)
    document = yaml.safe_load(stack_file.read_text(encoding="utf-8"))
    document["config"]["gpulab:cluster"]["version"] = KUBERNETES_VERSIONS[0]
    stack_file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    report = rehearse(Options(stack_file=stack_file, stack="dev"), Console(quiet=True))
    assert report.ok, report.as_json()
    (version,) = (check for check in report.checks if check.name == "Kubernetes is the stack's own")
    assert version.detail.startswith(f"v{KUBERNETES_VERSIONS[0]}.")
