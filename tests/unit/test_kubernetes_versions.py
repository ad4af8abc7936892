"""Which versions of Kubernetes a stack file may have, by the day on which it is checked."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

import settings
from contracts import eks
from settings.__main__ import main
from settings.kubernetes_versions import KUBERNETES_VERSIONS

STACKS = Path(__file__).parents[1] / "stacks"
LAB = (STACKS / "minimal.happy.yaml").read_text(encoding="utf-8")
PRODUCTION = LAB.replace('{kind: lab, expires: "2026-06-01"}', "{kind: production}")
KEY = "gpulab:cluster.version"


def checked(folder: Path, version: str, day: str, *, stack: str = LAB, cluster: str = "") -> settings.EksSettings:
    """The settings of a lab with that version that has not expired, with more lines under `cluster`."""
    path = folder / "Pulumi.test.yaml"
    own = f'version: "{version}"' + "".join(f"\n    {line}" for line in cluster.splitlines())
    path.write_text(stack.replace('version: "1.36"', own).replace('"2026-06-01"', '"2030-06-01"'), encoding="utf-8")
    return settings.on_eks(settings.check_stack_file(path, "test", datetime.date.fromisoformat(day)))


def warned(stack: settings.EksSettings) -> dict[str, str]:
    return {one.key: one.message for one in stack.warnings}


@pytest.mark.parametrize("version", ["1.35", "1.36"])
def test_versions_in_standard_support_are_accepted_without_a_word(tmp_path, version):
    assert warned(checked(tmp_path, version, "2026-11-30")) == {}


def test_a_version_is_warned_of_from_90_days_before_its_standard_support_ends(tmp_path):
    assert warned(checked(tmp_path, "1.34", "2026-09-02")) == {}
    said = warned(checked(tmp_path, "1.34", "2026-11-30", stack=PRODUCTION))[KEY]
    assert "leaves EKS's standard support on 2026-12-02" in said
    assert "0.60 USD an hour instead of 0.10" in said
    assert "Upgrade to 1.35" in said
    assert "docs/upgrades.md" in said


def test_the_command_prints_warnings_and_holds_none_against_a_stack(tmp_path, capsys):
    checked(tmp_path, "1.34", "2026-11-30")
    assert main([str(tmp_path / "Pulumi.test.yaml"), "--today", "2026-11-30"]) == 0
    assert f"warning: {KEY}: Kubernetes 1.34 leaves" in capsys.readouterr().err


def test_the_command_takes_the_day_that_everything_takes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GPULAB_TODAY", "2031-01-01")
    checked(tmp_path, "1.36", "2026-11-30")
    assert main([str(tmp_path / "Pulumi.test.yaml")]) == 1
    assert "has passed (today is 2031-01-01)" in capsys.readouterr().err


@pytest.mark.parametrize(("version", "ended"), [("1.32", "2026-03-23"), ("1.33", "2026-07-29")])
def test_versions_that_left_standard_support_are_refused_with_the_reason(tmp_path, version, ended):
    with pytest.raises(settings.SettingsError, match=f"EKS's standard support until {ended}.* 0.60 USD an hour"):
        checked(tmp_path, version, "2026-11-30")


def test_a_lab_pays_for_no_extended_support_and_production_is_never_upgraded_by_itself(tmp_path):
    assert checked(tmp_path, "1.36", "2026-11-30").cluster.upgrade_policy == "STANDARD"
    assert checked(tmp_path, "1.36", "2026-11-30", stack=PRODUCTION).cluster.upgrade_policy == "EXTENDED"
    chosen = checked(tmp_path, "1.36", "2026-11-30", stack=PRODUCTION, cluster="upgradePolicy: STANDARD")
    assert chosen.cluster.upgrade_policy == "STANDARD"


def test_no_day_changes_the_policy_of_a_lab_whose_file_stays_as_it_is(tmp_path):
    assert checked(tmp_path, "1.34", "2026-12-01").cluster.upgrade_policy == "STANDARD"
    with pytest.raises(
        settings.SettingsError, match=r"upgradePolicy: can't be STANDARD, a lab's default, as 1\.34 left"
    ):
        checked(tmp_path, "1.34", "2026-12-02")


def test_a_lab_whose_version_is_in_extended_support_by_wish_is_told_the_price(tmp_path):
    lab = checked(tmp_path, "1.34", "2026-12-02", cluster="upgradePolicy: EXTENDED")
    assert "its control plane costs 0.60 USD an hour" in warned(lab)[KEY]


def test_a_version_without_any_support_is_refused_as_eks_upgrades_its_clusters(tmp_path):
    checked(tmp_path, "1.34", "2027-12-01", stack=PRODUCTION)
    with pytest.raises(settings.SettingsError, match="version: has had no EKS support since 2027-12-02"):
        checked(tmp_path, "1.34", "2027-12-02", stack=PRODUCTION)


def test_nobody_is_sent_to_a_version_that_stacks_may_not_have(tmp_path):
    said = warned(checked(tmp_path, KUBERNETES_VERSIONS[-1], "2027-06-01", stack=PRODUCTION))[KEY]
    assert said.endswith("A newer version needs a newer release of gpulab")


def test_system_nodes_have_the_newest_known_release_unless_the_stack_file_names_one(tmp_path):
    for version in KUBERNETES_VERSIONS:
        assert checked(tmp_path, version, "2026-11-30").cluster.node_release == eks.node_releases(version)[0]
    named = checked(tmp_path, "1.36", "2026-11-30", cluster="systemNodes: {release: 1.36.5-20261120}")
    assert named.cluster.node_release == "1.36.5-20261120"


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_committed_stacks_have_the_newest_version_so_that_their_rehearsals_try_it(stack):
    committed = settings.read_stack_file(STACKS.parents[1] / f"Pulumi.{stack}.yaml")["gpulab:cluster"]
    assert json.loads(committed)["version"] == KUBERNETES_VERSIONS[-1]
