"""EKS's calendar, and what is pinned by version of Kubernetes."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

import contracts
from contracts import eks
from settings.kubernetes_versions import KUBERNETES_VERSIONS

ADDONS = (
    "vpc-cni",
    "coredns",
    "kube-proxy",
    "eks-pod-identity-agent",
    "aws-ebs-csi-driver",
    "aws-efs-csi-driver",
    "snapshot-controller",
)


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_all_is_known_of_each_version_that_a_stack_may_have(version):
    assert eks.versions()[version].released < eks.versions()[version].standard_until
    assert eks.karpenter_runs_on(version)
    assert set(eks.addons()) >= set(ADDONS)
    assert all(eks.addon_version(addon, version) for addon in ADDONS)
    assert eks.addon_version("kube-proxy", version).startswith(f"v{version}.")
    assert all(release.startswith(f"{version}.") for release in eks.node_releases(version))
    days = [release.rpartition("-")[2] for release in eks.node_releases(version)]
    assert days == sorted(days, reverse=True), "the newest is first"


def test_versions_that_a_stack_may_have_follow_each_other():
    assert list(KUBERNETES_VERSIONS[1:]) == [eks.newer(version) for version in KUBERNETES_VERSIONS[:-1]]


def test_karpenter_runs_on_what_its_matrix_has(monkeypatch):
    assert [eks.karpenter_runs_on(version) for version in ("1.36", "1.37")] == [True, False]
    older = contracts.chart("karpenter").version.replace("1.14", "1.9")
    monkeypatch.setattr(eks, "chart", lambda name: type("Chart", (), {"version": older}))
    assert [eks.karpenter_runs_on(version) for version in ("1.35", "1.36")] == [True, False]


@pytest.mark.parametrize(
    ("today", "support_type", "price"),
    [
        ("2026-12-01", "EXTENDED", 0.10),
        ("2026-12-02", "EXTENDED", 0.60),
        ("2026-12-02", "STANDARD", 0.10),
    ],
)
def test_a_control_plane_costs_more_from_the_day_on_which_standard_support_ends(today, support_type, price):
    assert eks.versions()["1.34"].price(day(today), support_type) == price


@pytest.mark.parametrize(
    ("today", "support_type", "notice"),
    [
        ("2026-09-02", "EXTENDED", None),
        (
            "2026-09-03",
            "EXTENDED",
            "Kubernetes 1.34 leaves EKS's standard support on 2026-12-02; then its control plane costs 0.60 USD an "
            "hour instead of 0.10",
        ),
        (
            "2026-12-01",
            "STANDARD",
            "Kubernetes 1.34 leaves EKS's standard support on 2026-12-02; then EKS upgrades the cluster to 1.35 "
            "automatically (upgradePolicy STANDARD)",
        ),
        (
            "2026-12-02",
            "EXTENDED",
            "Kubernetes 1.34 left EKS's standard support on 2026-12-02: its control plane costs 0.60 USD an hour "
            "instead of 0.10",
        ),
    ],
)
def test_90_days_before_standard_support_ends_a_version_says_so(today, support_type, notice):
    assert eks.versions()["1.34"].notice(day(today), support_type) == notice


def test_facts_that_are_old_are_named_with_where_to_look():
    newest = KUBERNETES_VERSIONS[-1]
    assert list(eks.stale(newest, day("2026-11-30"))) == []
    found = "\n".join(eks.stale(newest, eks.versions()[newest].standard_until))
    for part in ("leaves standard support", "calendar", "karpenter.sh", "addons", "amazon-eks-ami"):
        assert part in found


@pytest.mark.endurance
def test_no_fact_is_old_today():
    """Fails one night when a fact expires. Then look up what it names, and update contracts/aws/eks-versions.json."""
    assert list(eks.stale(KUBERNETES_VERSIONS[-1], eks.today())) == []


def test_a_day_that_is_none_ends_the_program_with_a_sentence(monkeypatch, capsys):
    monkeypatch.setenv("GPULAB_TODAY", "2026-11-31")
    with pytest.raises(SystemExit) as end:
        eks.today()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("GPULAB_TODAY: 2026-11-31 is not a day such as")


def test_the_documentation_has_the_days_of_the_versions_that_stacks_may_have():
    text = (Path(__file__).parents[2] / "docs" / "upgrades.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (1\.\d+) \| (\S+) \| (\S+) \|$", text, re.MULTILINE)
    known = [eks.versions()[version] for version in KUBERNETES_VERSIONS]
    assert rows == [(one.name, str(one.standard_until), str(one.extended_until)) for one in known]
