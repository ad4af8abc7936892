"""EKS: clusters."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from contracts import eks
from rehearsal.cloud.versions import versions
from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import each, known
from rehearsal.providers.protocol.model import UNKNOWN, Difference, Properties, Refused, Request

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
_AUTHENTICATION_MODES = ("API", "API_AND_CONFIG_MAP", "CONFIG_MAP")
_WAIT_SECONDS = 60
_SUBNETS_NEEDED = 2


class EksResource(DescribedResource):
    """The types of EKS. They are tagged by ARN."""

    service = "eks"
    tag_call = Call("tag_resource", resourceArn="{arn || accessEntryArn || associationArn}", tags="{tags}")
    untag_call = Call("untag_resource", resourceArn="{arn || accessEntryArn || associationArn}", tagKeys="{tagKeys}")


def finished(cloud: Cloud, request: Request, cluster: str, update: dict[str, Any]) -> None:
    """Waits for an update of a cluster, or of an object in it. Raises Refused if the update fails."""

    def done() -> bool:
        found = cloud.client("eks").describe_update(name=cluster, updateId=update["id"])["update"]
        if found["status"] in ("Failed", "Cancelled"):
            raise Refused(f"the update of {cluster} ended as {found['status']}: {found['errors']}")
        return found["status"] == "Successful"

    request.wait(done, seconds=_WAIT_SECONDS, what=f"update {update['type']} of {cluster}")


class Cluster(EksResource):
    """A control plane."""

    token = "aws:eks/cluster:Cluster"
    force_new = frozenset(
        {
            "name",
            "roleArn",
            "bootstrapSelfManagedAddons",
            "outpostConfig",
            "accessConfig.bootstrapClusterCreatorAdminPermissions",
            "encryptionConfig.provider",
            "kubernetesNetworkConfig.ipFamily",
            "kubernetesNetworkConfig.serviceIpv4Cidr",
            "vpcConfig.vpcId",
        }
    )
    defaults = {"bootstrapSelfManagedAddons": True}
    choices = {
        "enabledClusterLogTypes[]": LOG_TYPES,
        "accessConfig.authenticationMode": _AUTHENTICATION_MODES,
        "upgradePolicy.supportType": ("STANDARD", "EXTENDED"),
        "encryptionConfig.resources[]": ("secrets",),
        "kubernetesNetworkConfig.ipFamily": ("ipv4", "ipv6"),
    }
    longest_name = 100
    name_pattern = r"[0-9A-Za-z][A-Za-z0-9_-]*"
    unmodelled = frozenset(
        {
            "computeConfig", "storageConfig", "outpostConfig", "remoteNetworkConfig", "kubeApiServerConfig",
            "kubeControllerManagerConfig", "kubeSchedulerConfig", "controlPlaneScalingConfig",
        }
    )  # fmt: skip
    id_form = "{name}"
    api_names = {"vpcConfig": "resourcesVpcConfig"}
    create_call = Call(
        "create_cluster",
        "name roleArn vpcConfig bootstrapSelfManagedAddons tags version accessConfig kubernetesNetworkConfig"
        " upgradePolicy zonalShiftConfig deletionProtection encryptionConfig logging",
    )
    read_call, found = Call("describe_cluster", "name"), "cluster"
    outputs = fields(
        "arn name roleArn version platformVersion status endpoint certificateAuthority createdAt vpcConfig"
        " kubernetesNetworkConfig accessConfig encryptionConfig upgradePolicy zonalShiftConfig deletionProtection tags",
        clusterId="clusterId",
        enabledClusterLogTypes="logging.clusterLogging[?enabled].types[]",
        identities="[identity.{oidcs: [oidc.{issuer: issuer}]}]",
    )
    ready, waits_until_gone, wait_seconds = "status=='ACTIVE'", True, _WAIT_SECONDS
    delete_call = Call("delete_cluster", "name")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        version = known(inputs.get("version"))
        if version is not None and version not in versions():
            yield Refused(f"EKS offers Kubernetes {', '.join(versions())}, not {version}", "version")
        upgrade_policy = known(inputs.get("upgradePolicy")) or {}
        extended = version in versions() and not eks.versions()[version].is_standard(eks.today())
        if extended and upgrade_policy.get("supportType") == eks.STANDARD:
            why = f"extended support can't be disabled for {version}, which has entered it"
            yield Refused(why, "upgradePolicy.supportType")
        network = known(inputs.get("vpcConfig")) or {}
        public, private = network.get("endpointPublicAccess", True), network.get("endpointPrivateAccess", False)
        if public is False and private is False:
            yield Refused(
                "private and public endpoint access cannot both be disabled", "vpcConfig.endpointPublicAccess"
            )
        for where, cidr in each(inputs, "vpcConfig.publicAccessCidrs[]"):
            try:
                ip_network(cidr)
            except ValueError as error:
                yield Refused(f"{cidr} is not a valid CIDR block: {error}", where)
        subnets = known(network.get("subnetIds"))
        if subnets is not None and len(subnets) < _SUBNETS_NEEDED:
            yield Refused("subnets specified must be in at least two different AZs", "vpcConfig.subnetIds")

    def preview(self, inputs: Properties, olds: Properties | None, request: Request) -> Properties:
        """As in the base. Also unknown is what EKS fills in inside an object."""
        outputs = super().preview(inputs, olds, request)
        if olds is None:
            unknown = dict.fromkeys(("clusterSecurityGroupId", "vpcId"), UNKNOWN)
            if isinstance(inputs["vpcConfig"], dict):
                outputs["vpcConfig"] = {**unknown, **inputs["vpcConfig"]}
            for name in ("kubernetesNetworkConfig", "accessConfig"):
                outputs.setdefault(name, UNKNOWN)
        elif isinstance(inputs["vpcConfig"], dict):
            outputs["vpcConfig"] = {**(olds.get("vpcConfig") or {}), **inputs["vpcConfig"]}
        return outputs

    def difference(self, old_inputs: Properties, inputs: Properties, olds: Properties) -> Difference:
        """As in the base. Envelope encryption can be added in place, but never removed."""
        found = super().difference(old_inputs, inputs, olds)
        if "encryptionConfig" in old_inputs and "encryptionConfig" not in inputs:
            return Difference(found.changes, found.replacing | {("encryptionConfig",)}, found.delete_before_replace)
        return found

    def given(self, inputs: Properties) -> Properties:
        types = inputs.get("enabledClusterLogTypes")
        return {**super().given(inputs), "logging": _logging(types) if types else None}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        """One update after the other, as EKS requires. The version is first, as in the real provider."""
        eks = cloud.client("eks")
        if "version" in changed and inputs.get("version"):
            finished(cloud, request, id, eks.update_cluster_version(name=id, version=inputs["version"])["update"])
        if "encryptionConfig" in changed:
            configs = [inputs["encryptionConfig"]]
            update = eks.associate_encryption_config(clusterName=id, encryptionConfig=configs)["update"]
            finished(cloud, request, id, update)
        for config in self._config_changes(inputs, olds, changed):
            finished(cloud, request, id, eks.update_cluster_config(name=id, **config)["update"])

    @staticmethod
    def _config_changes(inputs: Properties, olds: Properties, changed: set[str]) -> Iterator[dict[str, Any]]:
        if "accessConfig" in changed:
            yield {"accessConfig": {"authenticationMode": inputs["accessConfig"]["authenticationMode"]}}
        if "enabledClusterLogTypes" in changed:
            yield {"logging": _logging(inputs.get("enabledClusterLogTypes") or [])}
        for name in ("upgradePolicy", "zonalShiftConfig", "deletionProtection"):
            if name in changed and name in inputs:
                yield {name: inputs[name]}
            elif name in changed and name == "deletionProtection":
                yield {name: False}
        if "vpcConfig" in changed:
            before, after = olds.get("vpcConfig") or {}, inputs["vpcConfig"]
            for kinds in (
                ("endpointPublicAccess", "endpointPrivateAccess", "publicAccessCidrs"),
                ("subnetIds", "securityGroupIds"),
            ):
                wanted = {kind: after[kind] for kind in kinds if kind in after}
                if any(_set(before.get(kind)) != _set(value) for kind, value in wanted.items()):
                    yield {"resourcesVpcConfig": wanted}


def _logging(types: list[str]) -> dict[str, Any]:
    off = [kind for kind in LOG_TYPES if kind not in types]
    setups = [{"types": types, "enabled": True}, {"types": off, "enabled": False}]
    return {"clusterLogging": [setup for setup in setups if setup["types"]]}


def _set(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value
