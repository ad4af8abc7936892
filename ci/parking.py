"""A lab asleep: no nodes, its databases stopped. What it holds stays, and so does the bill of the control plane.

Pools are closed (a limit of 0 CPUs, as Karpenter's maintainers advise in karpenter-provider-aws#3539), notebooks end,
Karpenter drains its nodes away; then the system nodes go, RDS and the NAT instance stop. All of it is done in the
account and the cluster, and none of it in the state: a parked stack is woken before anything else is done with it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ci import actions
from ci.actions import StepFailed
from ci.lifecycle import stack_of
from ci.stacks import known
from components.notebook_end import NOTEBOOKS
from settings import Settings
from settings.hub import DATABASE as HUB_DATABASE
from settings.identity import DATABASE as IDENTITY_DATABASE
from settings.stack import PROJECT
from settings.team_names import namespace_of

HELD_LIMITS = "gpulab.dev/limits-before-parking"
"""The annotation of a NodePool that is closed: what its limits are when it is not."""
# Seconds. A lab's pods have ten minutes to end, and an instance some to go.
DRAINED_SECONDS = 20 * 60
_LOOK_SECONDS = 10
_POOLS, _CLAIMS = "nodepools", "nodeclaims"


class Cluster(Protocol):
    """What is asked of the Kubernetes API."""

    def list(self, plural: str) -> list[dict[str, Any]]:
        """Karpenter's objects of a kind."""
        ...

    def patch(self, plural: str, name: str, body: dict[str, Any]) -> None:
        """A merge patch of one of them."""
        ...

    def delete(self, plural: str, name: str) -> None:
        """Has one of them go, and does not wait for it."""
        ...

    def end_pods(self, namespace: str, selector: str) -> int:
        """Has pods end, with the time that each has for it; how many there were."""
        ...


