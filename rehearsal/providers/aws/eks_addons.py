"""EKS: addons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.eks import EksResource, finished
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request

# The real provider waits 20 minutes. Here an addon is ACTIVE at once, or as soon as another resource has made the
# nodes.
_WAIT_SECONDS = 60
_ASSOCIATIONS = "podIdentityAssociations"
_SETTINGS = ("addonVersion", "configurationValues", "serviceAccountRoleArn", _ASSOCIATIONS)


class Addon(EksResource):
    """An addon. Its creation waits until it is ACTIVE, which needs a node for its pods."""

    token = "aws:eks/addon:Addon"
    force_new = frozenset({"addonName", "clusterName", "namespaceConfig"})
    choices = {
        "resolveConflictsOnCreate": ("NONE", "OVERWRITE"),
        "resolveConflictsOnUpdate": ("NONE", "OVERWRITE", "PRESERVE"),
    }
    unmodelled = frozenset({"namespaceConfig"})
    id_form = "{clusterName}:{addonName}"
    api_names = {"arn": "addonArn"}
    create_call = Call("create_addon", "clusterName addonName tags resolveConflicts " + " ".join(_SETTINGS))
    read_call, found = Call("describe_addon", "clusterName addonName"), "addon"
    outputs = fields("arn addonVersion serviceAccountRoleArn createdAt modifiedAt tags")
    delete_call = Call("delete_addon", "clusterName addonName", preserve="{preserve || `false`}")
    waits_until_gone, wait_seconds = True, _WAIT_SECONDS

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        text = known(inputs.get("configurationValues"))
        if text:
            try:
                values = yaml.safe_load(text)  # JSON is YAML
            except yaml.YAMLError:
                values = None
            if not isinstance(values, dict):
                yield Refused("configurationValues must be a mapping in JSON or YAML", "configurationValues")

    def given(self, inputs: Properties) -> Properties:
        settings = {name: inputs.get(name) or None for name in _SETTINGS}
        return {**super().given(inputs), **settings, "resolveConflicts": inputs.get("resolveConflictsOnCreate")}

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

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        associations = [self._association(cloud, known["clusterName"], arn) for arn in found.get(_ASSOCIATIONS, [])]
        return {
            "configurationValues": self._values(found.get("configurationValues", ""), known),
            _ASSOCIATIONS: self.output(_ASSOCIATIONS, "@", associations),
        }

    @staticmethod
    def _association(cloud: Cloud, cluster: str, arn: str) -> Any:
        answer = cloud.client("eks").describe_pod_identity_association(
            clusterName=cluster, associationId=arn.rpartition("/")[2]
        )
        return answer["association"]

    @staticmethod
    def _values(text: str, olds: Properties) -> str:
        """The configuration, as the text of the program if that has the same meaning."""
        given = olds.get("configurationValues") or ""
        return given if yaml.safe_load(given or "null") == yaml.safe_load(text or "null") else text

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        if not changed & set(_SETTINGS):
            return
        cluster, _, name = id.partition(":")
        # An update resets a setting that it leaves out, so it has all settings, but the version only if that changes.
        settings = {key: inputs[key] for key in _SETTINGS if key != "addonVersion" and inputs.get(key)}
        if "configurationValues" in changed and not inputs.get("configurationValues"):
            settings["configurationValues"] = json.dumps({})
        if _ASSOCIATIONS in changed and not inputs.get(_ASSOCIATIONS):
            settings[_ASSOCIATIONS] = []
        if "addonVersion" in changed and inputs.get("addonVersion"):
            settings["addonVersion"] = inputs["addonVersion"]
        if inputs.get("resolveConflictsOnUpdate"):
            settings["resolveConflicts"] = inputs["resolveConflictsOnUpdate"]
        update = cloud.client("eks").update_addon(clusterName=cluster, addonName=name, **settings)["update"]
        finished(cloud, request, cluster, update)
        self.complete(cloud, id, inputs, request)
