"""`gpulab:cluster`: the EKS cluster, who may use it, and from where its API can be reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt

from contracts import eks, instance_types
from settings.admitted_ranges import is_private, open_to, range_of
from settings.kubernetes_versions import KUBERNETES_VERSIONS, policy_findings, version_findings
from settings.language.section import Facts, Findings, Section, nearest, rule
from settings.language.values import DISTINCT, Check, RetentionDays, at_least_one, whole, without_default

LONGEST_ROLE_SUFFIX = "-karpenter-controller"
"""What the longest name of an IAM role adds to the cluster's."""

_ROLE_NAME_LIMIT = 64  # IAM and AWS STS quotas: "Role names"
_PULUMI_SUFFIX = 8  # a hyphen and seven random characters
NAME_LIMIT = _ROLE_NAME_LIMIT - _PULUMI_SUFFIX - len(LONGEST_ROLE_SUFFIX)
"""The longest name of a cluster: its IAM roles' names, with Pulumi's suffix, must fit."""

# The pods of the system nodes need at least this much: Karpenter alone asks for 1 vCPU and 1 GiB.
_SYSTEM_VCPU, _SYSTEM_MEMORY_MIB = 2, 4096

_PRINCIPAL = re.compile(r"arn:aws(-[a-z]+)*:iam::[0-9]{12}:(role|user)/([!-~]+/)?[A-Za-z0-9_+=,.@-]{1,64}")
_ASSUMED_ROLE = re.compile(r"arn:aws[a-z-]*:sts::\d{12}:assumed-role/([^/]+)/.+")
# Roles that IAM Identity Center makes. Access entries take a role's ARN with its path, unlike the ConfigMap aws-auth,
# and EKS refuses an ARN without it as "invalid principal" ("Create access entries", EKS user guide; "Referencing
# permission sets in resource policies", IAM Identity Center user guide).
_SSO_ROLE = "AWSReservedSSO_"
_SSO_PATH = "/aws-reserved/sso.amazonaws.com/"
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}

# All of one size, so that the pods fit on each. Spot is interrupted less often when EC2 can choose among several types.
_THRIFTY_TYPES = ("t4g.large", "m6g.large", "m7g.large")

_PUBLIC_CIDRS_LIMIT = 40
# A security group has 60 rules (Amazon VPC quotas); EKS, the load balancer and controllers need some of them too.
_PRIVATE_CIDRS_LIMIT = 30


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", text):
        raise ValueError(
            "must be lower-case letters, digits and hyphens, and must begin with a letter and not end with a hyphen"
        )
    if len(text) > NAME_LIMIT:
        role = f"{text}{LONGEST_ROLE_SUFFIX}"
        raise ValueError(
            f"is too long: {len(text)} characters, {NAME_LIMIT} at most, as the IAM role {role} and Pulumi's "
            f"{_PULUMI_SUFFIX} characters must fit into {_ROLE_NAME_LIMIT}"
        )
    return text


def _release(text: str) -> str:
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+-20[0-9]{6}", text):
        example = eks.node_releases(KUBERNETES_VERSIONS[-1])[0]
        raise ValueError(f"must be a release of EKS's image, a version of Kubernetes and a day, such as {example}")
    return text


def _finding_role(name: str) -> str:
    """The command that prints a role's ARN with its path."""
    if not name.startswith(_SSO_ROLE):
        return f"`aws iam get-role --role-name {name} --query Role.Arn --output text`"
    query = f"Roles[?RoleName=='{name}'].Arn"
    return f'`aws iam list-roles --path-prefix {_SSO_PATH} --query "{query}" --output text`'


def _principal(arn: str) -> str:
    session = _ASSUMED_ROLE.fullmatch(arn)
    if session:
        # A session's ARN has no path, so the role's can't be derived from it.
        raise ValueError(f"is a session: write the role's own ARN, which {_finding_role(session[1])} prints")
    name = arn.rpartition("/")[2]
    if ":role/" in arn and name.startswith(_SSO_ROLE) and f":role{_SSO_PATH}" not in arn:
        raise ValueError(
            f"lacks the path of a role of IAM Identity Center, {_SSO_PATH} and in most regions the region's name: "
            f"write the ARN that {_finding_role(name)} prints"
        )
    if arn.endswith(":root"):
        raise ValueError("is the account's root user: name IAM roles or users")
    if ":role/aws-service-role/" in arn:
        raise ValueError("is a service-linked role, which EKS gives no access: name a role of your own")
    if not _PRINCIPAL.fullmatch(arn):
        example = "arn:aws:iam::123456789012:role/platform-admin"
        raise ValueError(f"must be the ARN of an IAM role or user, such as {example}")
    return arn


Principal = Annotated[str, Check(_principal)]


def _private_cidr(text: str) -> str:
    network = range_of(text, "10.0.0.0/8")
    if network.version == 6 or not is_private(network):
        raise ValueError(
            "is not private: addresses of the internet reach the public endpoint, list them in publicCidrs"
        )
    return str(network)


