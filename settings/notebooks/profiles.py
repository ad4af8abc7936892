"""`gpulab:profiles`: what people choose from when they start a notebook: an image, and a machine for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StrictInt

from settings.language.secret_reference import silently
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import (
    DISTINCT,
    Check,
    Duration,
    at_least_one,
    in_unit,
    matching,
    seconds,
    whole,
    without_default,
)
from settings.people.names import ROLES, TeamRole
from settings.pools.gpu_choice import GpuChoice
from settings.pools.gpu_shares import MIG_RESOURCE_PREFIX, shares
from settings.pools.node_pools import CapacityType, PoolName
from settings.pools.pool import Pool

SHARED = "shared"
"""A share of a GPU that pods use in turns (time-slicing) or side by side (MPS)."""

_MIB = 1024
_LEAST_CPU, _MOST_CPU = 0.25, 192
_SHORTEST_IDLE = 60
_LONGEST_SCRIPT = 16 * 1024
_SHORTEST_STARTUP, _LONGEST_STARTUP = 10, 3600
_STARTUP = "5m"

# The distribution specification of the OCI: host with port, path, tag, digest.
_IMAGE = re.compile(
    r"(?P<name>([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>\w[\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_THE_HUB = ("JUPYTERHUB_", "JPY_", "KUBERNETES_", "GPULAB_")
_USER_BASE = "PYTHONUSERBASE"
# NVIDIA Container Toolkit, "Environment variables": these are read when a container is made. CUDA_VISIBLE_DEVICES only
# chooses among the container's GPUs, NVIDIA_DRIVER_CAPABILITIES among the driver's libraries: both are allowed.
DEVICE_VARIABLES = (
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_MIG_CONFIG_DEVICES",
    "NVIDIA_MIG_MONITOR_DEVICES",
    "NVIDIA_IMEX_CHANNELS",
)
"""The variables that decide which GPUs of its node a container gets, whatever it asked for."""

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY", re.IGNORECASE)
# Keys of AWS, GitHub, Hugging Face, OpenAI and Slack, private keys, JSON Web Tokens, passwords in addresses.
_SECRET_VALUE = re.compile(
    r"(AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_\w{20}|github_pat_|hf_\w{20}|sk-\w{16}|xox[bap]-|-----BEGIN|eyJ\w{16}|://[^/\s]+:[^/\s]+@"
)


def _image(name: str) -> str:
    found = _IMAGE.fullmatch(name)
    if not found:
        raise ValueError("must be an image such as quay.io/jupyter/datascience-notebook:2025-12-31")
    if not found["tag"] and not found["digest"]:
        raise ValueError("must be pinned: add a tag, such as :2025-12-31, or a digest (@sha256:…)")
    if found["tag"] == "latest" and not found["digest"]:
        raise ValueError("must be pinned: latest changes without notice, use a tag with a date or a version")
    return name


def _cpu(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        meant = in_unit(value, "vCPU")
        hint = f": write {meant:g}" if meant is not None else ""
        raise ValueError(f"must be a number of vCPUs, such as 2 or 0.5, without quotes{hint}")  # noqa: TRY004 (as others)
    if not _LEAST_CPU <= value <= _MOST_CPU or value * 4 != int(value * 4):
        raise ValueError(f"must be {_LEAST_CPU:g} to {_MOST_CPU} vCPU, in quarters")
    return float(value)


def _environment(value: Any) -> Any:
    """Does not repeat a value in its messages: it may be a secret."""
    for name, text in value.items() if isinstance(value, dict) else ():
        if isinstance(name, str) and not _VARIABLE.fullmatch(name):
            raise ValueError(f"has {name!r}, which is not a variable's name: use letters, digits and _")
        if isinstance(name, str) and name.startswith(_OF_THE_HUB):
            raise ValueError(
                f"has {name}, which the hub sets: leave out names that begin with {', '.join(_OF_THE_HUB)}"
            )
        if name == _USER_BASE:
            raise ValueError(
                f"has {_USER_BASE}, which the platform sets for each line of images, so that the packages that people "
                "install for one do not hide those of another: leave it out"
            )
        if name in DEVICE_VARIABLES:
            raise ValueError(
                f"has {name}, which only the platform may set: it decides which GPUs of its node a container sees. "
                "Leave it out: the profile's gpu says what the notebook gets"
            )
        if _SECRET_NAME.search(str(name)) or (isinstance(text, str) and _SECRET_VALUE.search(text)):
            raise ValueError(
                f"has {name}, which looks like a secret: everybody with the profile, the stack file or the cluster's"
                " state could read it. People can keep secrets in their home. If this was a real secret, change it"
            )
    return value


Image = Annotated[str, Check(_image, {"pattern": r"[:@]", "not": {"pattern": ":latest$"}})]
"""An image's reference with a tag or a digest."""