@dataclass(frozen=True)
class Parking:
    """The account and the cluster of one lab."""

    stack: Settings
    session: boto3.Session
    cluster: Callable[[], Cluster]
    say: Callable[[str], None] = field(default=lambda text: print(text, flush=True))
    sleep: Callable[[float], None] = time.sleep

    def is_parked(self) -> bool:
        """Whether its system nodes are gone. A stack without a cluster is not parked."""
        return any(one["scalingConfig"]["desiredSize"] == 0 for one in self._groups())

    def park(self) -> None:
        """Puts the lab to sleep; one that sleeps already is left so. Raises StepFailed."""
        self._refuse_production()
        if not self._groups():
            raise StepFailed(f"{self.stack.stack} has no cluster {self._name} with nodes: there is nothing to park")
        if not self.is_parked():
            cluster = self.cluster()
            self._close(cluster)
            self._end_notebooks(cluster)
            self._drain(cluster)
            self._scale(0)
        for database in self._databases("available"):
            self.say(f"{database} stops; RDS starts it again by itself after seven days")
            self._client("rds").stop_db_instance(DBInstanceIdentifier=database)
        if instances := self._nat_instances("running"):
            self.say("the NAT instance stops")
            self._client("ec2").stop_instances(InstanceIds=instances)

    def wake(self) -> None:
        """Has the lab run again; one that runs is left as it is. Raises StepFailed."""
        ec2, rds = self._client("ec2"), self._client("rds")
        if instances := self._nat_instances("stopped"):
            ec2.start_instances(InstanceIds=instances)
            ec2.get_waiter("instance_running").wait(InstanceIds=instances)
        databases = self._databases("stopped")
        for database in databases:
            self.say(f"{database} starts, which takes some minutes")
            rds.start_db_instance(DBInstanceIdentifier=database)
        if self.is_parked():
            self._scale(self.stack.cluster.system_nodes.count)
        for database in databases:
            rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier=database)
        self._open(self.cluster())

    # In the cluster.

    def _close(self, cluster: Cluster) -> None:
        """Has Karpenter buy nothing more."""
        for pool in cluster.list(_POOLS):
            metadata, limits = pool["metadata"], pool["spec"].get("limits") or {}
            if HELD_LIMITS not in (metadata.get("annotations") or {}):
                body = {
                    "metadata": {"annotations": {HELD_LIMITS: json.dumps(limits)}},
                    "spec": {"limits": {"cpu": "0"}},
                }
                cluster.patch(_POOLS, metadata["name"], body)

    def _open(self, cluster: Cluster) -> None:
        for pool in cluster.list(_POOLS):
            held = (pool["metadata"].get("annotations") or {}).get(HELD_LIMITS)
            if held is not None:
                # What a merge patch has as null goes.
                limits = {"cpu": None, **json.loads(held)}
                body = {"metadata": {"annotations": {HELD_LIMITS: None}}, "spec": {"limits": limits}}
                cluster.patch(_POOLS, pool["metadata"]["name"], body)

    def _end_notebooks(self, cluster: Cluster) -> None:
        ended = sum(cluster.end_pods(namespace_of(team), NOTEBOOKS) for team in self.stack.teams)
        self.say(f"{ended} notebooks end; homes stay")

    def _drain(self, cluster: Cluster) -> None:
        """Has Karpenter take its nodes away. Raises StepFailed when some stay."""
        for _ in range(DRAINED_SECONDS // _LOOK_SECONDS):
            claims = cluster.list(_CLAIMS)
            if not claims:
                return
            for claim in claims:
                if "deletionTimestamp" not in claim["metadata"]:
                    cluster.delete(_CLAIMS, claim["metadata"]["name"])
            self.sleep(_LOOK_SECONDS)
        names = ", ".join(claim["metadata"]["name"] for claim in cluster.list(_CLAIMS))
        raise StepFailed(
            f"Karpenter's nodes are not gone after {DRAINED_SECONDS // 60} minutes: {names}. See what holds them "
            "(`kubectl describe nodeclaim`), and park again; `python -m ci.unpark` opens the pools"
        )

    # In the account.

    def _groups(self) -> list[dict[str, Any]]:
        eks = self._client("eks")
        try:
            names = [
                name
                for page in eks.get_paginator("list_nodegroups").paginate(clusterName=self._name)
                for name in page["nodegroups"]
            ]
        except eks.exceptions.ResourceNotFoundException:
            return []
        return [eks.describe_nodegroup(clusterName=self._name, nodegroupName=name)["nodegroup"] for name in names]

    def _scale(self, count: int) -> None:
        """The system nodes; EKS takes no group whose maximum is 0."""
        eks = self._client("eks")
        for group in self._groups():
            named = {"clusterName": self._name, "nodegroupName": group["nodegroupName"]}
            self.say(f"the system nodes, {group['scalingConfig']['desiredSize']} of them, become {count}")
            size = {"minSize": count, "desiredSize": count, "maxSize": count or group["scalingConfig"]["maxSize"]}
            eks.update_nodegroup_config(**named, scalingConfig=size)
            eks.get_waiter("nodegroup_active").wait(**named)

    def _databases(self, status: str) -> list[str]:
        """The stack's own on RDS that are in that state."""
        ours = {f"{self._name}-{name}" for name in (IDENTITY_DATABASE, HUB_DATABASE)}
        pages = self._client("rds").get_paginator("describe_db_instances").paginate()
        found = [one for page in pages for one in page["DBInstances"]]
        return [
            one["DBInstanceIdentifier"]
            for one in found
            if one["DBInstanceIdentifier"] in ours and one["DBInstanceStatus"] == status
        ]

    def _nat_instances(self, state: str) -> list[str]:
        wanted = {"tag:Project": PROJECT, "tag:Stack": self.stack.stack, "tag:Name": f"{self._name}-nat"}
        filters = [{"Name": key, "Values": [value]} for key, value in wanted.items()]
        pages = (
            self._client("ec2")
            .get_paginator("describe_instances")
            .paginate(Filters=[*filters, {"Name": "instance-state-name", "Values": [state]}])
        )
        return [one["InstanceId"] for page in pages for group in page["Reservations"] for one in group["Instances"]]

    @property
    def _name(self) -> str:
        return self.stack.cluster.name

    def _client(self, service: str) -> Any:
        return self.session.client(service)  # type: ignore[call-overload]

    def _refuse_production(self) -> None:
        if self.stack.lifecycle.kind != "lab":
            raise StepFailed(f"{self.stack.stack} is no lab: only labs are parked, as nobody could sign in meanwhile")


def parking(stack: str) -> Parking:
    """The lab of that name. Raises StepFailed for a stack file that is wrong."""
    from ci.parked_cluster import reached  # noqa: PLC0415 (the Kubernetes client takes a second to load)

    found = stack_of(stack)
    session = boto3.Session(region_name=found.region)
    return Parking(found, session, lambda: reached(session, found.cluster.name))


def step(
    arguments: Sequence[str] | None, act: Callable[[Parking], None], *, program: str, does: str, summary: str
) -> int:
    """Acts on the lab that the command line names, or $STACK, and returns the exit status of the workflow's step.

    `program` and `does` are for `--help`; `summary` is what is said after it, with `{stack}` for the lab's name.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=does)
    parser.add_argument("stack", metavar="STACK", nargs="?", default=os.environ.get("STACK"), help="the lab's name")
    named = parser.parse_args(arguments).stack
    if not named:
        parser.error("name the lab, or set STACK")
    try:
        stack = known(named)
        asked(lambda: act(parking(stack)))
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    actions.summary(summary.format(stack=stack))
    return 0


def is_parked(stack: str) -> bool:
    """Whether the stack is a lab that sleeps. Raises StepFailed when the account can't be asked."""
    return stack_of(stack).lifecycle.kind == "lab" and asked(parking(stack).is_parked)


def wake(stack: str) -> None:
    """Wakes the stack if it sleeps: nothing in it could be changed or taken away. Raises StepFailed."""
    if is_parked(stack):
        print(f"{stack} is parked: it is woken first", flush=True)
        asked(parking(stack).wake)


def asked(act: Callable[[], Any]) -> Any:
    """What `act` gives. Raises StepFailed with what AWS or the cluster refuses."""
    try:
        return act()
    except (BotoCoreError, ClientError) as error:
        raise StepFailed(f"the account can't be asked: {error}") from error
