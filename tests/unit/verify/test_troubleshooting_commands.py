"""The commands of docs/troubleshooting.md that need no cluster, and that none is of a kind that nobody tries."""

from __future__ import annotations

import re
import subprocess
import sys

import boto3
import pytest

from rehearsal.machine.workspace import PROJECT
from tests import page_commands

# Of a machine of the site's own: its time service, its journal. Nobody can run them here, so they are few.
ON_MACHINES = {"journalctl -u gpulab-mig", "date -u", "curl -v https://platform.DOMAIN"}


def test_each_command_is_of_a_kind_that_is_tried() -> None:
    untried = set(page_commands.commands()) - set(page_commands.of(*page_commands.KNOWN))
    assert not untried
    assert set(page_commands.of(*page_commands.ON_MACHINES)) == ON_MACHINES


@pytest.mark.parametrize("command", page_commands.of(*page_commands.OF_AWS))
def test_aws_knows_the_operation_and_its_options(command: str) -> None:
    _, service, operation, *options = page_commands.words(command)
    client = boto3.client(service, region_name="eu-central-1", aws_access_key_id="-", aws_secret_access_key="-")
    shape = client.meta.service_model.operation_model("".join(part.capitalize() for part in operation.split("-")))
    assert shape.input_shape
    known = {name.lower() for name in shape.input_shape.members}
    given = {one.removeprefix("--").replace("-", "") for one in options if one.startswith("--")}
    assert given <= known


@pytest.mark.parametrize("command", page_commands.of(*page_commands.IN_THE_PROJECT))
def test_the_projects_own_commands_are_there(command: str) -> None:
    first, *rest = page_commands.words(command)
    if first == "make":
        assert re.search(rf"^{rest[0]}:", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif first == "pulumi":
        assert " ".join(rest[:2]).startswith(("up", "destroy", "stack output"))
    else:
        options = {one for one in rest if one.startswith("--")}
        shown = subprocess.run(
            [sys.executable, "-m", rest[1], "--help"], cwd=PROJECT, check=True, capture_output=True, text=True
        )
        assert options <= set(re.findall(r"--[a-z-]+", shown.stdout))
