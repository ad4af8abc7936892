"""The kinds of values that the identity section's parts share: e-mail addresses, teams, groups, server addresses."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from settings.section import nearest
from settings.team_names import ROLES, TEAM_PATTERN
from settings.values import Check, matching

_HOST = r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?"


def _role(name: str) -> str:
    if name not in ROLES:
        near = nearest(name, ROLES)
        hint = f': did you mean "{near}"?' if near else f": known are {', '.join(ROLES)}"
        raise ValueError(f"is no role of the realm{hint}")
    return name


def _group(path: str) -> str:
    parts = path.split("/")
    if len(parts) != 3 or parts[0] or not re.fullmatch(TEAM_PATTERN, parts[1]):
        raise ValueError("must be the group of a team's role, /TEAM/ROLE, such as /research/data-scientist")
    try:
        _role(parts[2])
    except ValueError as error:
        raise ValueError(f"{parts[2]} {error}") from None
    return path


def https_url(url: str) -> str:
    """An address that begins with https:// and names a host; for `Check`."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("must hold no user name or password")
    if parts.scheme != "https" or not parts.hostname or any(map(str.isspace, url)):
        raise ValueError("must be an address that begins with https://")
    return url


def team_of(group: str) -> str:
    """The team of a group's path."""
    return group.split("/")[1]


Email = Annotated[
    str, matching(r"[A-Za-z0-9._+-]+@" + _HOST.replace("a-z", "A-Za-z"), "an e-mail address such as ada@example.com")
]
"""An e-mail address."""

Domain = Annotated[
    str, matching(_HOST, "a DNS name in lower case with a dot at least, such as lab.example.com, without a scheme")
]
"""A DNS domain."""

HostName = Annotated[str, matching(_HOST, "the name of a host, such as smtp.example.com")]
"""A host's full name."""

Role = Annotated[str, Check(_role, {"enum": list(ROLES)})]
"""One of the realm's roles."""

GroupPath = Annotated[str, Check(_group, {"pattern": f"^/{TEAM_PATTERN}/({'|'.join(ROLES)})$"})]
"""The path of a team's role group, `/TEAM/ROLE`."""

HttpsUrl = Annotated[str, Check(https_url, {"pattern": "^https://"})]
"""An address over TLS."""
