"""EKS add-ons: `eks:index:Addon`, and `eks:index:VpcCniAddon`, which a cluster makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pulumi

from rehearsal.providers.eks import contract
from rehearsal.providers.eks.resources import EksAddon

# Options of the VPC CNI: the variable of its container that each sets, and that variable's value when the option is not
# set (None: the variable is left out). `customNetworkConfig` is absent: the real component lets `cniCustomNetworkCfg`,
# set or not, overwrite it.
_CNI_VARIABLES: dict[str, tuple[str, str | None]] = {
    "nodePortSupport": ("AWS_VPC_CNI_NODE_PORT_SUPPORT", None),
    "warmIpTarget": ("WARM_IP_TARGET", None),
    "warmPrefixTarget": ("WARM_PREFIX_TARGET", None),
    "enablePrefixDelegation": ("ENABLE_PREFIX_DELEGATION", None),
    "logLevel": ("AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG"),
    "logFile": ("AWS_VPC_K8S_CNI_LOG_FILE", "/host/var/log/aws-routed-eni/ipamd.log"),
    "vethPrefix": ("AWS_VPC_K8S_CNI_VETHPREFIX", "eni"),
    "eniMtu": ("AWS_VPC_ENI_MTU", "9001"),
    "eniConfigLabelDef": ("ENI_CONFIG_LABEL_DEF", None),
    "pluginLogLevel": ("AWS_VPC_K8S_PLUGIN_LOG_LEVEL", "DEBUG"),
    "pluginLogFile": ("AWS_VPC_K8S_PLUGIN_LOG_FILE", "/var/log/aws-routed-eni/plugin.log"),
    "enablePodEni": ("ENABLE_POD_ENI", "false"),
    "cniConfigureRpfilter": ("AWS_VPC_K8S_CNI_CONFIGURE_RPFILTER", None),
    "cniCustomNetworkCfg": ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false"),
    "cniExternalSnat": ("AWS_VPC_K8S_CNI_EXTERNALSNAT", "false"),
}


class Addon(pulumi.ComponentResource):
    """An add-on of a cluster of this package. It is always a child of that cluster."""

    pulumi_type: ClassVar[str] = "eks:index:Addon"
    state: dict[str, Any]

    def __init__(self, name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = contract.checked(self.pulumi_type, args)
        cluster = inputs.pop("cluster")
        if isinstance(cluster, pulumi.Output):
            raise pulumi.InputPropertyError(
                "cluster", f"{self.pulumi_type} takes the cluster itself, not an output of it"
            )
        under_cluster = pulumi.ResourceOptions(parent=cluster.as_parent)
        super().__init__(self.pulumi_type, name, None, pulumi.ResourceOptions.merge(opts, under_cluster))
        inputs["clusterName"] = cluster.core.apply(lambda core: core["cluster"].name)
        inputs["configurationValues"] = configuration_json(inputs.get("configurationValues"))
        self.state = {"addon": EksAddon(name, inputs, pulumi.ResourceOptions(parent=self))}
        self.register_outputs(self.state)


class VpcCniAddon(pulumi.ComponentResource):
    """The add-on of the VPC CNI, with the settings of its container as options."""

    pulumi_type: ClassVar[str] = "eks:index:VpcCniAddon"
    state: dict[str, Any]

    def __init__(self, name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        if opts and opts.urn:
            super().__init__(self.pulumi_type, name, {"addon": None}, opts)
            return
        inputs = contract.checked(self.pulumi_type, args, unmodelled=["securityContextPrivileged"])
        super().__init__(self.pulumi_type, name, None, opts)
        if inputs.get("externalSnat") and inputs.get("cniExternalSnat"):
            raise pulumi.InputPropertyError("vpcCniOptions", "give one of cniExternalSnat and externalSnat")
        if inputs.get("addonVersion"):
            version = inputs["addonVersion"]
        elif inputs.get("clusterVersion"):
            version = latest_version("vpc-cni", inputs["clusterVersion"], self)
        else:
            raise pulumi.InputPropertyError("addonVersion", "addonVersion or clusterVersion is needed")
        options = {key: value for key, value in inputs.items() if key not in ("clusterName", "clusterVersion", "tags")}
        addon = EksAddon(
            name,
            {
                "clusterName": inputs["clusterName"],
                "addonVersion": version,
                "addonName": "vpc-cni",
                "resolveConflictsOnCreate": inputs.get("resolveConflictsOnCreate", "OVERWRITE"),
                "resolveConflictsOnUpdate": inputs.get("resolveConflictsOnUpdate", "OVERWRITE"),
                "preserve": True,
                "configurationValues": configuration_json(pulumi.Output.from_input(options).apply(cni_configuration)),
                "serviceAccountRoleArn": inputs.get("serviceAccountRoleArn"),
                "tags": inputs.get("tags"),
            },
            pulumi.ResourceOptions(parent=self),
        )
        self.state = {"addon": addon}
        self.register_outputs(self.state)


def cni_configuration(options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration values for the options of `VpcCniAddon`. Its `configurationValues` win."""
    values = dict(options.get("configurationValues", {}))
    given = {**options, "cniExternalSnat": options.get("externalSnat") or options.get("cniExternalSnat")}
    variables = {"WARM_ENI_TARGET": _text(options.get("warmEniTarget", 1))}
    for option, (variable, default) in _CNI_VARIABLES.items():
        text = _text(given[option]) if given.get(option) else default
        if text is not None:
            variables[variable] = text
    init_variables = {"DISABLE_TCP_EARLY_DEMUX": _text(options.get("disableTcpEarlyDemux", False))}
    if "enableNetworkPolicy" in options:
        values.setdefault("enableNetworkPolicy", _text(options["enableNetworkPolicy"]))
    init = values.get("init", {})
    return {
        **values,
        "env": {**variables, **values.get("env", {})},
        "init": {**init, "env": {**init_variables, **init.get("env", {})}},
    }


def configuration_json(values: pulumi.Input[Mapping[str, Any]] | None) -> pulumi.Output[str] | None:
    """An add-on's configuration values as JSON with sorted keys, or None for none."""
    if values is None:
        return None
    return pulumi.Output.json_dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def latest_version(addon: str, kubernetes_version: pulumi.Input[str], parent: pulumi.Resource) -> pulumi.Output[str]:
    """The newest version of an add-on that AWS offers for a Kubernetes version."""
    found = pulumi.runtime.invoke_output(
        "aws:eks/getAddonVersion:getAddonVersion",
        {"addonName": addon, "kubernetesVersion": kubernetes_version, "mostRecent": True},
        pulumi.InvokeOptions(parent=parent),
    )
    return found.apply(lambda answer: answer["version"])


def _text(value: Any) -> str:
    """The value of a variable as the real component writes it in JavaScript, which has only one kind of number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
