"""Lists what is pinned, and where. `ci.outdated` compares the list with registries."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import contracts
from components.images import CHART_IMAGES, chart_images
from rehearsal.machine import java_tools
from rehearsal.machine.tools import LANGUAGE_HOST
from settings.pools.nodes import DEFAULT_AMI_ALIAS

PROJECT = Path(__file__).resolve().parent.parent
IMAGES = PROJECT / "contracts" / "images.json"
KEYCLOAK = "keycloak"
POSTGRES = "postgresql"

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
_REQUIRED = re.compile(r"^require (\S+) (v\S+)$", re.MULTILINE)
_ACTION = re.compile(r"uses: ([\w.-]+/[\w.-]+)\S*@[0-9a-f]{40} # (v\S+)")
# The parts of Keycloak's server, as advisories name them.
_KEYCLOAK_PARTS = ("keycloak-services", "keycloak-quarkus-server", "keycloak-core")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """Something that is pinned to a version. The version of an image is its tag.

    `repository` is the source of a chart or an image, the module of a Go tool, the project of an action. `advisories`
    are its packages, (ecosystem, name), in advisories. `chosen_by` names the pin that it comes with; only the digest of
    such a pin is read. `line` is how a newer version must begin.
    """

    kind: str
    name: str
    version: str
    repository: str = ""
    advisories: tuple[tuple[str, str], ...] = ()
    chosen_by: str = ""
    line: str = ""

    @property
    def reference(self) -> str:
        """The image with its tag."""
        return f"{self.repository}:{self.version}"


def all_pins(project: Path = PROJECT) -> list[Pin]:
    """Every pin of the project."""
    return [*charts(), *images(), *python(project), *go_tools(project), *actions(project), *node_images(project)]


def charts() -> Iterator[Pin]:
    """The charts that have a contract."""
    for path in sorted((PROJECT / "contracts" / "charts").glob("*.json")):
        chart = contracts.chart(path.stem)
        yield Pin(kind="chart", name=chart.name, version=chart.version, repository=chart.repository)


def images() -> Iterator[Pin]:
    """The images that the platform chooses, and those of its charts."""
    own = contracts.image_pins()
    for name, reference in own.items():
        repository, _, tag = reference.rpartition(":")
        parts = tuple(("Maven", f"org.keycloak:{part}") for part in _KEYCLOAK_PARTS) if name == KEYCLOAK else ()
        # A database stays at its major version: another one cannot read its files.
        line = f"{tag.partition('.')[0]}." if name == POSTGRES else ""
        yield Pin(kind="image", name=name, version=tag, repository=repository, advisories=parts, line=line)
    seen = set(own.values())
    for chart in CHART_IMAGES:
        for reference in chart_images(chart).values():
            if reference not in seen:
                seen.add(reference)
                repository, _, tag = reference.rpartition(":")
                name = repository.rpartition("/")[2]
                yield Pin(kind="image", name=name, version=tag, repository=repository, chosen_by=f"chart {chart}")
    yield Pin(kind="test tool", name=KEYCLOAK, version=java_tools.KEYCLOAK, chosen_by=f"image {KEYCLOAK}")


def python(project: Path) -> Iterator[Pin]:
    """Every package in the lock file. A package that only others need comes with them."""
    required = set(requirements(project))
    for found in _LOCKED.finditer((project / "requirements-dev.txt").read_text(encoding="utf-8")):
        name = canonicalize_name(found[1])
        chosen_by = "" if name in required else "other packages"
        yield Pin(kind="python", name=name, version=found[2], advisories=(("PyPI", name),), chosen_by=chosen_by)


def requirements(project: Path) -> Iterator[str]:
    """The packages that pyproject.toml names."""
    document = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    for group in (document["project"]["dependencies"], *document["dependency-groups"].values()):
        yield from (canonicalize_name(Requirement(item).name) for item in group)


def go_tools(project: Path) -> Iterator[Pin]:
    """The programs that rehearsals run, such as Pulumi's engine."""
    for path in sorted(project.glob("tools/*/go.mod")):
        found = _REQUIRED.search(path.read_text(encoding="utf-8"))
        if found:
            name, module = path.parent.name, (("Go", found[1]),)
            # There is one Kubernetes for each version that clusters can have. Later versions of the language host's
            # module do not have the host.
            stays = "-1." in name or name == LANGUAGE_HOST.name
            line = f"{found[2].rpartition('.')[0]}." if stays else ""
            yield Pin(kind="go", name=name, version=found[2], repository=found[1], advisories=module, line=line)


def actions(project: Path) -> Iterator[Pin]:
    """The actions of the workflows."""
    files = [*project.glob(".github/workflows/*.yml"), *project.glob(".github/actions/*/action.yml")]
    used = dict(pair for path in sorted(files) for pair in _ACTION.findall(path.read_text(encoding="utf-8")))
    for action, version in sorted(used.items()):
        advisories = (("GitHub Actions", action),)
        yield Pin(kind="action", name=action, version=version, repository=action, advisories=advisories)


def node_images(project: Path) -> Iterator[Pin]:
    """The machine images of nodes: the default, and those in the project's stack files."""
    aliases = {DEFAULT_AMI_ALIAS}
    for path in sorted(project.glob("Pulumi.*.yaml")):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))["config"]
        pools = config.get("gpulab:nodePools") or {}
        aliases |= {pool["ami"]["alias"] for pool in pools.values() if "ami" in pool}
    projects = {"al2023": "awslabs/amazon-eks-ami", "bottlerocket": "bottlerocket-os/bottlerocket"}
    for alias in sorted(aliases):
        family, _, version = alias.partition("@")
        yield Pin(kind="node image", name=family, version=version, repository=projects[family])


def contract_dates() -> Mapping[str, date]:
    """The date on which the facts of contracts were looked up, by file, and by part if each part has a date."""
    found = {}
    for path in sorted((PROJECT / "contracts").rglob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        parts = {f" ({name})": part for name, part in document.items() if isinstance(part, dict) and "source" in part}
        for name, part in {"": document, **parts}.items():
            if isinstance(part.get("date"), str):
                found[f"{path.relative_to(PROJECT)}{name}"] = date.fromisoformat(part["date"])
    return found
