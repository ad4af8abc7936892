"""What can be read from a stack file with mistakes, for the steps that destroy its stack."""

from __future__ import annotations

from pathlib import Path

import pytest

import settings

STACKS = Path(__file__).parents[1] / "stacks"
LAB = (STACKS / "minimal.happy.yaml").read_text(encoding="utf-8")


def read(folder: Path, **changes: str) -> settings.EksSettings:
    """The messages about the smallest lab after `changes` replace its keys' values."""
    text = LAB
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "Pulumi.lab.yaml"
    path.write_text(text, encoding="utf-8")
    return settings.on_eks(settings.read_leniently(path, "lab"))


def test_a_file_without_mistakes_says_the_same_as_always():
    found = settings.on_eks(settings.read_leniently(STACKS / "minimal.happy.yaml", "lab"))
    assert (found.region, found.cluster.name, found.lifecycle.kind) == ("us-east-1", "gpulab-lab", "lab")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('version: "1.36"', 'version: "1.29"'),
        ('version: "1.36"', 'verson: "1.36"\n    name: ours'),
        ("gpulab:owner:", "gpulab:ownr:"),
        ("gpulab:nodePools:", "gpulab:storage: {retain: true, efs: 7}\n  gpulab:nodePools:"),
        ("gpulab:nodePools:", "gpulab:teams: {Not_A_Name: {}}\n  gpulab:nodePools:"),
        ("gpulab:nodePools:", "gpulab:teams: {research: {quota: {cpu: none}}}\n  gpulab:nodePools:"),
    ],
)
def test_mistakes_elsewhere_keep_nobody_from_ending_a_stack(tmp_path, old, new):
    found = read(tmp_path, **{old: new})
    assert found.lifecycle.expires is not None
    assert found.cluster.name == ("ours" if "ours" in new else "gpulab-lab")
    assert found.storage.retain is ("retain" in new)
    assert set(found.teams) <= {"research"}


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('version: "1.36"', 'version: "1.36"\n    name: Not_A_Name', "gpulab:cluster.name"),
        ("us-east-1\n", "us east\n", "aws:region"),
        ("kind: lab", "kind: lob", "gpulab:lifecycle.kind"),
        ("gpulab:nodePools:", "gpulab:storage: {retain: perhaps}\n  gpulab:nodePools:", "gpulab:storage.retain"),
        ("gpulab:nodePools:", "gpulab:storage: []\n  gpulab:nodePools:", "gpulab:storage"),
    ],
)
def test_what_is_wrong_itself_is_never_guessed(tmp_path, old, new, key):
    with pytest.raises(settings.SettingsError) as refusal:
        read(tmp_path, **{old: new})
    assert key in {mistake.key for mistake in refusal.value.mistakes}
