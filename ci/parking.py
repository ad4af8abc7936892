"""Parks a lab: it has no nodes, and its databases are stopped. Its data stays, and the control plane is still billed.

Pools are closed (a limit of 0 CPUs, as Karpenter's maintainers advise in karpenter-provider-aws#3539), notebooks end,
and Karpenter drains its nodes. Then the system nodes are removed, and RDS and the NAT instance stop. All this happens
in the account and the cluster, not in the state: a parked stack must be started again before anything else is done.
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
from components.gates.notebook_end import NOTEBOOKS
from settings import EksSettings, on_eks
from settings.notebooks.hub import DATABASE as HUB_DATABASE
from settings.people.identity import DATABASE as IDENTITY_DATABASE
from settings.people.names import namespace_of
from settings.stack import PROJECT

OPEN_LIMITS = "gpulab.dev/limits-before-parking"
"""The annotation of a closed NodePool with the limits that it has when it is open."""
# Seconds. A lab's pods have ten minutes to end, and an instance takes some more.
DRAINED_SECONDS = 20 * 60
_LOOK_SECONDS = 10
_POOLS, _CLAIMS = "nodepools", "nodeclaims"


class Cluster(Protocol):
    """The calls to the Kubernetes API."""

    def list(self, plural: str) -> list[dict[str, Any]]:
        """Karpenter's objects of a kind."""
        ...

    def patch(self, plural: str, name: str, body: dict[str, Any]) -> None:
        """Applies a merge patch to one of them."""
        ...

    def delete(self, plural: str, name: str) -> None:
        """Deletes one of them, and does not wait for the end."""
        ...

    def end_pods(self, namespace: str, selector: str) -> int:
        """Deletes pods with their own grace period. Returns how many there were."""
        ...


@dataclass(frozen=True)
class Parking:
    """The account and the cluster of one lab."""

    stack: EksSettings
    session: boto3.Session
    cluster: Callable[[], Cluster]
    say: Callable[[str], None] = field(default=lambda text: print(text, flush=True))
    sleep: Callable[[float], None] = time.sleep

    def is_parked(self) -> bool:
        """Whether it has no system nodes. A stack without a cluster is not parked."""
        return any(group["scalingConfig"]["desiredSize"] == 0 for group in self._groups())

    def park(self) -> None:
        """Parks the lab, unless it is parked already. Raises StepFailed."""
        self._refuse_production()
        if not self._groups():
            raise StepFailed(f"{self.stack.stack} has no cluster {self._name} with nodes, so there is nothing to park")
        if not self.is_parked():
            cluster = self.cluster()
            self._close(cluster)
            self._end_notebooks(cluster)
            self._drain(cluster)
            self._scale(0)
        for database in self._databases("available"):
            self.say(f"{database} stops. RDS starts it again after seven days")
            self._client("rds").stop_db_instance(DBInstanceIdentifier=database)
        if instances := self._nat_instances("running"):
            self.say("the NAT instance stops")
            self._client("ec2").stop_instances(InstanceIds=instances)

    def wake(self) -> None:
        """Starts the lab again, unless it runs already. Raises StepFailed."""
        ec2, rds = self._client("ec2"), self._client("rds")
        if instances := self._nat_instances("stopped"):
            ec2.start_instances(InstanceIds=instances)
            ec2.get_waiter("instance_running").wait(InstanceIds=instances)
        databases = self._databases("stopped")
        for database in databases:
            self.say(f"{database} starts; this takes some minutes")
            rds.start_db_instance(DBInstanceIdentifier=database)
        if self.is_parked():
            self._scale(self.stack.cluster.system_nodes.count)
        for database in databases:
            rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier=database)
        self._open(self.cluster())

    # In the cluster.

    def _close(self, cluster: Cluster) -> None:
        """Stops Karpenter from buying nodes."""
        for pool in cluster.list(_POOLS):
            metadata, limits = pool["metadata"], pool["spec"].get("limits") or {}
            if OPEN_LIMITS not in (metadata.get("annotations") or {}):
                body = {
                    "metadata": {"annotations": {OPEN_LIMITS: json.dumps(limits)}},
                    "spec": {"limits": {"cpu": "0"}},
                }
                cluster.patch(_POOLS, metadata["name"], body)

    def _open(self, cluster: Cluster) -> None:
        for pool in cluster.list(_POOLS):
            recorded = (pool["metadata"].get("annotations") or {}).get(OPEN_LIMITS)
            if recorded is not None:
                # A merge patch removes what is null in it.
                limits = {"cpu": None, **json.loads(recorded)}
                body = {"metadata": {"annotations": {OPEN_LIMITS: None}}, "spec": {"limits": limits}}
                cluster.patch(_POOLS, pool["metadata"]["name"], body)

    def _end_notebooks(self, cluster: Cluster) -> None:
        ended = sum(cluster.end_pods(namespace_of(team), NOTEBOOKS) for team in self.stack.teams)
        self.say(f"{ended} notebooks end; homes stay")

    def _drain(self, cluster: Cluster) -> None:
        """Deletes Karpenter's nodes. Raises StepFailed if some stay."""
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
            f"Karpenter's nodes still exist after {DRAINED_SECONDS // 60} minutes: {names}. Find out what keeps them "
            "(`kubectl describe nodeclaim`), then park again. `python -m ci.unpark` opens the pools"
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
        """Sets the number of system nodes. EKS does not accept a group whose maximum is 0."""
        eks = self._client("eks")
        for group in self._groups():
            named = {"clusterName": self._name, "nodegroupName": group["nodegroupName"]}
            self.say(f"the number of system nodes changes from {group['scalingConfig']['desiredSize']} to {count}")
            size = {"minSize": count, "desiredSize": count, "maxSize": count or group["scalingConfig"]["maxSize"]}
            eks.update_nodegroup_config(**named, scalingConfig=size)
            eks.get_waiter("nodegroup_active").wait(**named)

    def _databases(self, status: str) -> list[str]:
        """The stack's RDS databases with that status."""
        ours = {f"{self._name}-{name}" for name in (IDENTITY_DATABASE, HUB_DATABASE)}
        pages = self._client("rds").get_paginator("describe_db_instances").paginate()
        found = [database for page in pages for database in page["DBInstances"]]
        return [
            database["DBInstanceIdentifier"]
            for database in found
            if database["DBInstanceIdentifier"] in ours and database["DBInstanceStatus"] == status
        ]

    def _nat_instances(self, state: str) -> list[str]:
        wanted = {"tag:Project": PROJECT, "tag:Stack": self.stack.stack, "tag:Name": f"{self._name}-nat"}
        filters = [{"Name": key, "Values": [value]} for key, value in wanted.items()]
        pages = (
            self._client("ec2")
            .get_paginator("describe_instances")
            .paginate(Filters=[*filters, {"Name": "instance-state-name", "Values": [state]}])
        )
        return [item["InstanceId"] for page in pages for group in page["Reservations"] for item in group["Instances"]]

    @property
    def _name(self) -> str:
        return self.stack.cluster.name

    def _client(self, service: str) -> Any:
        return self.session.client(service)  # type: ignore[call-overload]

    def _refuse_production(self) -> None:
        if self.stack.lifecycle.kind != "lab":
            raise StepFailed(
                f"{self.stack.stack} is not a lab. Only labs can be parked, because nobody can use a parked stack"
            )


