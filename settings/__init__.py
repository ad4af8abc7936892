"""What a stack file may say under `gpulab:`, and the check of it: no Pulumi, no network, no cloud account.

`load` is for the program, which Pulumi hands the configuration; `check_stack_file` and `python -m settings FILE` check
a stack file as it lies there.
"""

from __future__ import annotations

from settings.charts import ChartSource
from settings.cluster import Cluster
from settings.hub import Hub
from settings.identity import Identity
from settings.ingress import Ingress
from settings.lifecycle import Lifecycle
from settings.loading import load
from settings.network import Network
from settings.node_pools import NodePool
from settings.profiles import Profile
from settings.section import Mistake, SettingsError
from settings.stack import Settings
from settings.stack_file import StackFileError, as_written, check_stack_file, read_stack_file, read_what_goes
from settings.storage import Storage
from settings.teams import Team

__all__ = [
    "ChartSource",
    "Cluster",
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
    "read_stack_file",
    "read_what_goes",
]
