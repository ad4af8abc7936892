"""EKS: addons."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from rehearsal.providers.aws.base import known
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.aws.eks import EksResource, finished
from rehearsal.providers.serving import Properties, Refused, Request

# The real provider waits 20 minutes for an addon; here one that can become ACTIVE does so at once, or when the nodes
# that another resource makes have come.
_WAIT_SECONDS = 60


class Addon(EksResource):
    """An addon, waited for until it is ACTIVE: one that finds no node for its pods never is."""

    token = "aws:eks/addon:Addon"
    force_new = frozenset({"addonName", "clusterName", "namespaceConfig"})
    choices = {
        "resolveConflictsOnCreate": ("NONE", "OVERWRITE"),
        "resolveConflictsOnUpdate": ("NONE", "OVERWRITE", "PRESERVE"),
    }
    longest_name = None
    _settings = ("addonVersion", "configurationValues", "serviceAccountRoleArn", "podIdentityAssociations")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        text = known(inputs.get("configurationValues"))
        if text:
            try:
                values = yaml.safe_load(text)  # JSON is YAML
            except yaml.YAMLError:
                values = None
            if not isinstance(values, dict):
                yield Refused("configurationValues is no mapping in JSON or YAML", "configurationValues")
        if "namespaceConfig" in inputs:
            yield Refused("the rehearsal's aws provider does not carry out namespaceConfig", "namespaceConfig")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        resolve = inputs.get("resolveConflictsOnCreate")
        cloud.client("eks").create_addon(
            clusterName=inputs["clusterName"],
            addonName=inputs["addonName"],
            tags=inputs.get("tagsAll") or {},
            **{key: inputs[key] for key in self._settings if inputs.get(key)},
            **({"resolveConflicts": resolve} if resolve else {}),
        )
        return f"{inputs['clusterName']}:{inputs['addonName']}"

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        cluster, _, name = id.partition(":")
        issues: list[str] = []

        def active() -> bool:
            addon = cloud.client("eks").describe_addon(clusterName=cluster, addonName=name)["addon"]
            issues[:] = [f"{issue['code']}: {issue['message']}" for issue in addon["health"]["issues"]]
            return addon["status"] == "ACTIVE"

        try:
            request.wait(active, seconds=_WAIT_SECONDS, what=f"addon {name} becoming ACTIVE")
        except TimeoutError as error:
            raise TimeoutError("; ".join([str(error), *issues])) from error

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        cluster, _, name = id.partition(":")
        eks = cloud.client("eks")
        addon = eks.describe_addon(clusterName=cluster, addonName=name)["addon"]
        associations = [
            eks.describe_pod_identity_association(clusterName=cluster, associationId=arn.rpartition("/")[2])[
                "association"
            ]
            for arn in addon.get("podIdentityAssociations", [])
        ]
        return {
            "arn": addon["addonArn"],
            "clusterName": cluster,
            "addonName": name,
            "addonVersion": addon["addonVersion"],
            "configurationValues": self._values(addon.get("configurationValues", ""), olds),
            "serviceAccountRoleArn": addon.get("serviceAccountRoleArn"),
            "podIdentityAssociations": [
                {"roleArn": one["roleArn"], "serviceAccount": one["serviceAccount"]} for one in associations
            ],
            "createdAt": addon["createdAt"].isoformat(),
            "modifiedAt": addon["modifiedAt"].isoformat(),
            "tags": addon["tags"],
        }

    @staticmethod
    def _values(text: str, olds: Properties) -> str:
        """The configuration in the text that the program gave, where that says the same."""
        given = olds.get("configurationValues") or ""
        return given if yaml.safe_load(given or "null") == yaml.safe_load(text or "null") else text

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        if not changed & set(self._settings):
            return
        cluster, _, name = id.partition(":")
        # An update that leaves a setting out resets it, so every one is given, and only a changed version.
        settings = {key: inputs[key] for key in self._settings if key != "addonVersion" and inputs.get(key)}
        if "configurationValues" in changed and not inputs.get("configurationValues"):
            settings["configurationValues"] = json.dumps({})
        if "podIdentityAssociations" in changed and not inputs.get("podIdentityAssociations"):
            settings["podIdentityAssociations"] = []
        if "addonVersion" in changed and inputs.get("addonVersion"):
            settings["addonVersion"] = inputs["addonVersion"]
        if inputs.get("resolveConflictsOnUpdate"):
            settings["resolveConflicts"] = inputs["resolveConflictsOnUpdate"]
        update = cloud.client("eks").update_addon(clusterName=cluster, addonName=name, **settings)["update"]
        finished(cloud, request, cluster, update)
        self.complete(cloud, id, inputs, request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cluster, _, name = id.partition(":")
        eks = cloud.client("eks")
        eks.delete_addon(clusterName=cluster, addonName=name, preserve=bool(olds.get("preserve")))
        request.wait(
            lambda: name not in eks.list_addons(clusterName=cluster)["addons"],
            seconds=_WAIT_SECONDS,
            what=f"the deletion of addon {name}",
        )
