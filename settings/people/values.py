"""The kinds of values that parts of the identity section share: e-mail addresses, groups, server addresses."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from settings.language.section import nearest
from settings.language.values import Check, matching
from settings.people.names import ROLES, TEAM_PATTERN

USER_NAME = r"[a-z0-9][a-z0-9._@-]{0,62}"
_HOST = r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?"

_EMAIL = r"[A-Za-z0-9._+-]+@" + _HOST.replace("a-z", "A-Za-z")


def _role(name: str) -> str:
    if name not in ROLES:
        near = nearest(name, ROLES)
        hint = f': did you mean "{near}"?' if near else f": known are {', '.join(ROLES)}"
        raise ValueError(f"is not a role of the realm{hint}")
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


def _administrator(name: str) -> str:
    if name.startswith("/"):
        return _group(name)
    if not re.fullmatch(_EMAIL if "@" in name else USER_NAME, name):
        raise ValueError(
            "must be an e-mail address such as ada@example.com, a user name such as ada, or a group such as"
            " /research/administrator"
        )
    return name


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


Email = Annotated[str, matching(_EMAIL, "an e-mail address such as ada@example.com")]
"""An e-mail address."""

UserName = Annotated[str, matching(USER_NAME, "lower-case letters, digits and . _ @ -")]
"""The user name of an account."""

Administrator = Annotated[str, Check(_administrator)]
"""Who administers the platform: an e-mail address, a user name, or the group of a team's role."""

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
