"""README, CONTRIBUTING and docs: examples are valid stack files, links lead somewhere, the README stays short."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from components.hub.inside.sections import PAGE, Section
from rehearsal.machine.workspace import PROJECT

DOCS = PROJECT / "docs"
PAGES = sorted(PROJECT.glob("*.md")) + sorted(DOCS.rglob("*.md"))
CODE = ("bootstrap", "ci", "components", "policies", "rehearsal", "reports", "settings", "verify")
# Comments quote the documentation of the EBS and EFS CSI drivers and of the VPC CNI.
PAGES_OF_DRIVERS = {"parameters.md", "install.md", "tagging.md", "eni-and-ip-target.md", "prefix-and-ip-target.md"}
STACK_FILES = sorted((*PROJECT.glob("Pulumi.*.yaml"), *PROJECT.glob("examples/*.yaml")))
STACK_FILE_PAGES = ("stack-file", "storage", "ingress", "sign-in", "teams", "profiles")
_TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
_EXAMPLE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
_FENCE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NAMED = re.compile(r"(?<![\w/.-])docs/((?:[a-z-]+/)?[a-z0-9-]+\.md)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def examples(page: Path) -> list[dict[str, Any]]:
    """The sections of each example in turn, by their keys."""
    found = _EXAMPLE.findall(page.read_text(encoding="utf-8"))
    return [(document := yaml.safe_load(one)).get("config", document) for one in found]


def check(config: dict[str, Any], folder: Path) -> None:
    stack_file = folder / "Pulumi.lab.yaml"
    stack_file.write_text(yaml.safe_dump({"config": config}), encoding="utf-8")
    settings.check_stack_file(stack_file, stack="lab", today=datetime.date(2026, 9, 1))


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page: lower case, spaces as hyphens, punctuation dropped."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_has_at_most_200_lines() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_the_example_of_the_readme_is_a_valid_stack_file(tmp_path: Path) -> None:
    (config,) = examples(PROJECT / "README.md")
    check(config, tmp_path)


def test_the_examples_of_docs_are_one_valid_stack_file(tmp_path: Path) -> None:
    found = [one for name in STACK_FILE_PAGES for one in examples(DOCS / f"{name}.md")]
    sections = [key for one in found for key in one]
    assert len(sections) == len(set(sections)), "each section has one example"
    assert {"gpulab:nodePools", "gpulab:storage", "gpulab:ingress", "gpulab:identity", "gpulab:teams"} <= set(sections)
    check({key: value for one in found for key, value in one.items()}, tmp_path)


def test_the_examples_of_existing_clusters_are_one_valid_stack_file(tmp_path: Path) -> None:
    found = [section for one in examples(DOCS / "existing-clusters.md") for section in one.items()]
    assert len({key for key, _ in found}) == len(found), "each section has one example"
    assert {"gpulab:ground", "gpulab:nodePools", "gpulab:gpu", "gpulab:storage", "gpulab:ingress"} <= {*dict(found)}
    check(dict(found), tmp_path)


def test_the_page_on_guardrails_has_the_number_of_policies() -> None:
    policies = re.findall(r"^### ", (DOCS / "policies.md").read_text(encoding="utf-8"), re.MULTILINE)
    text = (DOCS / "guardrails.md").read_text(encoding="utf-8")
    assert re.findall(r"(\d+) policies on taints", text) == [str(len(policies))]


def test_the_index_of_docs_names_every_page() -> None:
    linked = set(_LINK.findall((DOCS / "README.md").read_text(encoding="utf-8")))
    assert {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_each_section_that_a_failure_names_is_on_the_page() -> None:
    assert {str(section) for section in Section} <= anchors(PROJECT / PAGE)


def test_the_tables_of_contributing_name_only_paths_that_exist() -> None:
    rows = re.findall(r"^\|.*$", (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    paths = {path for row in rows for path in re.findall(r"`([a-z.][\w./-]*/[\w./-]*)`", row)}
    assert len(paths) > 40
    assert sorted(path for path in paths if not (PROJECT / path).exists()) == []


def test_the_drawing_of_the_architecture_has_every_folder_of_components() -> None:
    drawing = (DOCS / "architecture.svg").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (PROJECT / "components").glob("*/__init__.py")}
    assert sorted(name for name in folders if f">{name}/<" not in drawing) == []


def test_messages_and_stack_files_name_only_pages_that_exist() -> None:
    files = [*STACK_FILES, *(path for name in CODE for path in (PROJECT / name).rglob("*.py"))]
    named = {page for path in files for page in _NAMED.findall(path.read_text(encoding="utf-8"))}
    assert sorted(page for page in named - PAGES_OF_DRIVERS if not (DOCS / page).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_a_table_has_no_row_of_more_or_fewer_cells_than_its_head(page: Path) -> None:
    """GitHub drops what is too much, and a `|` separates cells even in code, unless a backslash is before it."""
    for table in _TABLE.findall(page.read_text(encoding="utf-8")):
        head, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in table.splitlines())
        assert [row for row in rows if len(row) != len(head)] == []
