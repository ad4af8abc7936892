"""The commands of docs/troubleshooting.md, by the program that they run."""

from __future__ import annotations

import re
import shlex

from components.hub.inside.sections import PAGE
from rehearsal.machine.workspace import PROJECT

IN_NOTEBOOKS = ("nvidia-smi", "python -c", "python -m cProfile", "df", "du", "pip", "ls", "conda", "rm")
ON_MACHINES = ("journalctl", "timedatectl", "date", "curl")
IN_THE_PROJECT = ("python -m verify", "python -m reports", "make", "pulumi")
OF_AWS = ("aws",)
OF_THE_CLUSTER = ("kubectl", "helm")
KNOWN = (*IN_NOTEBOOKS, *ON_MACHINES, *IN_THE_PROJECT, *OF_AWS, *OF_THE_CLUSTER)
_PROGRAMS = {one.split()[0] for one in KNOWN}
_CODE = re.compile(r"`([^`]+)`")


def commands() -> list[str]:
    """Each once, as people would type it, with the page's placeholders."""
    text = (PROJECT / PAGE).read_text(encoding="utf-8")
    found = (" ".join(one.replace("\\|", "|").split()) for one in _CODE.findall(text))
    return list(dict.fromkeys(one for one in found if one.split()[0] in _PROGRAMS and " " in one))


def of(*beginnings: str) -> list[str]:
    """The commands that begin with one of these words."""
    return [one for one in commands() if kind_of(one) in beginnings]


def kind_of(command: str) -> str:
    """The longest of `KNOWN` that it begins with; empty if there is none."""
    found = (one for one in KNOWN if command == one or command.startswith((f"{one} ", f"{one}.")))
    return max(found, key=len, default="")


def words(command: str) -> list[str]:
    """What a shell makes of it."""
    return shlex.split(command)
