"""`python -m reports.architecture STACK`: an SVG of a stack's components and their main resources.

The source is the stack's state. For a stack that does not exist yet, `--from FILE` takes a preview.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from policies.cost import BILLED
from policies.data import is_stateful
from policies.reading.resources import at

from .drawing import Box, svg
from .preview_output import name_of
from .report_source import PreviewError, parser_of, text_or_state, write
from .resources import Resource, resources_of

OK, UNREADABLE = 0, 2
# A component's box names this many kinds of resources, and only counts the rest.
_LINES = 7
# Resources that only connect others.
_GLUE = re.compile(
    r"(Association|Attachment|Policy|Tag|Target|Rule|Patch|Validation|Record|Route|Alias|AccessEntry|Selection)$"
)


def picture(resources: Sequence[Resource], stack: str) -> str:
    """The SVG. Raises PreviewError if there is nothing to draw."""
    if not resources:
        raise PreviewError(f"{stack}: has no resources. Draw it from a preview (--from), or after `pulumi up`")
    by_parent: dict[str, list[Resource]] = {}
    urns = {item.urn for item in resources}
    for item in resources:
        by_parent.setdefault(item.parent if item.parent in urns else "", []).append(item)
    roots = by_parent.get("", [])
    title = f"Stack {stack}: {len(resources)} resources"
    if len(roots) == 1 and not roots[0].custom:
        root = _component(roots[0], by_parent, top=True)
        root.title = f"{root.title} {name_of(roots[0].urn)}: stack {stack}, {len(resources)} resources"
    else:
        boxes = [_component(item, by_parent) for item in roots if not item.custom]
        others = [item for item in roots if item.custom]
        root = Box(title=title, lines=_lines(others), inside=boxes, colour="outer")
    return svg(root, title)


def _component(component: Resource, by_parent: Mapping[str, Sequence[Resource]], *, top: bool = False) -> Box:
    return _alike([component], by_parent, top=top)


def _alike(components: Sequence[Resource], by_parent: Mapping[str, Sequence[Resource]], *, top: bool = False) -> Box:
    """The box of a component, or one box for several of one type, because their contents are much the same."""
    children = [item for component in components for item in by_parent.get(component.urn, [])]
    inner = [item for item in children if not item.custom]
    own = [item for item in children if item.custom]
    for item in own:  # a resource may have children too
        own = [*own, *by_parent.get(item.urn, [])]
    # A component of a provider, or a small one, gets no box: its resources are listed in the box around it.
    small = [item for item in inner if _is_small(item, components[0], by_parent)]
    for item in small:
        own += _all_resources(item, by_parent)
    by_type: dict[str, list[Resource]] = {}
    for item in inner:
        if item not in small:
            by_type.setdefault(item.type, []).append(item)
    boxes = [_alike(found, by_parent) for found in by_type.values()]
    title = _words(components[0].type) + (f" ({len(components)})" if len(components) > 1 else "")
    return Box(title=title, lines=_lines(own), inside=boxes, colour="outer" if top else _colour(own))


def _is_small(item: Resource, parent: Resource, by_parent: Mapping[str, Sequence[Resource]]) -> bool:
    foreign = item.type.partition(":")[0] != parent.type.partition(":")[0]
    return foreign or not _all_resources(item, by_parent)


def _all_resources(component: Resource, by_parent: Mapping[str, Sequence[Resource]]) -> list[Resource]:
    found = []
    for item in by_parent.get(component.urn, []):
        found += [item] if item.custom else []
        found += _all_resources(item, by_parent)
    return found


def _lines(resources: Sequence[Resource]) -> list[str]:
    """What a component has: the main things first, by name where there are few of a kind."""
    groups: dict[str, list[Resource]] = {}
    for item in resources:
        if not item.type.startswith("pulumi:"):
            groups.setdefault(item.type, []).append(item)
    main = {type_: found for type_, found in groups.items() if not _GLUE.search(type_)}
    ordered = sorted(main, key=lambda type_: (not is_stateful(type_), type_ not in BILLED, _kind(type_)))
    lines = [_line(type_, main[type_]) for type_ in ordered[:_LINES]]
    rest = sum(len(main[type_]) for type_ in ordered[_LINES:]) + sum(
        len(found) for type_, found in groups.items() if type_ not in main
    )
    return [*lines, f"and {rest} more resources" if lines else f"{rest} resources"] if rest else lines


def _line(type_: str, found: Sequence[Resource]) -> str:
    kind = _words(type_)
    said = sorted(filter(None, Counter(map(_about, found))))
    shown = f": {', '.join(said[:3])}{' …' if len(said) > 3 else ''}" if said else ""
    return f"{kind} ({len(found)}){shown}" if len(found) > 1 else f"{kind}{shown}"


_ABBREVIATIONS = {
    "Csi": "CSI", "Db": "DB", "Eip": "Elastic IP", "Gpu": "GPU", "Nat": "NAT", "Rds": "RDS", "Vpc": "VPC",
}  # fmt: skip
# Properties that distinguish a resource from others of its type.
_DISTINGUISHING = ("chart", "instanceClass", "addonName", "version", "cidrBlock", "domainName", "metadata.name")


def _about(item: Resource) -> str:
    if item.type.endswith("NodeGroup"):
        sizes = at(item.inputs, "scalingConfig.desiredSize")
        types = at(item.inputs, "instanceTypes", [])
        return f"{sizes} {types[0]}" if sizes and isinstance(types, list) and types else ""
    for key in _DISTINGUISHING:
        found = at(item.inputs, key)
        if key == "chart" and isinstance(found, str):
            return found.rpartition("/")[2]
        if isinstance(found, str) and "-" * 4 not in found and len(found) <= 32 and not _is_id(found):
            return found
    return ""


def _is_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f-]{36}", text) is not None


def _kind(type_: str) -> str:
    return type_.rpartition(":")[2]


def _words(type_: str) -> str:
    """A type in words. Kubernetes kinds stay as they are."""
    kind = _kind(type_)
    if type_.startswith("kubernetes:"):
        return kind
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).split()
    return " ".join(_ABBREVIATIONS.get(word, word if not number else word.lower()) for number, word in enumerate(words))


def _colour(resources: Sequence[Resource]) -> str:
    types = {item.type for item in resources}
    kinds = {_kind(type_) for type_ in types}
    if any(type_.startswith("aws:eks/cluster:") for type_ in types):
        return "cluster"
    if any(is_stateful(type_) for type_ in types - {"aws:kms/key:Key"}):
        return "data"
    if "NodePool" in kinds:
        return "machines"
    return "component"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; the SVG goes to standard output, or to a file."""
    parser = parser_of(
        "architecture",
        "Draws a stack's components and their main resources.",
        reads="a state (pulumi stack export) or a preview (--json) of it; - is stdin (default: the state, by pulumi)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the SVG to FILE")
    options = parser.parse_args(arguments)
    try:
        text = text_or_state(options.source, options.stack)
        drawing = picture(resources_of(text, options.stack), options.stack)
        if options.output:
            write(options.output, drawing)
    except PreviewError as error:
        print(error, file=sys.stderr)
        return UNREADABLE
    if not options.output:
        sys.stdout.write(drawing)
    return OK


if __name__ == "__main__":
    sys.exit(main())
