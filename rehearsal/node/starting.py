"""Starts a rehearsal of a site whose nodes run containers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.storage.site_storage import NFS_DRIVER, SEAWEEDFS_DRIVER
from contracts import clusters
from contracts.quantities import amount
from rehearsal.controllers.world import Object
from rehearsal.machine.tools import KWOK, Tool
from rehearsal.machine.workspace import STAND_INS
from rehearsal.site import machines
from rehearsal.site import starting as site
from rehearsal.site.cluster import without_programs
from rehearsal.stack_phases import Beginnings
from settings import ExistingSettings

from . import charts, given_cluster, images, namespaces, references, rig, root
from .gpu.cards import CARDS, Card, like_l40s
from .gpu.charts import charts as nvidia_charts
from .gpu.charts import differences as nvidia_differences
from .phases import GivenRehearsal, NodeRehearsal
from .rig import NodeArgs, Rig, RigArgs
from .tools import NODE_TOOLS

_GIB = 1024**3
_OF_SITE = ("StorageClass", "CSIDriver", "RuntimeClass", "IngressClass")
_DRIVERS = {NFS_DRIVER: "nfs", SEAWEEDFS_DRIVER: "seaweedfs"}
_MOUNTED = "which kubelet mounts by a CSI driver of ours; no pod of the driver's own runs"


def tools(stack_settings: ExistingSettings) -> Sequence[Tool]:
    """The tools that it needs. Raises ToolMissing where no node can run, and SettingsError."""
    return with_nodes(site.tools(stack_settings))


def with_nodes(tools_with_kwok: Sequence[Tool]) -> Sequence[Tool]:
    """The tools of a rehearsal whose nodes run containers. Raises ToolMissing where no node can run."""
    namespaces.refuse_without()
    root.refuse_without()
    return [*(tool for tool in tools_with_kwok if tool is not KWOK), *NODE_TOOLS]


def start(given: Beginnings, stack_settings: ExistingSettings) -> NodeRehearsal:
    """Makes images and starts the nodes, while the workspace is created."""
    session = given.session
    made = site.workspace_of(given, stack_settings, [charts_of_ours(session.folder / "charts")])
    starting_rig = session.processes.in_background(lambda: _start_rig(given, stack_settings, made.secrets.objects))
    given.report.stand_ins = [
        *(STAND_INS[name] for name in made.workspace.stand_ins),
        "the cores, the memory and the GPUs of the machines; the driver is a library of ours that computes nothing",
        *nvidia_differences(),
    ]
    return NodeRehearsal(
        **made.parts(given, stack_settings),
        starting_plane=session.processes.in_background(lambda: starting_rig.result().plane),
        starting_rig=starting_rig,
        objects=made.secrets.objects,
    )


def start_on_given(given: Beginnings, stack_settings: ExistingSettings) -> GivenRehearsal:
    """Creates the workspace, then connects to the cluster that the options name. Raises ClusterUnusable."""
    session, options = given.session, given.options
    made = site.workspace_of(given, stack_settings, [charts_of_ours(session.folder / "charts")])
    given.report.stand_ins = [*(STAND_INS[name] for name in made.workspace.stand_ins), *nvidia_differences()]
    plane = given_cluster.connect(options.kubeconfig or Path(), session.folder / "kubernetes")
    return GivenRehearsal(
        **made.parts(given, stack_settings),
        starting_plane=session.processes.in_background(lambda: plane),
        objects=made.secrets.objects,
    )


def charts_of_ours(folder: Path) -> Path:
    """Writes the charts whose pods run into `folder`: NVIDIA's own, and those of ours."""
    charts.write(folder)
    nvidia_charts(folder)
    return folder


def _start_rig(given: Beginnings, stack_settings: ExistingSettings, objects: Sequence[Object]) -> Rig:
    display = given.progress.display
    given.toolchain.wait_for()
    made = images.ensure(references.of_stack(stack_settings), display)
    drivers = drivers_of(stack_settings)
    given.report.stand_ins += stand_ins(made, drivers)
    args = RigArgs(
        root=root.ensure(display),
        images=made,
        nodes=nodes_of(stack_settings),
        objects=[*of_site(stack_settings), *objects],
        drivers=drivers,
    )
    return rig.start(given.session.processes, given.session.folder, given.toolchain, args, display)


def stand_ins(made: Sequence[images.Image], drivers: Sequence[str]) -> list[str]:
    """What the report says of images and of drivers of volumes."""
    built = {image.made_of: None for image in made if image.how == "built"}
    return [
        *(f"image: {what}" for what in built),
        *(f"{name}: volumes are folders of the machines, {_MOUNTED}" for name in drivers),
    ]


def of_site(stack_settings: ExistingSettings) -> list[Object]:
    """What the site itself has of classes and of drivers of volumes, without what the stack brings."""
    found = clusters.cluster(stack_settings.ground.distribution)
    return [one for one in without_programs(found, site.programs_brought(stack_settings)) if one["kind"] in _OF_SITE]


def drivers_of(stack_settings: ExistingSettings) -> list[str]:
    """The drivers by which nodes mount volumes that they share: of the site's classes, and of those of the stack."""
    of_classes = [one["provisioner"] for one in of_site(stack_settings) if one["kind"] == "StorageClass"]
    install = stack_settings.storage.install
    of_stack = [name for name, wanted in _DRIVERS.items() if getattr(install, wanted)]
    return [*(name for name in of_classes if clusters.shares(name)), *of_stack]


def nodes_of(stack_settings: ExistingSettings) -> list[NodeArgs]:
    """The nodes of a rig that is like the stack's site."""
    return [_node_args(node) for node in _nodes(stack_settings)]


def _nodes(stack_settings: ExistingSettings) -> list[Object]:
    """The machines of the pools, before anything of the stack ran there."""
    of_fixture = [one for one in clusters.cluster(stack_settings.ground.distribution) if one["kind"] == "Node"]
    pools = stack_settings.node_pools
    found = machines.fitted(of_fixture, pools)
    named = {name for pool in pools.values() for name in pool.nodes}
    selectors = [pool.selector.items() for pool in pools.values() if pool.selector]
    needed = [
        node
        for node in found
        if node["metadata"]["name"] in named
        or any(selector <= node["metadata"].get("labels", {}).items() for selector in selectors)
    ]
    return [machines.before_nvidia(node) for node in needed]


def _node_args(node: Object) -> NodeArgs:
    """What a rig needs to be like a machine of the fixture."""
    metadata, spec, capacity = node["metadata"], node.get("spec", {}), node["status"]["capacity"]
    return NodeArgs(
        name=metadata["name"],
        cores=int(capacity["cpu"]),
        memory=int(amount(capacity["memory"])) // _GIB,
        labels=metadata.get("labels", {}),
        annotations={key: value for key, value in metadata.get("annotations", {}).items() if key == clusters.HARDWARE},
        taints=spec.get("taints", []),
        provider_id=spec.get("providerID", ""),
        cards=_cards(node),
    )


def _cards(node: Object) -> list[Card]:
    """The GPUs in a machine."""
    by_name = {card.name: card for card in CARDS.values() if card.instances is None}
    found = []
    for gpus in clusters.gpus_of(node):
        card = by_name.get(gpus.product) or like_l40s(gpus.product, gpus.memory)
        found += [card] * gpus.count
    return found
