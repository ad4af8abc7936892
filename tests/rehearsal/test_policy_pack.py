"""The policy pack on the real engine: what it refuses, what it accepts, and how a preview reports it."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from policies.pack import POLICIES
from rehearsal.machine import workspace
from rehearsal.machine.engine import Engine, Result
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT
from rehearsal.phases import REHEARSAL_DAY
from reports.report_source import text_of
from reports.timeline import read, timeline

pytestmark = pytest.mark.seconds(100)

PLATFORMS = PROJECT / "tests" / "policies"
MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="module")
def permissive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Plugins that accept everything, in place of clouds."""
    folder = tmp_path_factory.mktemp("plugins")
    for name in ("aws", "kubernetes"):
        plugin = folder / f"pulumi-resource-{name}"
        run = f"PYTHONPATH={shlex.quote(str(PROJECT))} exec {shlex.quote(sys.executable)} -m tests.policies.permissive"
        plugin.write_text(f"#!/bin/sh\n{run} {name}\n", encoding="utf-8")
        plugin.chmod(0o755)
    return {"aws": folder, "kubernetes": folder}


@pytest.fixture
def engine_on(toolchain: Toolchain, permissive: dict[str, Path], tmp_path: Path) -> MakeEngine:
    """Makes the engine of a program and one of its stacks; there is no AWS and no cluster."""

    def make(project: Path, stack: str) -> Engine:
        made = workspace.make(
            tmp_path / "rehearsal",
            project / f"Pulumi.{stack}.yaml",
            project=project,
            stack=stack,
            toolchain=toolchain,
            plugins=permissive,
            aws_url="http://127.0.0.1:9",
            today=REHEARSAL_DAY,
        )
        if stack == "prod":  # there is no public DNS either
            made.change_config("gpulab:ingress", checkDelegation=False)
        (tmp_path / "logs").mkdir()
        engine = Engine(made, f"tests-{tmp_path.name}", tmp_path / "logs")
        engine.initialise()
        return engine

    return make


def test_the_bad_platform_makes_every_policy_fire(engine_on: MakeEngine) -> None:
    bad = PLATFORMS / "bad_platform"
    result = engine_on(bad, "bad").run("preview", f"--policy-pack-config={bad / 'policies.json'}")
    assert not result.ok
    refused = {violation.policy for violation in result.violations if violation.mandatory}
    assert refused == {policy.name for policy in POLICIES}, result.output[-2000:]
    remedies = {policy.name: policy.remediation_steps for policy in POLICIES}
    for violation in result.violations:
        if not violation.undecided and "not decided: " not in violation.message:
            assert str(remedies[violation.policy]) in violation.message


def test_the_good_platform_passes(engine_on: MakeEngine) -> None:
    result = engine_on(PLATFORMS / "good_platform", "good").run("preview")
    assert result.ok, result.output[-2000:]
    assert [str(violation) for violation in result.violations if not violation.undecided] == []
    # A password that is yet to be made is neither passed nor refused.
    waiting = [violation for violation in result.violations if violation.undecided]
    assert {violation.policy for violation in waiting} >= {"literal-secret", "default-password"}
    assert not any(violation.mandatory for violation in waiting)


def test_the_engine_writes_no_log_into_the_home_that_is_thrown_away(engine_on: MakeEngine) -> None:
    """It would need a fifth of the time; see `rehearsal.machine.workspace`."""
    engine = engine_on(PLATFORMS / "good_platform", "good")
    assert engine.run("preview").ok
    logs = Path(engine.workspace.environment["PULUMI_HOME"]) / "logs"
    assert logs.is_file()
    assert logs.read_bytes() == b""


def test_a_lab_is_only_told(engine_on: MakeEngine, tmp_path: Path) -> None:
    project = tmp_path / "lab"
    shutil.copytree(PLATFORMS / "bad_platform", project)
    program = project / "__main__.py"
    text = program.read_text(encoding="utf-8").replace('"Lifecycle": "production"', '"Lifecycle": "lab"')
    program.write_text(text.replace('"Expires": "2020-01-31"', '"Expires": "2099-12-31"'), encoding="utf-8")
    result = engine_on(project, "bad").run("preview")
    refused = {violation.policy for violation in result.violations if violation.mandatory}
    # The provider of that lab has no date of expiry, which only labs need.
    assert refused == {"lab-expiry"}
    assert {violation.policy for violation in result.violations} >= {"literal-secret", "gpu-pool-taint"}
    assert "stateful-unprotected" not in {violation.policy for violation in result.violations}


