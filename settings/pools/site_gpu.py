"""`gpulab:gpu` on an existing cluster: who gives its GPUs to pods, and how that is set up."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StrictBool

from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import Duration, matching

GpuPlugin: TypeAlias = Literal["device-plugin", "operator", "present"]
DeviceList: TypeAlias = Literal["envvar", "volume-mounts", "cdi-annotations", "cdi-cri"]
DeviceId: TypeAlias = Literal["uuid", "index"]

RUNTIME_CLASS = "nvidia"
"""The RuntimeClass that NVIDIA's tools and k3s, Talos and MicroK8s name by default."""


class DevicePlugin(Section):
    """Flags of NVIDIA's device plugin; its own defaults where nothing is set."""

    fail_on_init_error: StrictBool | None = Field(
        default=None,
        description="Whether it ends on a node where it finds no driver; false: it waits there. true by default.",
    )
    device_list_strategy: DeviceList | None = Field(
        default=None,
        description="How a container gets its GPUs: envvar (the default; needs the NVIDIA runtime), volume-mounts, "
        "cdi-annotations or cdi-cri (containerd with CDI).",
    )
    device_id_strategy: DeviceId | None = Field(
        default=None, description="How it names GPUs to the runtime: uuid (the default) or index."
    )
    nvidia_driver_root: Annotated[str, matching(r"/[A-Za-z0-9._/-]{0,200}", "a path such as /usr/local")] | None = (
        Field(default=None, description="Folder of the host below which the driver's files are; / by default.")
    )


class FeatureDiscovery(Section):
    """NVIDIA's feature discovery, which labels nodes with the product, memory and count of their GPUs."""

    sleep_interval: Duration | None = Field(
        default=None, description="How often it looks at the GPUs again; 60s by default."
    )
    nfd: StrictBool = Field(
        default=True,
        description="Whether Node Feature Discovery is installed too, which puts the labels on nodes. false: it is "
        "there already.",
    )


class SiteGpu(Section):
    """What gives the GPUs of an existing cluster to pods."""

    plugin: GpuPlugin = Field(
        default="device-plugin",
        description="device-plugin: NVIDIA's device plugin with feature discovery. operator: the GPU Operator, which "
        "also partitions GPUs (MIG) and can bring driver and toolkit. present: somebody else's, which stays.",
    )
    driver: StrictBool = Field(
        default=False, description="Whether the GPU Operator installs the driver. false: nodes have it."
    )
    toolkit: StrictBool = Field(
        default=False,
        description="Whether the GPU Operator installs NVIDIA's container toolkit, which changes the nodes' "
        "containerd. false: nodes have it.",
    )
    runtime_class: Annotated[str, matching(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", "the name of a RuntimeClass")] = (
        Field(
            default=RUNTIME_CLASS,
            description="RuntimeClass of pods with GPUs, which is made where there is none. Its handler has the same "
            "name in the nodes' containerd.",
        )
    )
    device_plugin: DevicePlugin = Field(default=DevicePlugin(), description="Flags of the device plugin.")
    feature_discovery: FeatureDiscovery = Field(
        default=FeatureDiscovery(), description="Feature discovery: sleepInterval, nfd."
    )

    @rule
    def _driver_and_toolkit_of_the_operator(self, facts: Facts) -> Findings:
        for key, given in (("driver", self.driver), ("toolkit", self.toolkit)):
            if given and self.plugin != "operator":
                yield (
                    (key,),
                    f"is for plugin operator, and plugin is {self.plugin}: leave it out and install the {key} on the "
                    "nodes, or write plugin: operator",
                )

    @rule
    def _toolkit_for_a_driver_in_a_container(self, facts: Facts) -> Findings:
        # The nodes' own toolkit looks for the driver's libraries on the host, where the operator's driver has none.
        if self.plugin == "operator" and self.driver and not self.toolkit:
            yield ("toolkit",), "must be true with driver: true, as the nodes' own toolkit does not find that driver"

    @rule
    def _nothing_of_what_others_set_up(self, facts: Facts) -> Findings:
        if self.plugin != "present":
            return
        for key, given in (
            ("devicePlugin", self.device_plugin != DevicePlugin()),
            ("featureDiscovery", self.feature_discovery != FeatureDiscovery()),
        ):
            if given:
                yield (
                    (key,),
                    "is for plugin device-plugin or operator, and plugin is present: leave it out, somebody else sets "
                    "that up",
                )

    @rule
    def _nothing_that_the_operator_decides(self, facts: Facts) -> Findings:
        if self.plugin != "operator":
            return
        for key, given in (
            ("deviceListStrategy", self.device_plugin.device_list_strategy),
            ("deviceIdStrategy", self.device_plugin.device_id_strategy),
        ):
            if given is not None:
                yield (
                    ("devicePlugin", key),
                    "is for plugin device-plugin: leave it out, the GPU Operator uses CDI and sets it itself",
                )
        if self.driver and self.device_plugin.nvidia_driver_root is not None:
            yield (
                ("devicePlugin", "nvidiaDriverRoot"),
                "is for a driver of the nodes, and driver is true: leave one of them out",
            )
