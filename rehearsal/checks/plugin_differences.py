"""How the state that the real aws plugin wrote differs from what the stand-in reads of the same resources.

    python -m rehearsal.checks.plugin_differences < RESOURCES.json > DIFFERENCES.json

reads both from the AWS at `AWS_ENDPOINT_URL`. RESOURCES are those of a state, as in `pulumi stack export`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from rehearsal.providers.aws.base import AwsResource
from rehearsal.providers.aws.provider import AwsProvider
from rehearsal.providers.protocol.model import Request

_PROJECT = Path(__file__).resolve().parents[2]
# The key by which the engine marks a secret in a state.
_SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105 - it opens nothing
# The plugin says nothing in one of these ways, and the stand-in perhaps in another.
_NOTHING = (None, "", [], {}, False, 0)


@dataclass(frozen=True)
class Difference:
    """A property that the plugin and the stand-in report differently, with the values of the first such resource.

    `property` is empty where the stand-in could not read the resource; then `stand_in` is the error.
    """

    type: str
    property: str
    plugin: Any
    stand_in: Any
    resources: int


def differences(resources: Iterable[Mapping[str, Any]], provider: AwsProvider) -> list[Difference]:
    """The differences by type and property. Secrets are not compared."""
    found: dict[tuple[str, str], Difference] = {}
    for resource in resources:
        if not resource["type"].startswith("aws:"):
            continue
        for name, plugin, stand_in in _of_one(resource, provider):
            first = found.get((resource["type"], name), Difference(resource["type"], name, plugin, stand_in, 0))
            counted = Difference(first.type, name, first.plugin, first.stand_in, first.resources + 1)
            found[resource["type"], name] = counted
    return [found[key] for key in sorted(found)]


def _of_one(resource: Mapping[str, Any], provider: AwsProvider) -> Iterator[tuple[str, Any, Any]]:
    inputs, outputs = _plain(resource.get("inputs", {})), _plain(resource.get("outputs", {}))
    tags = outputs.get("tags") or {}
    provider.default_tags = {key: tag for key, tag in (outputs.get("tagsAll") or {}).items() if key not in tags}
    try:
        kind = cast("AwsResource", provider.resource_type(resource["type"]))
        read = kind.read(resource["id"], inputs, inputs, Request(urn=resource["urn"], provider=provider))
    except Exception as error:  # whatever it is, it is a finding, and the other resources are compared
        yield "", None, str(error)
        return
    if read is None:
        yield "", None, "does not exist"
        return
    # In the plugin's outputs every id is a property too.
    names = (outputs.keys() | read[1].keys()) - {"id"}
    for name in sorted(names):
        plugin, stand_in = outputs.get(name), read[1].get(name)
        same = plugin == stand_in or (plugin in _NOTHING and stand_in in _NOTHING)
        if not same and not _is_secret(plugin) and not kind.same(name, plugin, stand_in):
            yield name, plugin, stand_in


def _plain(value: Any) -> Any:
    """Without what the plugin keeps for itself (`__defaults`, `__meta`), at any depth."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if not name.startswith("__")}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _is_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return _SECRET in value or any(map(_is_secret, value.values()))
    return isinstance(value, list) and any(map(_is_secret, value))


def compared(resources: list[dict[str, Any]], environment: Mapping[str, str], region: str) -> list[dict[str, Any]]:
    """The differences as in a report, by a process that has the `environment` of the rehearsal."""
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        env={**environment, "PYTHONPATH": str(_PROJECT), "AWS_REGION": region},
        input=json.dumps(resources),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def main() -> None:
    """Reads resources, writes differences."""
    found = differences(json.load(sys.stdin), AwsProvider())
    json.dump([asdict(one) for one in found], sys.stdout)


if __name__ == "__main__":
    main()