# What is changed in the program: the text in one of its components, what comes in its place, and who must refuse it.
MUTATIONS = {
    "a taint that only asks": (
        "return taint.model_dump(exclude_none=True)",
        'return {**taint.model_dump(exclude_none=True), "effect": "PreferNoSchedule"}',
        "gpu-pool-taint-effect",
    ),
    "no GPU taint": ("for taint in pool.node_taints]", "for taint in pool.taints]", "gpu-pool-taint"),
    "no limits": ('        "limits": pool.together,\n', "", "node-pool-limits"),
    "no limit of GPUs": (
        '"limits": pool.together',
        '"limits": {key: value for key, value in pool.together.items() if "/" not in key}',
        "gpu-pool-gpu-limit",
    ),
    "no grace period": (
        '        "terminationGracePeriod": pool.termination_grace_period,\n',
        "",
        "node-pool-termination-grace-period",
    ),
    "nodes of a day": ('"expireAfter": pool.expire_after', '"expireAfter": "24h"', "notebook-pool-expiry"),
    "pods are moved": (
        '"consolidationPolicy": pool.consolidation.policy',
        '"consolidationPolicy": "WhenEmptyOrUnderutilized"',
        "notebook-pool-consolidation",
    ),
    "drift at any time": ('"budgets": disruption_budgets(pool)', '"budgets": []', "notebook-pool-drift-budget"),
    "IMDSv1": ('"httpTokens": "required"', '"httpTokens": "optional"', "instance-metadata-v1"),
    "two hops": ('"httpPutResponseHopLimit": 1', '"httpPutResponseHopLimit": 2', "instance-metadata-hop-limit"),
    "plain volumes": ('"encrypted": True', '"encrypted": False', "ebs-encryption"),
    "a large volume": ('"volumeSize": f"{size}Gi"', '"volumeSize": "4000Gi"', "root-volume-size"),
    "the newest image": ('{"alias": pool.ami.alias}', '{"alias": "al2023@latest"}', "unpinned-node-image"),
    "spot alone": ('"In", *pool.capacity_types', '"In", "spot"', "notebooks-on-spot-alone"),
    "one log": ('LOG_TYPES = ["api", ', "LOG_TYPES = [", "cluster-logs"),
    "a public API": (
        "public_access_cidrs=list(settings.endpoint.public_cidrs) or None",
        'public_access_cidrs=["0.0.0.0/0"]',
        "cluster-endpoint-open",
    ),
    "no private API": ("endpoint_private_access=True", "endpoint_private_access=False", "cluster-endpoint-private"),
    "plain secrets": ("            encryption_config_key_arn=key.arn,\n", "", "cluster-secrets-encryption"),
    "a plain queue": ("sqs_managed_sse_enabled=True", "sqs_managed_sse_enabled=False", "sqs-encryption"),
    "an old key": ("enable_key_rotation=True", "enable_key_rotation=False", "key-without-rotation"),
    "an unprotected key": ("protect=args.protect", "protect=False", "stateful-unprotected"),
    "an administrator's node": (
        '    "AmazonSSMManagedInstanceCore",\n',
        '    "AdministratorAccess",\n',
        "iam-administrator-policy",
    ),
    "any chart": ('"version": pinned.version', '"version": ">0"', "unpinned-chart"),
    "any addon": ('addon_version=addon_version("eks-pod-identity-agent")', "addon_version=None", "unpinned-addon"),
    "nobody's": (
        'default_tags={"tags": settings.resource_tags}',
        'default_tags={"tags": {"Name": "x"}}',
        "owner-and-cost-tags",
    ),
    "a writable root": ('"readOnlyRootFilesystem": True', '"readOnlyRootFilesystem": False', "workload-writable-root"),
    "any system call": ('"seccompProfile": {"type": "RuntimeDefault"},\n', "", "workload-seccomp"),
    "endless memory": ('"limits": {"memory": "512Mi"}', '"limits": {}', "workload-resources"),
    "a secret in the environment": (
        '"env": [{"name": key, "value": value} for key, value in settings.items()],\n',
        '"envFrom": [{"secretRef": {"name": name}}],\n',
        "secret-in-environment",
    ),
    "open system nodes": ("        taints=[{", "        taints=[] and [{", "system-node-group-taint"),
}


