"""Quantities of Kubernetes: `500m` of CPU, `8Gi` of memory, `2` GPUs."""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("0.001"), "": Decimal(1)} | {
    f"{letter}{binary}": Decimal(1024 if binary else 1000) ** power
    for power, letter in enumerate("kMGTPE", start=1)
    for binary in ("", "i")
}
_SUFFIXES["Ki"] = _SUFFIXES.pop("ki")
# Kubernetes API, apimachinery, `resource.Quantity`: a number, then a suffix or an exponent.
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?")
_GIB = 1024**3
_OF_BYTES = {"memory": "memory", "storage": "disks", "ephemeral-storage": "scratch"}


def amount(text: str) -> Decimal:
    """The number of a quantity, in bytes for memory. Raises ValueError."""
    found = _QUANTITY.fullmatch(str(text))
    if not found:
        raise ValueError(f"{text!r} is not a quantity of Kubernetes, such as 500m or 8Gi")
    number, suffix, exponent = found.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""])


def words(resource: str, number: Decimal) -> str:
    """An amount of a resource as people say it: `2 GPUs`, `0.5 vCPU`, `12 GiB of memory`."""
    if resource in _OF_BYTES:
        return f"{number / _GIB:.4g} GiB of {_OF_BYTES[resource]}"
    if resource == "pods":
        return f"{number.normalize():f} {'notebook' if number == 1 else 'notebooks'}"
    return f"{number.normalize():f} {names_of(resource, plural=number != 1)}"


def names_of(resource: str, *, plural: bool = True) -> str:
    """What people call a resource: `nvidia.com/gpu` is a GPU, `nvidia.com/mig-1g.5gb` a slice of it."""
    if resource in _OF_BYTES:
        return _OF_BYTES[resource]
    if resource == "cpu":
        return "vCPU"
    if resource == "pods":
        return "notebooks" if plural else "notebook"
    name = resource.rpartition("/")[2]
    if name == "gpu":
        return "GPUs" if plural else "GPU"
    kind = "shared GPUs" if name == "gpu.shared" else f"slices {name.removeprefix('mig-')}"
    return kind if plural else kind.replace("GPUs", "GPU").replace("slices", "slice")
