"""`gpulab:profiles`: what people choose from when they start a notebook: an image, and a machine for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictInt

from settings.gpu_choice import GpuChoice
from settings.gpu_shares import MIG_RESOURCE_PREFIX, shares
from settings.node_pools import NodePool, PoolName
from settings.secret_reference import silently
from settings.section import Facts, Findings, Section, rule
from settings.team_names import ROLES, TeamRole
from settings.values import DISTINCT, Check, Duration, at_least_one, in_unit, matching, seconds, whole, without_default

SHARED = "shared"
"""One share of a GPU that pods take turns on (time-slicing) or divide among them (MPS)."""

_LEAST_CPU, _MOST_CPU = 0.25, 192
_SHORTEST_IDLE = 60
_LONGEST_SCRIPT = 16 * 1024

# The distribution specification of the OCI: host with port, path, tag, digest.
_IMAGE = re.compile(
    r"(?P<name>([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>\w[\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_THE_HUB = ("JUPYTERHUB_", "JPY_", "KUBERNETES_")
# NVIDIA Container Toolkit, "Environment variables": they are read when a container is made. CUDA_VISIBLE_DEVICES only
# chooses among the GPUs that it was given, and NVIDIA_DRIVER_CAPABILITIES among the driver's libraries: both are free.
DEVICE_VARIABLES = (
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_MIG_CONFIG_DEVICES",
    "NVIDIA_MIG_MONITOR_DEVICES",
    "NVIDIA_IMEX_CHANNELS",
)
"""The variables that say which GPUs of its node a container gets, whatever it asked for."""

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
        raise ValueError("must be pinned, as latest is another image every week: take a tag with a date or a version")
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
    """Says nothing of a value: it may be a secret."""
    for name, text in value.items() if isinstance(value, dict) else ():
        if isinstance(name, str) and not _VARIABLE.fullmatch(name):
            raise ValueError(f"has {name!r}, which is no name of a variable: letters, digits and _ are")
        if isinstance(name, str) and name.startswith(_OF_THE_HUB):
            raise ValueError(f"has {name}, which the hub sets: leave out what begins with {', '.join(_OF_THE_HUB)}")
        if name in DEVICE_VARIABLES:
            raise ValueError(
                f"has {name}, which is the platform's: it would give the notebook GPUs of its node that it did not ask"
                " for. Leave it out: what the notebook has, gpu says"
            )
        if _SECRET_NAME.search(str(name)) or (isinstance(text, str) and _SECRET_VALUE.search(text)):
            raise ValueError(
                f"has {name}, which looks like a secret: everybody with the profile, the stack file and the cluster's"
                " state would read it. People keep secrets in their home. If a real one stood here, change it"
            )
    return value


Image = Annotated[str, Check(_image, {"pattern": r"[:@]", "not": {"pattern": ":latest$"}})]
"""An image's reference with a tag or a digest."""

Cpu = Annotated[
    float, BeforeValidator(_cpu), Check(float, {"minimum": _LEAST_CPU, "maximum": _MOST_CPU, "multipleOf": 0.25})
]
"""vCPUs in quarters."""

Slice = Annotated[str, matching(r"shared|[1-7]g\.[0-9]{1,3}gb", "shared, or a MIG profile such as 1g.5gb")]
"""A part of a GPU: `shared`, or a MIG profile."""


class ProfileGpu(GpuChoice):
    """The GPUs of a notebook: whole ones (`count`, one by default), or one slice of one."""

    pool: PoolName = Field(description="The GPU pool that has them.")
    count: Annotated[StrictInt, whole(1, 16, "GPUs")] | None = Field(
        default=None,
        description="Whole GPUs, 1 by default; this or slice.",
        json_schema_extra=without_default,
    )
    slice: Slice | None = Field(
        default=None,
        description="One slice in place of whole GPUs: shared (time-slicing, MPS), or a MIG profile such as 1g.5gb.",
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """One whole GPU, unless a slice is asked for."""
        return given if given.get("slice") is not None else {"count": 1, **given}

    # Of the choice, what it is made of: here it may also be empty.
    _known_model = GpuChoice._known_model

    @rule
    def _count_or_slice(self, facts: Facts) -> Findings:
        if self.slice is not None and self.count is not None:
            yield ("count",), "is for whole GPUs: a notebook gets one slice, leave it or slice out"


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
        default=False, description="Whether the form begins with it; one at most of what a person of a team sees."
    )
    image: Image = Field(description="The notebook's image, with a tag or a digest; never latest.")
    env: Annotated[dict[str, str], BeforeValidator(silently(_environment))] = Field(
        default={}, description="Environment variables. No secrets: everybody with the profile reads them."
    )
    startup: str | None = Field(
        default=None, description="Shell script that runs in the notebook's container before its server starts."
    )
    cpu: Cpu = Field(description="vCPUs that are kept for the notebook, in quarters.")
    memory: Annotated[StrictInt, whole(1, 24_576, "GiB")] = Field(
        description="Memory in GiB, kept for the notebook, which ends when it takes more."
    )
    gpu: ProfileGpu | None = Field(default=None, description="Its GPUs or slice; none: a CPU notebook.")
    scratch: Annotated[StrictInt, whole(0, 16_384, "GiB")] = Field(
        default=10, description="GiB at /home/jovyan/scratch, on the node, which go with the notebook; 0: none."
    )
    idle: Duration = Field(
        default="1h", description="Time without anything running or anybody looking after which the notebook ends."
    )
    lifetime: Duration = Field(default="168h", description="Time after which it ends in any case; homes stay.")

    @rule
    def _script_of_a_size(self, facts: Facts) -> Findings:
        if self.startup is not None and not self.startup.strip():
            yield ("startup",), "must not be empty: leave it out"
        if self.startup is not None and len(self.startup.encode()) > _LONGEST_SCRIPT:
            yield ("startup",), f"is too long: {_LONGEST_SCRIPT // 1024} KiB at most, put it into the image"

    @rule
    def _time_to_work(self, facts: Facts) -> Findings:
        if seconds(self.idle) < _SHORTEST_IDLE:
            yield ("idle",), f"must be {_SHORTEST_IDLE}s at least: notebooks would end while people read"

    @rule
    def _idle_within_the_lifetime(self, facts: Facts) -> Findings:
        if seconds(self.lifetime) <= seconds(self.idle):
            yield ("lifetime",), f"must exceed idle, which is {self.idle}"


def gpu_request(gpu: ProfileGpu, pool: NodePool) -> tuple[str, int]:
    """The resource that a notebook asks for in its pool, and how many of it: a share of a GPU is always one."""
    slices = shares(pool)
    own = f"{MIG_RESOURCE_PREFIX}{gpu.slice}"
    return (own if own in slices else next(iter(slices))), gpu.count or 1