def _public_cidr(text: str) -> str:
    network = range_of(text, "203.0.113.0/24")
    if network.version == 6:
        anyone = ", and this one would open it to any address" if network.prefixlen == 0 else ""
        raise ValueError(f"must be IPv4: the endpoint of an IPv4 cluster takes no other ranges{anyone}")
    # EKS, "Cluster API server endpoint": ranges of private networks are refused.
    if is_private(network):
        raise ValueError("is private: private addresses reach the private endpoint, which is always there")
    return str(network)


class Endpoint(Section):
    """From where the Kubernetes API can be reached. Inside the VPC it always can."""

    public_cidrs: Annotated[tuple[Annotated[str, Check(_public_cidr)], ...], DISTINCT] = Field(
        default=(),
        description="IPv4 ranges that reach the API from outside the VPC; without any there is no public endpoint.",
    )
    private_cidrs: Annotated[tuple[Annotated[str, Check(_private_cidr)], ...], DISTINCT] = Field(
        default=(),
        description="IPv4 ranges of the VPC, and of networks that are connected to it, that reach the API inside the "
        "VPC; without any only nodes do.",
    )
    allow_any_address: StrictBool = Field(
        default=False, description="Confirms that the endpoint is to be open to the whole internet."
    )

    @property
    def public(self) -> bool:
        """Whether there is a public endpoint."""
        return bool(self.public_cidrs)

    @rule
    def _open_to_the_internet_only_if_meant(self, facts: Facts) -> Findings:
        extent = open_to(self.public_cidrs)
        if extent and not self.allow_any_address:
            yield (
                ("publicCidrs",),
                f"opens the Kubernetes API to {extent}: list the ranges that need it, "
                "or set allowAnyAddress: true if you want that",
            )

    @rule
    def _not_too_many_ranges(self, facts: Facts) -> Findings:
        if len(self.public_cidrs) > _PUBLIC_CIDRS_LIMIT:
            yield ("publicCidrs",), f"has {len(self.public_cidrs)} ranges: EKS takes {_PUBLIC_CIDRS_LIMIT} at most"
        if len(self.private_cidrs) > _PRIVATE_CIDRS_LIMIT:
            yield (
                ("privateCidrs",),
                f"has {len(self.private_cidrs)} ranges: the cluster's security group gets {_PRIVATE_CIDRS_LIMIT} at "
                "most",
            )


