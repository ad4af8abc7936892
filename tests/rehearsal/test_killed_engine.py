"""The engine is killed several times in a destroy and in an up, and the result is the same as without.

It is killed at an operation of a resource: just before the call to the cloud, or after the call, when the state does
not have the result. Then `pulumi cancel` and the same command run: `pulumi destroy --refresh` and, for an up, the
workflow's own step, `python -m ci.up`; after some of the ups, the commands of docs/destroy.md. `make test` has a few
fixed points; the nightly run has many random ones.
"""

from __future__ import annotations

import contextlib
import json
import random
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import psutil
import pytest

from rehearsal.checks.leftovers import kubernetes_objects
from rehearsal.checks.pods import until
from rehearsal.machine.engine import Result
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT
from rehearsal.phases import Options, Rehearsal
from tests.rehearsal.killing import AFTER, BEFORE, PROVIDERS, Killer, Point
from tests.rehearsal.labs import lab, name_guardrails, small_stack
from tests.rehearsal.recipes import follow, follow_well, recipes
from tests.workflows.step_bench import COMMIT, github_without_later_commits

pytestmark = pytest.mark.seconds(250)


@dataclass(frozen=True)
class Plan:
    """How often each command is killed. After the ups `by_hand` a person continues, after the others the job does.

    Without a seed the points are spread over the order in which a first up made the stack; else they are random.
    """

    kills: Mapping[str, int]
    by_hand: tuple[int, ...]
    stack_file: Path
    seed: int | None = None


# They are paid for as long as nobody knows of them; the second is made well after the first.
IN_DOUBT = ("aws:efs/fileSystem:FileSystem", "aws:rds/instance:Instance")
SIGKILLED = -9
PATIENCE = 60
# A release that was adopted may have been upgraded: its records are counted once.
RELEASE_RECORD = "Secret kube-system/sh.helm.release"


@dataclass
class Story:
    """What was seen, in the order of the fields."""

    plan: Plan
    resources: set[str] = field(default_factory=set)
    aws: Counter[str] = field(default_factory=Counter)
    kubernetes: set[str] = field(default_factory=set)
    killed: dict[str, list[Point]] = field(default_factory=lambda: {"destroy": [], "up": []})
    exit_codes: dict[str, list[int]] = field(default_factory=lambda: {"destroy": [], "up": []})
    unnoted: list[str] = field(default_factory=list)
    """What the cloud had and the state did not, after the kills of `up`."""
    left: dict[str, tuple[set[str], set[str], list[str]]] = field(default_factory=dict)
    """What was left in AWS, in Kubernetes and in the state after each destroy."""
    last: dict[str, Result] = field(default_factory=dict)
    """The last run of each command, which was not killed."""
    resources_again: set[str] = field(default_factory=set)
    pending: list[Any] = field(default_factory=list)
    aws_again: Counter[str] = field(default_factory=Counter)
    kubernetes_again: set[str] = field(default_factory=set)
    preview: Result | None = None
    in_doubt_of: tuple[str, str] = ("", "")
    in_doubt: list[tuple[set[str], set[str]]] = field(default_factory=list)
    """Which of the two was pending, and which the state had, after each kill of an up that never completed."""


def exists_outside(resource: dict[str, Any]) -> bool:
    """Whether a provider that kills makes and deletes the resource."""
    kept = resource.get("deletedWith") or resource.get("retainOnDelete")
    return resource["type"].partition(":")[0] in PROVIDERS and not kept


