"""A team that leaves the stack: the last module of this folder, as it takes the stack down."""

from __future__ import annotations

import bare_pods
import pytest
import yaml
from teams_lab import PODS, RESEARCH, VISION, create, notebook

from rehearsal.checks.pods import DO_NOT_DISRUPT
from rehearsal.controllers.world import Kubernetes, place
from rehearsal.run import Rehearsal

pytestmark = pytest.mark.seconds(100)


def test_a_team_that_leaves_takes_its_namespace_and_leaves_the_others(teams: Rehearsal, api: Kubernetes) -> None:
    """The team's objects and its role go, another team's pod stays."""
    stays = notebook("stays", VISION)
    stays["metadata"]["annotations"] = {DO_NOT_DISRUPT: "true"}
    bare_pods.run(api, place(PODS, "stays", VISION), stays, seconds=180)
    create(api, PODS, notebook("goes", RESEARCH))
    document = yaml.safe_load(teams.workspace.stack_file.read_text(encoding="utf-8"))
    del document["config"]["gpulab:teams"]["research"]
    teams.workspace.stack_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    preview = teams.engine.run("preview")
    assert preview.ok, preview.output
    assert "Team research is removed" in preview.output
    assert "Team vision is removed" not in preview.output
    assert "Its files in /teams/research of the file system are kept" in preview.output
    teams.up()
    assert api.get(f"/api/v1/namespaces/{RESEARCH}") is None
    assert api.get(place(PODS, "stays", VISION))
    roles = [one["RoleName"] for one in teams.account.client("iam").list_roles()["Roles"]]
    assert not [name for name in roles if "research" in name]
    again = teams.engine.run("preview")
    assert "leaves" not in again.output
    teams.destroy()
    teams.look_for_leftovers()
    assert teams.report.left is not None
    assert teams.report.left.as_json()["names"] == {"state": [], "aws": [], "kubernetes": [], "processes": []}