class SystemNodes(Section):
    """The managed node group for what must run before Karpenter can start nodes, Karpenter included."""

    instance_types: Annotated[tuple[str, ...], DISTINCT, at_least_one("instance type")] = Field(
        default=("m7i.large",),
        description="Instance types of one architecture, without GPUs, preferred first; m7i.large by default, with "
        f"lifecycle.thrift {', '.join(_THRIFTY_TYPES)}.",
        json_schema_extra=without_default,
    )
    capacity_type: Literal["on-demand", "spot"] = Field(
        default="on-demand",
        description="spot is for labs: it costs less, and EC2 may take a node back with two minutes' notice. It is the "
        "default with lifecycle.thrift.",
        json_schema_extra=without_default,
    )
    count: Annotated[StrictInt, whole(2, 20, "nodes")] = Field(
        default=2, description="Number of nodes, spread over the zones. Keycloak and the hub run only on them."
    )
    volume_size: Annotated[StrictInt, whole(20, 16384, "GiB")] = Field(
        default=50,
        description="Root volume in GiB, gp3, encrypted; 50 by default, 30 with lifecycle.thrift.",
        json_schema_extra=without_default,
    )
    release: Annotated[str, Check(_release)] | None = Field(
        default=None,
        description="Release of EKS's image of Amazon Linux 2023, such as 1.36.4-20260930; a new one replaces nodes "
        "one after another. By default the newest in contracts/ for the cluster's version.",
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Defaults for a lab with `thrift`: small machines, on spot."""
        thrifty = {"instanceTypes": list(_THRIFTY_TYPES), "capacityType": "spot", "volumeSize": 30}
        return {**thrifty, **given} if facts.thrift else given

    @rule
    def _spot_only_for_labs(self, facts: Facts) -> Findings:
        if facts.production and self.capacity_type == "spot":
            yield ("capacityType",), "must be on-demand in production: Karpenter and sign-in run on these nodes"

    @rule
    def _instance_types_of_the_catalogue(self, facts: Facts) -> Findings:
        for index, name in enumerate(self.instance_types):
            found = instance_types().get(name)
            if found is None:
                near = nearest(name, instance_types())
                hint = f': did you mean "{near}"?' if near else ""
                yield ("instanceTypes", index), f"is not an instance type of the catalogue{hint}"
            elif found.has_gpu:
                yield (
                    ("instanceTypes", index),
                    "has GPUs, which system nodes do not need: use m7i.large or a similar type",
                )
            elif found.vcpu < _SYSTEM_VCPU or found.memory_mib < _SYSTEM_MEMORY_MIB:
                yield (
                    ("instanceTypes", index),
                    f"is too small for the system nodes: at least {_SYSTEM_VCPU} vCPU and "
                    f"{_SYSTEM_MEMORY_MIB // 1024} GiB of memory are needed",
                )

    @rule
    def _one_architecture(self, facts: Facts) -> Findings:
        found = {name: instance_types()[name].arch for name in self.instance_types if name in instance_types()}
        if len(set(found.values())) > 1:
            types = ", ".join(f"{name} is {arch}" for name, arch in found.items())
            yield ("instanceTypes",), f"must be of one architecture, as the nodes share an image: {types}"


class Cluster(Section):
    """The EKS cluster."""

    name: Annotated[str, Check(_name)] = Field(
        default="gpulab",
        description=f"Name of the cluster, {NAME_LIMIT} characters at most; gpulab-STACK by default.",
        json_schema_extra=without_default,
    )
    version: str = Field(
        description="Version of Kubernetes, in quotes.", json_schema_extra={"enum": list(KUBERNETES_VERSIONS)}
    )
    upgrade_policy: Literal["STANDARD", "EXTENDED"] = Field(
        default=eks.EXTENDED,
        description="What EKS does when the version's standard support ends. STANDARD: it upgrades the cluster by "
        "itself. EXTENDED: it bills extended support, six times the price. By default STANDARD in a lab, EXTENDED in "
        "production.",
        json_schema_extra=without_default,
    )
    administrators: Annotated[tuple[Principal, ...], DISTINCT, at_least_one("ARN")] = Field(
        description="ARNs of the IAM roles and users that administer the cluster; at least one."
    )
    viewers: Annotated[tuple[Principal, ...], DISTINCT] = Field(
        default=(), description="ARNs of the IAM roles and users that may read everything except secrets."
    )
    previewers: Annotated[tuple[Principal, ...], DISTINCT] = Field(
        default=(),
        description="ARNs of the IAM roles that compare the cluster with its state, such as the one for previews. They "
        "may read everything, secrets included, and change nothing.",
    )
    endpoint: Endpoint = Field(default=Endpoint(), description="From where the Kubernetes API can be reached.")
    log_retention_days: RetentionDays = Field(
        default=30, description="Days that the control plane's logs, audit included, are kept."
    )
    system_nodes: SystemNodes = Field(default=SystemNodes(), description="The nodes that are always there.")
    oidc: StrictBool = Field(
        default=False,
        description="Whether people can use the Kubernetes API with their sign-in, each with the rights of their roles "
        "in their teams' namespaces. It needs identity and ingress.access: internet-facing, because EKS reads the "
        "issuer's keys over the internet. Only these keys are then open to anybody, whatever gpulab:ingress.cidrs has.",
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Named after the stack by default. A lab never pays for extended support unless its file asks for it.

        The system nodes' defaults depend on the lifecycle.
        """
        upgrade_policy = eks.STANDARD if facts.production is False else eks.EXTENDED
        return {"name": f"gpulab-{facts.stack}", "upgradePolicy": upgrade_policy, "systemNodes": {}, **given}

    @property
    def node_release(self) -> str:
        """The release of the image of the system nodes."""
        return self.system_nodes.release or eks.node_releases(self.version)[0]

    @rule
    def _version_that_is_supported(self, facts: Facts) -> Findings:
        yield from version_findings(self.version, facts.today)

    @rule
    def _upgrade_policy_that_eks_takes(self, facts: Facts) -> Findings:
        yield from policy_findings(self.version, self.upgrade_policy, facts.today)

    @rule
    def _release_of_the_version(self, facts: Facts) -> Findings:
        release = self.system_nodes.release
        if release and not release.startswith(f"{self.version}."):
            known = next(iter(eks.node_releases(self.version)), None)
            example = f", such as {known}" if known else ""
            yield ("systemNodes", "release"), f"must be of the cluster's version, {self.version}{example}"

    @rule
    def _one_role_a_principal(self, facts: Facts) -> Findings:
        known = {arn.lower(): "an administrator" for arn in self.administrators}
        for key, kind, arns in (("previewers", "a previewer", self.previewers), ("viewers", "a viewer", self.viewers)):
            for index, arn in enumerate(arns):
                if found := known.get(arn.lower()):
                    yield (key, index), f"is {found} already: a principal has one access entry, leave it out"
            known = {arn.lower(): kind for arn in arns} | known

    @rule
    def _principals_of_the_partition(self, facts: Facts) -> Findings:
        if facts.region is None:
            return
        expected = next((name for prefix, name in _PARTITIONS.items() if facts.region.startswith(prefix)), "aws")
        for key in ("administrators", "viewers", "previewers"):
            arns: tuple[str, ...] = getattr(self, key)
            for index, arn in enumerate(arns):
                if arn.split(":")[1] != expected:
                    yield (key, index), f"is in another partition than {facts.region}, which is in {expected}"