def chains(resources: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """By operation and resource: how many cloud resources follow one after the other, including itself."""
    known = {one["urn"]: one for one in resources}
    needs = {urn: needed_by(one) & known.keys() for urn, one in known.items()}
    needed: dict[str, set[str]] = {urn: set() for urn in known}
    for urn, others in needs.items():
        for other in others:
            needed[other].add(urn)

    def longest(following: dict[str, set[str]]) -> dict[str, int]:
        found: dict[str, int] = {}
        for urn in TopologicalSorter(following).static_order():
            found[urn] = exists_outside(known[urn]) + max((found[other] for other in following[urn]), default=0)
        return found

    return {"Delete": longest(needs), "Create": longest(needed)}


def needed_by(resource: dict[str, Any]) -> set[str]:
    """What must exist before the resource, and as long as it exists."""
    of_properties = (urn for urns in (resource.get("propertyDependencies") or {}).values() for urn in urns)
    provider = (resource.get("provider") or "").rpartition("::")[0]
    return {*(resource.get("dependencies") or ()), *of_properties, resource.get("parent", ""), provider}


class Teller:
    """Kills, repairs, and notes what was seen."""

    def __init__(self, plan: Plan, rehearsal: Rehearsal, killer: Killer, github: Path) -> None:
        self.plan = plan
        self.random = None if plan.seed is None else random.Random(plan.seed)
        self.rehearsal = rehearsal
        self.killer = killer
        self.github = github
        self.story = Story(plan)
        self.order: list[str] = []
        self.chains: dict[str, dict[str, int]] = {}

    def tell(self) -> Story:
        story, rehearsal = self.story, self.rehearsal
        first = rehearsal.engine.run("up", "--yes", "--skip-preview")
        assert first.ok, first.output
        resources = rehearsal.engine.resources()
        outside = {one["urn"] for one in resources if exists_outside(one)}
        self.chains = chains(resources)
        self.order = [step.urn for step in first.steps if step.op == "create" and step.urn in outside]
        story.resources, story.aws, story.kubernetes = self.state(), self.aws(), self.kubernetes()

        self.killed_often("destroy", "Delete", recipes()["interrupted-destroy"])
        story.left["with kills"] = self.left()
        self.killed_often("up", "Create", recipes()["interrupted-up"])
        story.resources_again, story.pending = self.state(), self.deployment().get("pending_operations", [])
        story.aws_again, story.kubernetes_again = self.aws(), self.kubernetes()
        story.preview = rehearsal.engine.run("preview")
        story.last["plain destroy"] = rehearsal.engine.run("destroy", "--yes", "--skip-preview")
        story.left["without"] = self.left()
        self.given_up()
        story.left["by the job, of what was never whole"] = self.left()
        return story

    def killed_often(self, command: str, operation: str, recipe: Sequence[str]) -> None:
        """Runs a command until it is killed, repairs the stack, and repeats this; the last run completes."""
        by_hand = command == "destroy"
        *repair, again = recipe
        for number in range(self.plan.kills[command]):
            point = Point(operation, self.next_of(command, operation, number), BEFORE if number % 3 == 2 else AFTER)
            self.killer.at(point)
            result = self.typed(again) if by_hand else self.job()
            assert self.killer.struck, (
                f"{point} was not come to after {self.story.killed[command][-1:]}:\n{result.output[-3000:]}"
            )
            self.story.killed[command].append(point)
            self.story.exit_codes[command].append(result.exit_code)
            self.end_orphans()
            if command == "up" and point.when == AFTER:
                self.note_unnoted(point)
            by_hand = command == "destroy" or number in self.plan.by_hand
            follow_well(self.rehearsal, repair if by_hand else ["pulumi cancel"])
        self.story.last[command] = self.typed(again) if by_hand else self.job()

    def given_up(self) -> None:
        """An up that is killed, again while it reads what it added to the state, and once more; then a destroy."""
        first, second = (next(urn for urn in self.order if f"{kind}::" in urn) for kind in IN_DOUBT)
        for point in (Point("Create", first, AFTER), Point("Read", first, BEFORE), Point("Create", second, AFTER)):
            self.killer.at(point)
            result = self.job()
            assert self.killer.struck, f"{point} was not come to:\n{result.output[-3000:]}"
            self.end_orphans()
            pending = {one["resource"]["urn"] for one in self.deployment().get("pending_operations", [])}
            self.story.in_doubt.append(({first, second} & pending, {first, second} & self.urns()))
            follow_well(self.rehearsal, ["pulumi cancel"])
        self.story.in_doubt_of = (first, second)
        self.story.last["destroy by the job"] = self.job("destroy")

    def typed(self, line: str) -> Result:
        """What comes of a line that a person types."""
        _, *arguments = shlex.split(line)
        return self.rehearsal.engine.run(*arguments, "--yes", "--skip-preview")

    def job(self, command: str = "up") -> Result:
        """The result of the job's step that rolls a stack out or destroys it."""
        stack = self.rehearsal.workspace.stack
        given = " ".join(f"{name}={value}" for name, value in {**COMMIT, "STACK": stack, "CONFIRM": stack}.items())
        done = follow(self.rehearsal, [f'{given} PATH="{self.github}:$PATH" python -m ci.{command}'])
        said = done.stdout + done.stderr
        killed = f"ended with exit status {SIGKILLED}" in said
        return Result(command, exit_code=SIGKILLED if killed else done.returncode, output=said)

    def next_of(self, command: str, operation: str, number: int) -> str:
        """The first resource after this part of the order that the operation has not reached yet, or a random one.

        A resource whose operation was under way may be finished by now, because of the refresh. Enough resources follow
        one after the other that each later kill finds one, however fast the rest is.
        """
        under_way = {one["resource"]["urn"] for one in self.deployment().get("pending_operations", [])}
        there = self.urns()
        order = list(reversed(self.order)) if operation == "Delete" else self.order
        kills = self.plan.kills[command]
        begin = len(order) * number // kills
        left = [urn for urn in order[begin:] + order[:begin] if (urn in there) == (operation == "Delete")]
        found = [urn for urn in left if urn not in under_way and self.chains[operation][urn] >= kills - number]
        return self.random.choice(found) if self.random else found[0]

    def end_orphans(self) -> None:
        """Providers notice that their engine is gone; a runner would end the other processes with the job."""
        until(lambda: not any(is_provider(one) for one in self.strays()), "the providers ended", seconds=PATIENCE)
        for one in self.strays():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        until(lambda: not self.strays(), "nothing runs on", seconds=PATIENCE)

    def strays(self) -> list[psutil.Process]:
        return self.rehearsal.session.processes.strays()

    def note_unnoted(self, point: Point) -> None:
        pending = {one["resource"]["urn"] for one in self.deployment().get("pending_operations", [])}
        if point.urn in pending and point.urn not in self.urns():
            self.story.unnoted.append(str(point))

    def deployment(self) -> dict[str, Any]:
        return json.loads(follow_well(self.rehearsal, ["pulumi stack export"]))["deployment"]

    def urns(self) -> set[str]:
        return {one["urn"] for one in self.rehearsal.engine.resources()}

    def state(self) -> set[str]:
        found = [one["urn"] for one in self.rehearsal.engine.resources()]
        assert len(found) == len(set(found))
        return set(found)

    def aws(self) -> Counter[str]:
        made = self.rehearsal.account.holdings() - self.rehearsal.aws_before
        return Counter(" ".join(name.split()[:2]) for name in made)

    def kubernetes(self) -> set[str]:
        """Nodes have new names each time, so only their number is compared."""
        names = sorted(kubernetes_objects(self.rehearsal.plane) - self.rehearsal.kubernetes_before)
        nodes = [name for name in names if name.startswith("Node ")]
        others = {name.rpartition(".v")[0] if ".helm.release." in name else name for name in names if name not in nodes}
        return others | {f"Node {number}" for number, _ in enumerate(nodes)}

    def left(self) -> tuple[set[str], set[str], list[str]]:
        rehearsal = self.rehearsal
        return (
            rehearsal.account.holdings() - rehearsal.aws_before,
            kubernetes_objects(rehearsal.plane) - rehearsal.kubernetes_before,
            sorted(self.urns()),
        )


def is_provider(process: psutil.Process) -> bool:
    """Whether the operation may still be under way in the cloud."""
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "killing.py" in words or "rehearsal.providers" in words


FEW, MANY = {"destroy": 2, "up": 3}, {"destroy": 10, "up": 12}


@pytest.fixture(scope="module", params=["few", pytest.param("many", marks=pytest.mark.endurance)])
def plan(request: pytest.FixtureRequest, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A few kills of a small lab; or many of dev, at points of the run's seed."""
    if request.param == "few":
        return Plan(FEW, (1,), small_stack(tmp_path_factory.mktemp("stack"), people=True))
    return Plan(MANY, (4, 9), PROJECT / "Pulumi.dev.yaml", seed)


@pytest.fixture(scope="module")
def story(plan: Plan, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    killer = Killer(tmp_path_factory.mktemp("killer") / "plugins")
    with lab(Options(stack_file=plan.stack_file, stack="dev", plugins=killer.folder)) as rehearsal:
        rehearsal.engine.saves_each_step = True
        name_guardrails(rehearsal)
        github = github_without_later_commits(tmp_path_factory.mktemp("github"))
        yield Teller(plan, rehearsal, killer, github).tell()


def test_the_engine_was_killed_in_different_places(story: Story) -> None:
    for command, kills in story.plan.kills.items():
        assert len(set(story.killed[command])) == kills
        assert story.exit_codes[command] == [SIGKILLED] * kills
        assert story.last[command].ok, story.last[command].output[-5000:]
    points = [*story.killed["destroy"], *story.killed["up"]]
    assert {point.urn.split("::")[2].rpartition("$")[2].partition(":")[0] for point in points} == set(PROVIDERS)


def test_the_state_did_not_know_what_the_cloud_had_made(story: Story) -> None:
    """Without this, a check for duplicates would prove nothing."""
    made = [point for point in story.killed["up"] if point.when == AFTER]
    assert story.unnoted == [str(point) for point in made]


def test_the_state_is_that_of_an_up_without_kills(story: Story) -> None:
    assert story.resources_again == story.resources
    assert story.pending == []


def test_nothing_is_double_in_aws(story: Story) -> None:
    assert story.aws_again == story.aws


def test_nothing_is_double_in_kubernetes(story: Story) -> None:
    assert story.kubernetes_again == story.kubernetes


def test_the_program_finds_what_it_wants(story: Story) -> None:
    assert story.preview
    assert story.preview.ok, story.preview.output[-5000:]
    assert [f"{step.op} {step.name} {step.details}" for step in story.preview.changes] == []


def test_what_was_taken_into_the_state_stays_there_when_the_next_run_is_killed_too(story: Story) -> None:
    first, second = story.in_doubt_of
    assert story.in_doubt == [({first}, set()), (set(), {first}), ({second}, {first})]


def test_the_destroy_job_takes_what_a_killed_up_made(story: Story) -> None:
    done = story.last["destroy by the job"]
    assert "an earlier run was interrupted" in done.output
    assert done.ok, done.output[-3000:]


@pytest.mark.parametrize("when", ["with kills", "without", "by the job, of what was never whole"])
def test_a_destroy_leaves_nothing(story: Story, when: str) -> None:
    assert story.left[when] == (set(), set(), [])
