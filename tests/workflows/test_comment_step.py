"""The step that writes the comment: it replaces its earlier one, shows what matters, and has the right exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from step_bench import Bench

from ci import comment
from ci.preview import PREVIEWS
from reports.comment import MARKER
from reports.fitting import LIMIT

DATABASE = "aws:rds/instance:Instance"
BOT = {"login": "github-actions[bot]"}


def step(op: str, name: str, type_: str) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::gpulab::gpulab:index:Platform${type_}::{name}"
    state = {"urn": urn, "type": type_, "inputs": {"a": 1}, "parent": ""}
    old = {} if op == "create" else {"oldState": state}
    return {"op": op, "urn": urn, "newState": state, "detailedDiff": {"a": {"kind": "update"}}, **old}


def keep(stack: str, *steps: dict[str, Any], how: str = "previewed", said: str = "", written: bool = True) -> None:
    PREVIEWS.mkdir(exist_ok=True)
    if written:
        document = {"config": {"aws:region": "us-east-1"}, "steps": list(steps), "changeSummary": {}}
        (PREVIEWS / f"{stack}.json").write_text(json.dumps(document))
    (PREVIEWS / f"{stack}.outcome.json").write_text(json.dumps({"stack": stack, "how": how, "said": said}))


def describe(bench: Bench, text: str | None) -> None:
    """The pull request's current description."""
    bench.answer("gh", "api", "repos/example/gpulab/pulls/7", stdout=json.dumps({"body": text}))


@pytest.fixture(autouse=True)
def pull_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKS", '["dev"]')
    monkeypatch.setenv("PULL_REQUEST", "7")
    monkeypatch.delenv("ALLOW", raising=False)
    describe(bench, "")
    bench.answer("gh", "--paginate", stdout="[[]]")
    bench.answer("gh", "POST", stdout="{}")
    bench.answer("gh", "PATCH", stdout="{}")


def sent(bench: Bench) -> tuple[str, str]:
    """Where the comment went, and its text."""
    call = bench.calls("gh")[-1]
    path = next(one for one in call["arguments"] if one.startswith("repos/"))
    return path, json.loads(call["given"])["body"]


def test_the_first_comment_is_added(bench: Bench) -> None:
    keep("dev", step("update", "queue", "aws:sqs/queue:Queue"))
    assert comment.main() == 0
    path, text = sent(bench)
    assert path == "repos/example/gpulab/issues/7/comments"
    assert text.startswith(MARKER)
    assert "queue" in text
    assert text in bench.summary


def test_the_next_one_takes_its_place(bench: Bench) -> None:
    others = [
        {"id": 1, "body": "looks good", "user": BOT},
        {"id": 2, "body": f"{MARKER} quoted by somebody", "user": {"login": "ada"}},
    ]
    ours = [{"id": 3, "body": f"{MARKER}\n## Preview", "user": BOT}]
    bench.answer("gh", "--paginate", stdout=json.dumps([others, ours]))
    keep("dev")
    assert comment.main() == 0
    assert sent(bench)[0] == "repos/example/gpulab/issues/comments/3"
    assert sum("--method" in one["arguments"] for one in bench.calls("gh")) == 1


def test_a_database_that_would_be_replaced_stops_it_until_it_is_allowed_by_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keep("dev", step("replace", "keycloak", DATABASE))
    assert comment.main() == 1
    assert "keycloak" in sent(bench)[1]

    # What started the workflow stays as it was, when the step is run again after an edit.
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"body": ""}}))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    describe(bench, "A new key.\r\n\r\nAllow-Replace: keycloak\r\n")
    assert comment.main() == 0

    describe(bench, "Allow-Replace: another")
    assert comment.main() == 1
    describe(bench, None)
    event.write_text(json.dumps({"head_commit": {"message": "Rotate the key\n\nAllow-Replace: keycloak"}}))
    assert comment.main() == 0
    event.unlink()
    monkeypatch.delenv("GITHUB_EVENT_PATH")
    monkeypatch.setenv("ALLOW", "keycloak")
    assert comment.main() == 0


