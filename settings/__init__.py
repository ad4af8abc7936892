"""What a stack file may have under `gpulab:`, and its checks: no Pulumi, no network, no cloud account.

`load` is for the program, which gets its configuration from Pulumi. `check_stack_file` and `python -m settings FILE`
read a stack file themselves.
"""

from __future__ import annotations

from settings.charts import ChartSource
from settings.cluster import Cluster
from settings.eks_stack import EksSettings, on_eks
from settings.existing_stack import ExistingSettings
from settings.ingress import Ingress
from settings.language.section import Mistake, SettingsError
from settings.lifecycle import Lifecycle
from settings.loading import load
from settings.network import Network
from settings.notebooks.hub import Hub
from settings.notebooks.profiles import Profile
from settings.people.identity import Identity
from settings.people.teams import Team
from settings.pools.node_pools import NodePool
from settings.stack import Settings
from settings.stack_file import StackFileError, as_written, check_stack_file, read_leniently, read_stack_file
from settings.storage import Storage

__all__ = [
    "ChartSource",
    "Cluster",
    "EksSettings",
    "ExistingSettings",
    "Hub",
    "Identity",
    "Ingress",
    "Lifecycle",
    "Mistake",
    "Network",
    "NodePool",
    "Profile",
    "Settings",
    "SettingsError",
    "StackFileError",
    "Storage",
    "Team",
    "as_written",
    "check_stack_file",
    "load",
    "on_eks",
    "read_leniently",
    "read_stack_file",
]
