"""`python -m settings STACKFILE [--today YYYY-MM-DD]`: check a stack file.

Exit status 0 when it is right, 1 when it has mistakes (every one is printed), 2 when it cannot be read.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from contracts import eks
from settings import SettingsError, StackFileError, check_stack_file


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a day such as 2027-06-30") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m settings", description="Check a stack file.")
    parser.add_argument("file", type=Path, help="the stack file, such as Pulumi.dev.yaml")
    parser.add_argument(
        "--today",
        type=_day,
        default=eks.today(),
        help="the day to check it for, YYYY-MM-DD (default: today, UTC)",
    )
    options = parser.parse_args(arguments)
    stack = options.file.stem.removeprefix("Pulumi.")
    try:
        settings = check_stack_file(options.file, stack, options.today)
    except StackFileError as error:
        print(error, file=sys.stderr)
        return 2
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    first, *others = settings.summary()
    print(f"{options.file}: no mistakes. {first}", *others, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
