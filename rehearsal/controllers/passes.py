"""Runs controllers pass after pass: what one of them raises keeps no other from its work."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TypeVar

import urllib3
from botocore.exceptions import BotoCoreError, ClientError

from rehearsal.controllers.world import Cluster, Controller
from rehearsal.providers.kubernetes.client import ApiError, Unreachable

PASS_SECONDS = 0.5

_LOG = logging.getLogger("controllers")
# What the other sides may answer in the middle of a change; anything else is a bug, and shows its traceback.
_EXPECTED = (ApiError, Unreachable, ClientError, BotoCoreError, urllib3.exceptions.HTTPError, OSError)
W = TypeVar("W", bound=Cluster)


def one_pass(world: W, reconcilers: Sequence[Controller[W]]) -> None:
    """Calls each controller once. What one raises is logged and keeps no other from its work."""
    world.begin_pass()
    for controller in reconcilers:
        name = type(controller).__name__
        try:
            controller.reconcile(world)
        except _EXPECTED as error:
            _LOG.warning("%s: %s: %s", name, type(error).__name__, error)
        except Exception:
            _LOG.exception("%s", name)


def run(world: W, reconcilers: Sequence[Controller[W]]) -> None:
    """Goes on until the process is ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    while True:
        one_pass(world, reconcilers)
        time.sleep(PASS_SECONDS)
