"""`python -m ci.outdated [--write]`: lists each pin with the newest version in its registry, security first.

The list says which registries did not answer. `--write` writes the digests of images to contracts/images.json, where
production reads them. Exit status 1 if a pin has an advisory, if a tag now names another image than the recorded one,
or if no registry answered. A newer version is not an error.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from contracts import eks

from . import actions, pins
from .pins import IMAGES, Pin
from .registries import Registries, Unreachable, is_newer, python_newest

# In the order of the list.
ADVISORY, MOVED, NEWER, OLD, NOT_ASKED, CURRENT = "ADVISORY", "MOVED", "newer", "old", "not asked", "current"
_ORDER = (ADVISORY, MOVED, NEWER, OLD, NOT_ASKED, CURRENT)
_AT_ONCE = 8
# Check facts that are older than half a year: prices, types, dates of support.
OLD_DAYS = 180

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answers of registries. An `Unreachable` in place of an answer is the reason why there is none."""

    newest: Mapping[Pin, str | Unreachable]
    digests: Mapping[Pin, str | Unreachable]
    advisories: Mapping[Pin, list[str]] | Unreachable


@dataclass(frozen=True, kw_only=True)
class Line:
    """A pin in the list."""

    status: str
    kind: str
    name: str
    pinned: str
    newest: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        versions = f"{self.pinned} -> {self.newest}" if self.newest and self.newest != self.pinned else self.pinned
        notes = f"  {'; '.join(self.notes)}" if self.notes else ""
        return f"{self.status:<9} {self.kind:<10} {self.name:<32} {versions}{notes}"


def ask(registries: Registries, wanted: Sequence[Pin]) -> Found:
    """Asks for all pins, some at a time."""
    leading = [pin for pin in wanted if not pin.chosen_by]
    packages = [pin for pin in leading if pin.kind == "python"]
    others = [pin for pin in leading if pin.kind != "python"]
    images = [pin for pin in wanted if pin.kind == "image"]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        advisories = pool.submit(_answer, lambda: registries.known_advisories(wanted))
        releases = pool.submit(_answer, lambda: python_newest(packages) if packages else {})
        newest = dict(zip(others, pool.map(lambda pin: _answer(lambda: registries.newest(pin)), others), strict=True))
        answers = pool.map(lambda pin: _answer(lambda: registries.image_digest(pin.reference)), images)
        digests = dict(zip(images, answers, strict=True))
    served = releases.result()
    for pin in packages:
        newest[pin] = served if isinstance(served, Unreachable) else served.get(pin.name, Unreachable("not served"))
    return Found(newest=newest, digests=digests, advisories=advisories.result())


def lines(wanted: Sequence[Pin], found: Found, recorded: Mapping[str, str]) -> list[Line]:
    """The pins, those with an advisory first. `recorded` are the digests of contracts, by the image with its tag."""
    versions = {f"{pin.kind} {pin.name}": pin.version for pin in wanted}
    advisories = {} if isinstance(found.advisories, Unreachable) else found.advisories
    listed = []
    for pin in wanted:
        known = advisories.get(pin, [])
        if pin.kind == "python" and pin.chosen_by and not known:
            continue
        listed.append(_line(pin, found, known, recorded.get(pin.reference), versions.get(pin.chosen_by)))
    if isinstance(found.advisories, Unreachable):
        listed.append(
            Line(status=NOT_ASKED, kind="advisories", name="of all pins", pinned="", notes=(str(found.advisories),))
        )
    return sorted(listed, key=lambda line: _ORDER.index(line.status))


def contract_lines(dates: Mapping[str, datetime.date], today: datetime.date) -> list[Line]:
    """The files of contracts, with the date on which their facts were looked up."""
    return [
        Line(
            status=OLD if (today - day).days > OLD_DAYS else CURRENT,
            kind="contract",
            name=name,
            pinned=str(day),
            notes=(f"{(today - day).days} days",),
        )
        for name, day in dates.items()
    ]


def written(text: str, digests: Mapping[str, str], used: Iterable[str], today: datetime.date) -> str:
    """The text of contracts/images.json with these digests, by image and tag, without those that nothing uses."""
    document = json.loads(text)
    known = {tag: item for tag, item in document["digests"].items() if tag in set(used)}
    for tag, digest in digests.items():
        if known.get(tag, {}).get("digest") != digest:
            known[tag] = {"digest": digest, "source": f"the registry, {today}"}
    document["digests"] = dict(sorted(known.items()))
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def verdict(listed: Sequence[Line], found: Found) -> str | None:
    """Why a person must look at the list, or None; see the module."""
    answers = [*found.newest.values(), *found.digests.values(), found.advisories]
    if all(isinstance(answer, Unreachable) for answer in answers):
        return "Nothing was checked: no registry answered."
    if any(line.status in (ADVISORY, MOVED) for line in listed):
        return f"First check the pins with {ADVISORY} or {MOVED}, above."
    return None


def main(arguments: Sequence[str] | None = None, registries: Registries | None = None, file: Path = IMAGES) -> int:
    """Lists all pins. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ci.outdated", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the digests of images to contracts/images.json")
    given = parser.parse_args(arguments)
    wanted, today = pins.all_pins(), eks.today()
    found = ask(registries or Registries(), wanted)
    recorded = {tag: item["digest"] for tag, item in json.loads(file.read_text(encoding="utf-8"))["digests"].items()}
    listed = [*lines(wanted, found, recorded), *contract_lines(pins.contract_dates(), today)]
    wrong = verdict(listed, found)
    text = "\n".join([*map(str, listed), *([wrong] if wrong else [])])
    print(text, flush=True)
    if "GITHUB_STEP_SUMMARY" in os.environ:
        actions.summary(actions.fenced(text))
    if given.write:
        answered = {pin.reference: item for pin, item in found.digests.items() if isinstance(item, str)}
        used = [pin.reference for pin in found.digests]
        file.write_text(written(file.read_text(encoding="utf-8"), answered, used, today), encoding="utf-8")
        print(f"{file.name}: {len(answered)} of {len(used)} images: digest found")
    return int(wrong is not None)


def _line(pin: Pin, found: Found, known: Sequence[str], recorded: str | None, chosen: str | None) -> Line:
    """`chosen` is the version of the pin that this one comes with, if both have the same versions."""
    notes, status, newest = list(known), CURRENT, ""
    answer = chosen if pin.kind == "test tool" else found.newest.get(pin)
    digest = found.digests.get(pin)
    if isinstance(answer, Unreachable):
        status, notes = NOT_ASKED, [*notes, str(answer)]
    elif answer is not None and is_newer(answer, pin.version):
        status, newest = NEWER, answer
    if pin.chosen_by:
        notes.append(f"comes with {pin.chosen_by}")
    if isinstance(digest, Unreachable):
        status = NOT_ASKED if status == CURRENT else status
        if digest is not answer and str(digest) != str(answer):
            notes.append(f"its digest: {digest}")
    elif digest is not None and recorded is not None and digest != recorded:
        status, notes = MOVED, [*notes, f"the tag was {recorded} and is {digest}"]
    if pin.kind == "image" and recorded is None:
        notes.append("no digest recorded: make outdated WRITE=1")
    return Line(
        status=ADVISORY if known else status,
        kind=pin.kind,
        name=pin.name,
        pinned=pin.version,
        newest=newest,
        notes=tuple(notes),
    )


def _answer(question: Callable[[], Answer]) -> Answer | Unreachable:
    try:
        return question()
    except Unreachable as why:
        return why


if __name__ == "__main__":
    sys.exit(main())
