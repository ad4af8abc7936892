"""EKS: the cluster itself."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from botocore.exceptions import ClientError

from contracts import eks
from rehearsal.aws.versions import versions
from rehearsal.providers.aws.base import AwsResource, each, known
from rehearsal.providers.aws.cloud import Cloud, is_gone
from rehearsal.providers.serving import UNKNOWN, Difference, Properties, Refused, Request

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
_AUTHENTICATION_MODES = ("API", "API_AND_CONFIG_MAP", "CONFIG_MAP")
_WAIT_SECONDS = 60
_SUBNETS_NEEDED = 2


class EksResource(AwsResource):
    """What EKS's types have in common: tags by ARN, and the updates that EKS carries out one after the other."""

    arn_property = "arn"

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        eks, arn = cloud.client("eks"), olds[self.arn_property]
        if put:
            eks.tag_resource(resourceArn=arn, tags=put)
        if drop:
            eks.untag_resource(resourceArn=arn, tagKeys=drop)


def finished(cloud: Cloud, request: Request, cluster: str, update: dict[str, Any]) -> None:
    """Waits for an update of a cluster, or of something in it. Raises Refused when EKS could not carry it out."""

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
    _not_simulated = (
        "computeConfig",
        "storageConfig",
        "outpostConfig",
        "remoteNetworkConfig",
        "kubeApiServerConfig",
        "kubeControllerManagerConfig",
        "kubeSchedulerConfig",
        "controlPlaneScalingConfig",
    )

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        version = known(inputs.get("version"))
        if version is not None and version not in versions():
            yield Refused(f"EKS offers Kubernetes {', '.join(versions())}, not {version}", "version")
        upgrade_policy = known(inputs.get("upgradePolicy")) or {}
        extended = version in versions() and not eks.versions()[version].is_standard(eks.today())
        if extended and upgrade_policy.get("supportType") == eks.STANDARD:
            why = f"extended support can't be disabled for {version}, which has entered it"
            yield Refused(why, "upgradePolicy.supportType")
        for name in self._not_simulated:
            if name in inputs:
                yield Refused(f"the rehearsal's aws provider does not carry out {name}", name)
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
                yield Refused(f"{cidr} is no valid CIDR block: {error}", where)
        subnets = known(network.get("subnetIds"))
        if subnets is not None and len(subnets) < _SUBNETS_NEEDED:
            yield Refused("subnets specified must be in at least two different AZs", "vpcConfig.subnetIds")

    def preview(self, inputs: Properties, olds: Properties | None, request: Request) -> Properties:
        """As in the base; what EKS fills in within an object is unknown, too."""
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
        """As in the base. Envelope encryption can be added in place, and never taken away."""
        found = super().difference(old_inputs, inputs, olds)
        if "encryptionConfig" in old_inputs and "encryptionConfig" not in inputs:
            return Difference(found.changes, found.replacing | {("encryptionConfig",)}, found.delete_before_replace)
        return found

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        name = self.chosen_name(inputs)
        optional = {
            "version": inputs.get("version"),
            "accessConfig": inputs.get("accessConfig"),
            "kubernetesNetworkConfig": inputs.get("kubernetesNetworkConfig"),
            "upgradePolicy": inputs.get("upgradePolicy"),
            "zonalShiftConfig": inputs.get("zonalShiftConfig"),
            "deletionProtection": inputs.get("deletionProtection"),
            "encryptionConfig": [inputs["encryptionConfig"]] if "encryptionConfig" in inputs else None,
            "logging": _logging(inputs["enabledClusterLogTypes"]) if inputs.get("enabledClusterLogTypes") else None,
        }
        cloud.client("eks").create_cluster(
            name=name,
            roleArn=inputs["roleArn"],
            resourcesVpcConfig=inputs["vpcConfig"],
            bootstrapSelfManagedAddons=inputs["bootstrapSelfManagedAddons"],
            tags=inputs.get("tagsAll") or {},
            **{key: value for key, value in optional.items() if value is not None},
        )
        return name

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        eks = cloud.client("eks")
        request.wait(
            lambda: eks.describe_cluster(name=id)["cluster"]["status"] == "ACTIVE",
            seconds=_WAIT_SECONDS,
            what=f"cluster {id} becoming ACTIVE",
        )

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        cluster = cloud.client("eks").describe_cluster(name=id)["cluster"]
        encryption = cluster.get("encryptionConfig") or []
        logging = [kind for one in cluster["logging"]["clusterLogging"] if one["enabled"] for kind in one["types"]]
        return {
            "arn": cluster["arn"],
            "name": cluster["name"],
            "roleArn": cluster["roleArn"],
            "version": cluster["version"],
            "platformVersion": cluster["platformVersion"],
            "status": cluster["status"],
            "endpoint": cluster["endpoint"],
            "certificateAuthority": cluster["certificateAuthority"],
            "createdAt": cluster["createdAt"].isoformat(),
            "clusterId": None,
            "identities": [{"oidcs": [{"issuer": cluster["identity"]["oidc"]["issuer"]}]}],
            "vpcConfig": cluster["resourcesVpcConfig"],
            "kubernetesNetworkConfig": cluster["kubernetesNetworkConfig"],
            "accessConfig": cluster["accessConfig"],
            "enabledClusterLogTypes": logging,
            "encryptionConfig": encryption[0] if encryption else None,
            "upgradePolicy": cluster.get("upgradePolicy"),
            "zonalShiftConfig": cluster.get("zonalShiftConfig"),
            "deletionProtection": cluster["deletionProtection"],
            "tags": cluster["tags"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        """One update after the other, as EKS takes them; the version first, as the real provider does."""
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

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        eks = cloud.client("eks")
        eks.delete_cluster(name=id)

        def gone() -> bool:
            try:
                eks.describe_cluster(name=id)
            except ClientError as error:
                return is_gone(error)
            return False

        request.wait(gone, seconds=_WAIT_SECONDS, what=f"the deletion of cluster {id}")


def _logging(types: list[str]) -> dict[str, Any]:
    off = [kind for kind in LOG_TYPES if kind not in types]
    setups = [{"types": types, "enabled": True}, {"types": off, "enabled": False}]
    return {"clusterLogging": [setup for setup in setups if setup["types"]]}


def _set(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value