def parking(stack: str) -> Parking:
    """The lab with that name. Raises StepFailed if its stack file is wrong."""
    from ci.parked_cluster import reached  # noqa: PLC0415 (the Kubernetes client takes a second to load)

    found = on_eks(stack_of(stack))
    session = boto3.Session(region_name=found.region)
    return Parking(found, session, lambda: reached(session, found.cluster.name))


def step(
    arguments: Sequence[str] | None, act: Callable[[Parking], None], *, program: str, does: str, summary: str
) -> int:
    """Calls `act` with the lab on the command line, or $STACK. Returns the exit status of the workflow's step.

    `program` and `does` are for `--help`. `summary` goes to the job's summary, with `{stack}` for the lab's name.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=does)
    parser.add_argument("stack", metavar="STACK", nargs="?", default=os.environ.get("STACK"), help="the lab's name")
    named = parser.parse_args(arguments).stack
    if not named:
        parser.error("name the lab, or set STACK")
    try:
        stack = known(named)
        calling_aws(lambda: act(parking(stack)))
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    actions.summary(summary.format(stack=stack))
    return 0


def is_parked(stack: str) -> bool:
    """Whether the stack is a parked lab. Raises StepFailed if the account cannot be read."""
    return stack_of(stack).lifecycle.kind == "lab" and calling_aws(parking(stack).is_parked)


def wake(stack: str) -> None:
    """Starts the stack again if it is parked, because nothing in it can be changed before. Raises StepFailed."""
    if is_parked(stack):
        print(f"{stack} is parked, so it is started again first", flush=True)
        calling_aws(parking(stack).wake)


def calling_aws(act: Callable[[], Any]) -> Any:
    """The result of `act`. Raises StepFailed with the error of AWS or the cluster."""
    try:
        return act()
    except (BotoCoreError, ClientError) as error:
        raise StepFailed(f"cannot read or change the account: {error}") from error
