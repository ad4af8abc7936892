"""What verify makes of a notebook's answers: each function gives words for what holds, or raises Untried or Wrong."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from .pod import SHARED_MEMORY, UID
from .sections import Section

NAMES = ("kubernetes.default.svc",)
"""What each notebook must find."""
MOST_SECONDS_APART = 60
_MIB, _GIB = 1024**2, 1024**3
# With less than this a folder is full.
_LEAST_FREE = 100 * _MIB
_MIG = "nvidia.com/mig-"


class Untried(Exception):
    """What says nothing of this notebook; its text says why."""


class Wrong(Exception):
    """What does not hold in a notebook. `section` helps; `said` quotes a program."""

    def __init__(self, what: str, section: Section, said: str = "") -> None:
        super().__init__(what)
        self.section = section
        self.said = said


def takes_files(path: str, found: Any) -> str:
    """A folder took a file and gave it back."""
    if found.get("error") in ("ENOSPC", "EDQUOT"):
        raise Wrong(f"{path} is full", Section.DISK_FULL, found["said"])
    if found.get("error"):
        raise Wrong(f"{path} takes no files", Section.STORAGE, found["said"])
    if not found["same"]:
        raise Wrong(f"a file in {path} was read with other content than was written", Section.STORAGE)
    if found["free"] < _LEAST_FREE:
        raise Wrong(f"{path} has {found['free'] / _MIB:.0f} MiB left", Section.DISK_FULL)
    return f"{found['free'] / _GIB:.1f} GiB free"


def is_read_only(path: str, found: Any) -> str:
    """A folder refused a file, and for that reason."""
    if not found.get("error"):
        raise Wrong(f"{path} takes files; the team's notebooks should only read there", Section.STORAGE)
    if found["error"] not in ("EROFS", "EACCES", "EPERM"):
        raise Wrong(f"{path} can't be tried", Section.STORAGE, found["said"])
    return found["said"]


def has_size(found: Any, wanted: Decimal) -> str:
    """Shared memory has as many bytes as the profile says."""
    takes_files(SHARED_MEMORY, found)
    has = f"{found['size'] / _MIB:.0f} MiB"
    # The kernel counts in pages.
    if found["size"] < wanted - _MIB:
        raise Wrong(f"{SHARED_MEMORY} has {has}, the profile says {wanted / _MIB:.0f} MiB", Section.SHARED_MEMORY)
    return has


def is_ordinary(found: Any) -> str:
    """Its processes are those of an ordinary user."""
    rights = {
        f"they run as user {found['uid']}, not {UID}": found["uid"] != UID,
        "they have capabilities": found["capabilities"],
        "they may gain privileges": found["mayGainPrivileges"],
        "they have a token of the cluster": found["hasClusterToken"],
    }
    if wrong := [what for what, holds in rights.items() if holds]:
        raise Wrong("; ".join(wrong), Section.ISOLATION)
    return f"user {UID}"


def is_now(found: Any) -> str:
    """Its clock goes as the one here."""
    apart = found - time.time()
    if abs(apart) > MOST_SECONDS_APART:
        raise Wrong(f"the node's clock is {apart:+.0f} s from the one here", Section.CLOCK)
    return f"{apart:+.0f} s"


def finds(found: Any) -> str:
    """It finds each of `NAMES`."""
    if said := "\n".join(filter(None, found)):
        raise Wrong(f"{', '.join(NAMES)} is not found", Section.DNS, said)
    return ", ".join(NAMES)


def is_closed(found: Any, what: str) -> str:
    """None of these places answered."""
    if not found:
        raise Untried(f"the notebook does not know where {what} is")
    if any(found):
        raise Wrong(f"the notebook reaches {what}", Section.ISOLATION)
    return "no answer"


def limit_is(found: Any, wanted: int) -> str:
    """Its memory limit is what the profile says, in bytes."""
    if found is None or abs(found - wanted) > _MIB:
        has = "no limit" if found is None else f"{found / _GIB:.2f} GiB"
        raise Wrong(f"the notebook has {has}, the profile says {wanted / _GIB:.2f} GiB", Section.MEMORY)
    return f"{found / _GIB:.2f} GiB"


def is_felt(found: Any) -> str:
    """No process got more than the limit."""
    if found["lived"]:
        raise Wrong("a process took more memory than the notebook may have", Section.MEMORY)
    return "a process that took more was killed" if found["killed"] else "a process that wanted more got none"


def shows_gpus(found: Any, resource: str, count: int) -> str:
    """nvidia-smi lists as many GPUs or slices as the profile has."""
    if found.get("error"):
        said = found.get("said", "")
        raise Wrong(found["error"], Section.DRIVER if "mismatch" in said else Section.NO_GPUS, said)
    slices = [one for one in found["gpus"] if one.startswith("MIG ")]
    if resource.startswith(_MIG):
        profile = resource.removeprefix(_MIG)
        if len(slices) != count or not all(profile in one for one in slices):
            raise Wrong(f"it should see {count} x {profile}", Section.NO_GPUS, "\n".join(found["gpus"]))
    elif not slices and len(found["gpus"]) != count:
        raise Wrong(f"it should see {count} GPUs and sees {len(found['gpus'])}", Section.NO_GPUS)
    kind = ", a share" if resource.endswith(".shared") else ""
    seen = "; ".join(one.partition(" (UUID")[0] for one in slices or found["gpus"])
    return f"{seen}{kind}; driver {found['driver']}, CUDA {found['cuda']}"


def torch_sees(found: Any, count: int) -> str:
    """PyTorch lists as many."""
    _has_it(found)
    if not found["gpus"]:
        said, driver = found["said"], found["driver"]
        newer = driver.get("cuda") and _version(found["cuda"] or "0") > _version(driver["cuda"])
        if newer or ("driver" in said and "too old" in said):
            text = f"PyTorch is for CUDA {found['cuda']}, the node's driver supports {driver.get('cuda')}"
            raise Wrong(text, Section.DRIVER, said)
        raise Wrong(f"PyTorch {found['version']} sees no GPU", Section.CUDA, said)
    if len(found["gpus"]) != count:
        raise Wrong(f"PyTorch should see {count} GPUs and sees {len(found['gpus'])}", Section.CUDA)
    return f"{', '.join(found['gpus'])}; PyTorch {found['version']} for CUDA {found['cuda']}"


def tensorflow_sees(found: Any, count: int) -> str:
    """TensorFlow lists as many."""
    _has_it(found)
    if len(found["gpus"]) != count:
        text = f"TensorFlow {found['version']} should see {count} GPUs and sees {len(found['gpus'])}"
        raise Wrong(text, Section.CUDA)
    return f"{len(found['gpus'])} by TensorFlow {found['version']}"


def is_faster(found: Any) -> str:
    """The GPU was faster than the CPU."""
    _has_it(found)
    times = found["cpu"] / found["gpu"]
    told = f"{found['cpu'] * 1000:.1f} ms on the CPU, {found['gpu'] * 1000:.1f} ms on the GPU: {times:.1f} times"
    if times <= 1:
        raise Wrong(f"the GPU is not faster: {told}", Section.CONTENTION)
    return told


def has_learned(found: Any) -> str:
    """The loss went down."""
    _has_it(found)
    told = f"100 steps in {found['seconds']:.2f} s, the loss from {found['first']:.3g} to {found['last']:.3g}"
    # Also where it is not a number.
    if not found["last"] < found["first"]:
        raise Wrong(f"it learned nothing: {told}", Section.PRECISION)
    return told


def is_freed(found: Any) -> str:
    """The memory that a tensor took is free again."""
    _has_it(found)
    took, kept = found["held"] - found["before"], found["after"] - found["before"]
    told = f"took {took / _MIB:.0f} MiB of {found['total'] / _MIB:.0f}, {max(kept, 0) / _MIB:.0f} MiB kept"
    if kept > found["wanted"] / 2:
        raise Wrong(f"memory was not freed: {told}", Section.GPU_MEMORY)
    return told


def sum_is_right(found: Any) -> str:
    """All GPUs took part in a sum."""
    _has_it(found)
    if found.get("error"):
        full = "No space left" in found["said"]
        raise Wrong(found["error"], Section.SHARED_MEMORY if full else Section.CUDA, found["said"])
    if not found["right"]:
        raise Wrong("NCCL gave a wrong sum", Section.CUDA)
    return f"64 MiB summed by NCCL in {found['seconds'] * 1000:.1f} ms"


def _has_it(found: Any) -> None:
    if "missing" in found:
        raise Untried(found["missing"])


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