Cpu = Annotated[
    float, BeforeValidator(_cpu), Check(float, {"minimum": _LEAST_CPU, "maximum": _MOST_CPU, "multipleOf": 0.25})
]
"""vCPUs in quarters."""

AnyPool = TypeVar("AnyPool", bound=Pool)

Slice = Annotated[str, matching(r"shared|[1-7]g\.[0-9]{1,3}gb", "shared, or a MIG profile such as 1g.5gb")]
"""A part of a GPU: `shared`, or a MIG profile."""


class ProfileGpu(GpuChoice):
    """The GPUs of a notebook: whole ones of a pool (`count`, one by default), one slice of one, or one that is found.

    With `discover` there is no `pool`: people choose from the GPUs that nodes have when they start a notebook.
    """

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["pool"]}, {"required": ["discover"]}]})

    pool: PoolName | None = Field(
        default=None,
        description="The GPU pool that has them; or discover, on a cluster that exists.",
        json_schema_extra=without_default,
    )
    count: Annotated[StrictInt, whole(1, 16, "GPUs")] | None = Field(
        default=None,
        description="Whole GPUs, 1 by default; this or slice.",
        json_schema_extra=without_default,
    )
    slice: Slice | None = Field(
        default=None,
        description="One slice instead of whole GPUs: shared (time-slicing, MPS), or a MIG profile such as 1g.5gb.",
    )
    discover: StrictBool = Field(
        default=False,
        description="Whether people choose from the GPUs, shares and slices that nodes have when they start a "
        "notebook; it gets one. For nodes that are there: ground.kind existing.",
    )
    by_node: StrictBool = Field(
        default=False, description="Whether people may also choose the node of a GPU that is discovered."
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """One whole GPU, unless a slice is asked for, or whatever is there."""
        return given if given.get("slice") is not None or given.get("discover") else {"count": 1, **given}

    @rule
    def _pool_or_discover(self, facts: Facts) -> Findings:
        if not self.discover:
            if self.pool is None:
                yield ("pool",), f"is missing. {self.by_key()['pool'].description}"
            return
        chosen = {"pool": self.pool, "count": self.count, "slice": self.slice}
        for key, value in {**chosen, "model": self.model, "minMemory": self.min_memory}.items():
            if value is not None:
                yield (key,), "is for the GPUs of one pool, and with discover people choose: leave one of them out"

    @rule
    def _nodes_of_what_is_discovered(self, facts: Facts) -> Findings:
        if self.by_node and not self.discover:
            yield ("byNode",), "has no effect without discover: leave it out, or set discover in place of pool"

    @rule
    def _count_or_slice(self, facts: Facts) -> Findings:
        if self.slice is not None and self.count is not None:
            yield ("count",), "is for whole GPUs, and slice is set: leave one of them out"


class Profile(Section):
    """One choice of the form that starts a notebook."""

    display_name: Annotated[str, matching(r"\S(.{0,78}\S)?", "a line of text, 80 characters at most")] = Field(
        description="What the form calls it."
    )
    description: Annotated[str, matching(r".{0,500}", "500 characters at most, in one line")] = Field(
        default="", description="What the form says of it."
    )
    roles: Annotated[tuple[TeamRole, ...], DISTINCT, at_least_one("role")] = Field(
        default=ROLES, description="The roles in a team that may use it; all by default."
    )
    default: StrictBool = Field(
        default=False,
        description="Whether the form preselects it; at most one of the profiles that a role of a team has.",
    )
    image: Image = Field(description="The notebook's image, with a tag or a digest; never latest.")
    env: Annotated[dict[str, str], BeforeValidator(silently(_environment))] = Field(
        default={}, description="Environment variables. No secrets: everybody with the profile reads them."
    )
    startup: str | None = Field(
        default=None, description="Shell script that runs in the notebook's container before its server starts."
    )
    startup_timeout: Duration = Field(
        default=_STARTUP,
        description="Time after which the startup script is ended, and the server starts without it; 10s to 1h.",
    )
    cpu: Cpu = Field(description="vCPUs that are reserved for the notebook, in quarters.")
    memory: Annotated[StrictInt, whole(1, 24_576, "GiB")] = Field(
        description="Memory in GiB that is reserved for the notebook. A notebook that uses more is ended."
    )
    shared_memory: Annotated[StrictInt, whole(1, 24_576, "GiB")] | None = Field(
        default=None,
        description="GiB at /dev/shm, where PyTorch's DataLoader and NCCL exchange data. It counts as the notebook's "
        "memory. By default half of memory; MPS has its own /dev/shm.",
        json_schema_extra=without_default,
    )
    capacity_type: CapacityType | None = Field(
        default=None,
        description="How its machine is bought. on-demand: for work that EC2 must not interrupt with two minutes' "
        "notice. none: as the pool prefers.",
    )
    gpu: ProfileGpu | None = Field(default=None, description="Its GPUs or slice; none: a CPU notebook.")
    scratch: Annotated[StrictInt, whole(0, 16_384, "GiB")] = Field(
        default=10, description="GiB at ~/scratch, on the node; deleted with the notebook. 0: none."
    )
    idle: Duration = Field(
        default="1h", description="The notebook ends after this time in which nothing ran and nobody used it."
    )
    lifetime: Duration = Field(default="168h", description="The notebook ends after this time in any case; homes stay.")

    @rule
    def _shared_memory_of_the_memory(self, facts: Facts) -> Findings:
        if self.shared_memory is not None and self.shared_memory >= self.memory:
            yield (
                ("sharedMemory",),
                f"must be less than memory, which is {self.memory} GiB: files in /dev/shm count as memory, and a "
                "notebook that exceeds its memory is ended",
            )

    @rule
    def _script_of_a_size(self, facts: Facts) -> Findings:
        if self.startup is not None and not self.startup.strip():
            yield ("startup",), "must not be empty: leave it out"
        if self.startup is not None and len(self.startup.encode()) > _LONGEST_SCRIPT:
            yield ("startup",), f"is too long: {_LONGEST_SCRIPT // 1024} KiB at most, put it into the image"

    @rule
    def _time_of_the_script(self, facts: Facts) -> Findings:
        if not _SHORTEST_STARTUP <= seconds(self.startup_timeout) <= _LONGEST_STARTUP:
            yield ("startupTimeout",), f"must be {_SHORTEST_STARTUP}s to {_LONGEST_STARTUP // 3600}h"
        elif self.startup is None and self.startup_timeout != _STARTUP:
            yield ("startupTimeout",), "has no effect without startup: leave it out, or give the profile a script"

    @rule
    def _time_to_work(self, facts: Facts) -> Findings:
        if seconds(self.idle) < _SHORTEST_IDLE:
            yield ("idle",), f"must be at least {_SHORTEST_IDLE}s: notebooks would end while people read"

    @rule
    def _idle_within_the_lifetime(self, facts: Facts) -> Findings:
        if seconds(self.lifetime) <= seconds(self.idle):
            yield ("lifetime",), f"must exceed idle, which is {self.idle}"


def shared_memory_mib(profile: Profile, pool: Pool | None) -> int | None:
    """MiB at /dev/shm of the profile's notebooks in `pool`; None where the platform does not set it.

    With MPS, NVIDIA's device plugin mounts its daemon's (k8s-device-plugin, internal/plugin/mps.go, v0.20.0).
    """
    if pool is not None and pool.gpu.sharing == "mps":
        return None
    if profile.shared_memory is not None:
        return profile.shared_memory * _MIB
    return profile.memory * _MIB // 2


def gpu_pool(profile: Profile, pools: Mapping[str, AnyPool]) -> AnyPool | None:
    """The pool that the profile names for its GPUs; None without GPUs, for those that are discovered, or if unknown."""
    if profile.gpu is None or profile.gpu.pool is None:
        return None
    return pools.get(profile.gpu.pool)


def gpu_request(gpu: ProfileGpu, pool: Pool) -> tuple[str, int]:
    """The resource that a notebook asks for in its pool, and how many of it: a share of a GPU is always one."""
    slices = shares(pool)
    own = f"{MIG_RESOURCE_PREFIX}{gpu.slice}"
    return (own if own in slices else next(iter(slices))), gpu.count or 1