# What hides another: without a taint it asks for nothing, without limits none is in GPUs, without tags nothing is known
# to be production.
APART = ("no GPU taint", "no limits", "nobody's")
TOGETHER = [name for name in MUTATIONS if name not in APART]


def changed_program(folder: Path, mutations: Sequence[str]) -> Path:
    """The program, for prod, with some mistakes in its components."""
    folder.mkdir()
    for name in ("__main__.py", "settings", "contracts", "Pulumi.yaml", "Pulumi.prod.yaml"):
        (folder / name).symlink_to(PROJECT / name)
    shutil.copytree(PROJECT / "components", folder / "components")
    for name in mutations:
        before, after, _ = MUTATIONS[name]
        mutate(folder / "components", before, after)
    return folder


def assert_refused(result: Result, mutations: Sequence[str]) -> None:
    """The preview fails; the policy of each mistake names the resource and says what to do."""
    assert not result.ok
    refusals = [violation for violation in result.violations if violation.mandatory]
    for policy in {MUTATIONS[name][2] for name in mutations}:
        mine = [violation for violation in refusals if violation.policy == policy]
        assert mine, [policy, *map(str, refusals), *result.errors]
        remedy = next(one.remediation_steps for one in POLICIES if one.name == policy)
        for violation in mine:
            assert violation.resource
            assert remedy
            assert remedy in violation.message
        # And it is shown to the user.
        assert policy in result.output


@pytest.mark.parametrize("mutations", [TOGETHER, [APART[0], APART[1]], [APART[2]]], ids=["many", "two", "tags"])
def test_mistakes_in_the_program_are_all_refused(
    engine_on: MakeEngine, tmp_path: Path, mutations: Sequence[str]
) -> None:
    assert_refused(engine_on(changed_program(tmp_path / "program", mutations), "prod").run("preview"), mutations)


@pytest.mark.endurance
@pytest.mark.parametrize("mutation", TOGETHER)
def test_each_mistake_alone_fails_the_preview(engine_on: MakeEngine, tmp_path: Path, mutation: str) -> None:
    assert_refused(engine_on(changed_program(tmp_path / "program", [mutation]), "prod").run("preview"), [mutation])


def mutate(folder: Path, before: str, after: str) -> None:
    """Replaces a text in each module that has it; there must be at least one."""
    changed = [path for path in folder.rglob("*.py") if before in path.read_text(encoding="utf-8")]
    assert changed, f"no component has {before!r}"
    for path in changed:
        path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")


def test_prod_itself_passes(engine_on: MakeEngine, tmp_path: Path) -> None:
    """The timeline of the plan that the engine saves is the one in docs."""
    plan = tmp_path / "prod.plan"
    result = engine_on(PROJECT, "prod").run("preview", f"--save-plan={plan}")
    assert result.ok, result.causes
    assert [str(violation) for violation in result.violations if not violation.undecided] == []
    line = timeline(read(text_of(str(plan), "prod"), "prod"))
    assert line.unknown == ()
    path = [task.resource.type for task in line.critical_path]
    assert path.index("aws:ec2/vpc:Vpc") < path.index("aws:eks/identityProviderConfig:IdentityProviderConfig")
    (row,) = [row for row in (PROJECT / "docs/timeline.md").read_text().splitlines() if row.startswith("| prod |")]
    assert line.seconds / 60 == pytest.approx(float(row.split("|")[3]), abs=0.5)


def test_without_its_configuration_an_unlocking_is_refused(engine_on: MakeEngine) -> None:
    engine = engine_on(PROJECT, "prod")
    engine.workspace.change_config("gpulab:lifecycle", unlock=True)
    refused = engine.run("preview")
    assert {violation.policy for violation in refused.violations if violation.mandatory} == {"stateful-unprotected"}
    assert engine.run("preview", f"--policy-pack-config={workspace.UNLOCK_CONFIG}").ok
    assert json.loads(workspace.UNLOCK_CONFIG.read_text(encoding="utf-8"))
