"""The report: it succeeds only if every check holds, and both forms are the same."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from rich.text import Text

from rehearsal import command
from rehearsal.checks.leftovers import Left
from rehearsal.machine.engine import Violation
from rehearsal.report import Check, Report


def good() -> Report:
    return Report(
        stack="dev",
        resources_created=90,
        checks=[Check("nodes", True, "2 nodes")],
        left=Left(),
        seconds={"preview": 3.21, "second preview": 2.0, "refresh": 1.0},
        memory_mib={"preview": 700.0},
        program_memory_mib={"preview": 120.0},
        peak_memory_mib=900.4,
        stand_ins=["AWS by moto"],
    )


def shown(report: Report, *, terminal: bool = False) -> str:
    file = io.StringIO()
    report.show(Console(file=file, force_terminal=terminal, no_color=True, width=80))
    return file.getvalue()


def test_a_report_in_which_all_holds_is_ok() -> None:
    assert good().ok
    assert "All checks passed." in shown(good())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"second_preview_changes": ["update aws:ec2/vpc:Vpc net"]}, "update aws:ec2/vpc:Vpc net"),
        ({"refresh_changes": ["update aws:ec2/vpc:Vpc net"]}, "update aws:ec2/vpc:Vpc net"),
        ({"checks": [Check("nodes", False, "1 of 2 nodes")]}, "1 of 2 nodes"),
        (
            {"violations": [Violation("sqs-encryption", "queue", "it is plain. Set it", True)]},
            "queue: it is plain. Set it",
        ),
        ({"left": Left(state=["a stack"])}, "a stack"),
        ({"left": Left(aws=["ec2 Vpcs vpc-1"])}, "ec2 Vpcs vpc-1"),
        ({"left": Left(kubernetes=["Node n1"])}, "Node n1"),
        ({"left": Left(processes=["17 etcd"])}, "17 etcd"),
        ({"left": None, "failure": "up ended with exit status 255"}, "up ended with exit status 255"),
    ],
)
def test_anything_that_does_not_hold_is_named_and_makes_the_report_bad(broken: dict, said: str) -> None:
    report = good()
    for name, value in broken.items():
        setattr(report, name, value)
    assert not report.ok
    assert not report.as_json()["ok"]
    text = shown(report)
    assert said in text
    assert "The rehearsal failed" in text


def test_what_was_not_tried_is_said_and_makes_the_report_no_worse() -> None:
    report = good()
    report.checks.append(Check("drift", None, "the window is open"))
    assert report.ok
    assert "not tried: the window is open" in shown(report)
    assert "All checks passed (1 not tried)." in shown(report)
    assert report.as_json()["checks"][-1]["ok"] is None


def test_a_destroy_that_never_came_is_not_a_clean_one() -> None:
    report = good()
    report.left = None
    assert not report.ok


def test_the_json_has_numbers_to_compare_and_names_beside() -> None:
    report = good()
    report.left = Left(aws=["ec2 Vpcs vpc-1", "iam Roles r"])
    report.second_preview_changes = ["update x"]
    data = json.loads(json.dumps(report.as_json()))
    assert data["second_preview_changes"] == 1
    assert data["refresh_changes"] == 0
    assert data["left"]["aws"] == 2
    assert data["left"]["names"]["aws"] == ["ec2 Vpcs vpc-1", "iam Roles r"]
    assert data["checks"] == [{"name": "nodes", "ok": True, "detail": "2 nodes"}]
    assert data["seconds"]["preview"] == 3.21
    assert data["peak_memory_mib"] == 900


def test_nothing_left_is_reported_as_zeros_and_no_destroy_as_none() -> None:
    report = good()
    left = report.as_json()["left"]
    assert [left[place] for place in ("state", "aws", "kubernetes", "processes")] == [0, 0, 0, 0]
    report.left = None
    assert report.as_json()["left"] is None


@pytest.mark.parametrize("terminal", [True, False])
def test_names_from_outside_are_not_taken_for_markup(terminal: bool) -> None:
    report = good()
    report.checks = [Check("[bold]x[/]", True, "subnets[0] [/red]")]
    report.failure = "resource [/red] is gone"
    text = shown(report, terminal=terminal)
    assert "[bold]x[/]" in text
    assert "subnets[0] [/red]" in text
    assert "resource [/red] is gone" in text


def test_without_a_terminal_each_check_is_one_whole_line() -> None:
    report = good()
    long = f"{'a role that is needed, ' * 40}and [the] :end:"
    report.checks = [
        Check("[bold]roles[/] admit [every] call", False, long),
        Check("nodes", True, "2 nodes,\n  ready"),
        Check("drift", None, "the window is open"),
    ]
    report.violations = [Violation("nat-gateways", "the stack", long, False)]
    report.warnings = [long]
    report.stand_ins = [long, "eks"]
    report.failure = f"up ended: {long}\n  Logs: {long}"
    report.next_steps = [f"  . {long}"]
    lines = shown(report).splitlines()
    expected = [
        "Rehearsal of dev",
        "ok  resources created: 90",
        f"NO  [bold]roles[/] admit [every] call: {long}",
        "ok  nodes: 2 nodes, ready",
        "--  drift: not tried: the window is open",
        f"--    nat-gateways: the stack: {long}",
        f"    preview warning: {long}",
        "    seconds: preview 3.2, second preview 2.0, refresh 1.0",
        f"    stand-ins: {long}; eks",
        f"Failed: up ended: {long}",
        f"  Logs: {long}",
        f"  . {long}",
    ]
    assert [line for line in expected if line not in lines] == []
    assert len(lines) == len(set(lines))


def test_on_a_terminal_the_report_is_a_table_within_its_width() -> None:
    report = good()
    report.checks = [Check("nodes", True, "2 nodes, " * 40)]
    lines = Text.from_ansi(shown(report, terminal=True)).plain.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("│ok │ nodes ") for line in lines)


def test_a_warning_is_shown_and_what_was_not_known_is_counted() -> None:
    report = good()
    report.violations = [
        Violation("nat-gateways", "the stack", "there are 5 NAT gateways", False),
        Violation("iam-action-wildcard", "controller", "IAM: not yet known: policy of controller", False),
    ]
    assert report.ok
    text = shown(report)
    assert "0 errors, 1 warnings; 1 not yet known in the preview" in text
    assert "the stack: there are 5 NAT gateways" in text
    listed = report.as_json()["policies"]
    assert [(one["policy"], one["mandatory"], one["not_yet_known"]) for one in listed] == [
        ("nat-gateways", False, False),
        ("iam-action-wildcard", False, True),
    ]


def test_without_a_terminal_a_message_of_a_command_stays_on_its_line() -> None:
    file = io.StringIO()
    message = "a message that is longer than 80 columns " * 5

    def action(console: Console) -> int:
        console.print(message)
        raise OSError(f"{message}[/red] arn:key:")

    assert command.run(action, Console(file=file)) == command.USAGE
    assert file.getvalue() == f"{message}\nFailed: {message}[/red] arn:key:\n"