@pytest.mark.parametrize(
    "line",
    [
        "- Allow-Replace: keycloak",
        "* allow-replace: `keycloak`",
        "`Allow-Replace: keycloak`",
        "  Allow-Replace:keycloak ",
    ],
)
def test_a_name_may_be_set_as_people_set_text(bench: Bench, line: str) -> None:
    keep("dev", step("replace", "keycloak", DATABASE))
    describe(bench, line)
    assert comment.main() == 0


def test_what_looks_like_an_option_is_a_name(bench: Bench) -> None:
    keep("dev", step("replace", "keycloak", DATABASE))
    describe(bench, "Allow-Replace: -all")
    assert comment.main() == 1
    assert "keycloak" in sent(bench)[1]


def test_a_name_that_is_not_clear_hides_no_preview_and_no_other_name(bench: Bench) -> None:
    twins = [step("replace", "data", DATABASE), step("replace", "data", "aws:efs/fileSystem:FileSystem")]
    keep("dev", *twins, step("replace", "keycloak", DATABASE))
    describe(bench, "Allow-Replace: data\nAllow-Replace: keycloak")
    assert comment.main() == 1
    text = sent(bench)[1]
    assert "several resources have that name. Allow each one" in text
    assert "could not be turned into a comment" not in text
    assert "aws:efs/fileSystem:FileSystem" in text


@pytest.mark.parametrize(
    "written",
    [
        '{"stack": "dev", "how": "previewed", "said": "", "new": 1}',
        '{"how": "previewed"}',
    ],
)
def test_an_outcome_of_another_version_is_read(bench: Bench, written: str) -> None:
    keep("dev")
    (PREVIEWS / "dev.outcome.json").write_text(written)
    assert comment.main() == 0


@pytest.mark.parametrize("written", ['{"stack": "dev", "how": "skipped"}', "[]", "{}", "", '{"how": ["previewed"]}'])
def test_an_outcome_that_is_not_known_has_failed(bench: Bench, written: str) -> None:
    keep("dev")
    (PREVIEWS / "dev.outcome.json").write_text(written)
    assert comment.main() == 1
    assert "**Stack dev** failed" in sent(bench)[1]


def test_an_unreachable_cluster_is_no_preview(bench: Bench) -> None:
    keep("dev", step("create", "misleading", DATABASE), how="unreachable", said="The cluster could not be reached.")
    assert comment.main() == 1
    text = sent(bench)[1]
    assert "not previewed: the cluster cannot be reached" in text
    assert "misleading" not in text


def test_a_stack_whose_job_left_nothing_is_missed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKS", '["dev", "prod"]')
    keep("dev")
    assert comment.main() == 1
    assert "**Stack prod** failed" in sent(bench)[1]


def test_a_preview_that_is_cut_off_is_said_to_be(bench: Bench) -> None:
    keep("dev")
    (PREVIEWS / "dev.json").write_text('{"sequence": 1, "timestamp": 1, "preludeEvent": {}}\n')
    assert comment.main() == 1
    assert "is cut off" in sent(bench)[1]


def test_what_the_engine_said_ends_no_block_and_fits(bench: Bench) -> None:
    keep("dev", how="failed", said="```\n# not a heading\n" + "ä" * LIMIT, written=False)
    assert comment.main() == 1
    text = sent(bench)[1]
    assert len(text.encode()) <= LIMIT
    assert "````text\n```\n# not a heading" in text


def test_a_change_that_touches_no_stack_any_more_rewrites_what_was_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKS", "[]")
    assert comment.main() == 0
    assert not any("--method" in one["arguments"] for one in bench.calls("gh"))  # nothing to say where nothing was said
    bench.answer("gh", "--paginate", stdout=json.dumps([[{"id": 3, "body": MARKER, "user": BOT}]]))
    assert comment.main() == 0
    assert "touches no stack" in sent(bench)[1]


def test_github_that_refuses_is_an_error(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.answer("gh", "POST", stderr="HTTP 403: Resource not accessible by integration", code=1)
    keep("dev")
    assert comment.main() == 2
    assert "HTTP 403" in capsys.readouterr().out


def test_outside_of_a_pull_request_it_is_the_summary_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULL_REQUEST")
    keep("dev")
    assert comment.main() == 0
    assert bench.calls("gh") == []
    assert MARKER in bench.summary
