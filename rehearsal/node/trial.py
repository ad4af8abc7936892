"""Notebooks of a stack on EKS in real containers: Karpenter buys an instance for each, and a machine joins as it.

The pods are those that the hub makes of the stack's catalogue, in the teams' namespaces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from components.hub.inside.choices import Choice
from rehearsal.checks.checking import NotTried
from rehearsal.checks.trial_waits import described
from rehearsal.report import Check
from rehearsal.site.trial import SiteTrial

from . import images


@dataclass
class EksTrial(SiteTrial):
    """The notebooks of a trial, which wait for their nodes."""

    runs_seconds: float = 240

    def run(self) -> list[Check]:
        """All steps, in order."""
        steps: Mapping[str, Callable[[], str]] = {
            "a notebook without a GPU runs in a container": self.plain_notebook_runs,
            "a notebook runs on each GPU product": self.notebooks_run_on_each_product,
        }
        return list(self._outcomes(steps))

    def plain_notebook_runs(self) -> str:
        """The first profile without a GPU whose image can be had."""
        choices = [one for one in self._all() if one.profile.gpu is None]
        if not choices:
            raise NotTried("no profile without GPUs has an image that can be had here")
        with self._started([([choices[0]], "plain")]) as ((choice, name),):
            node = self._until_running(choice, name)
            return f"{choice.profile.name} on {described(node)}"

    def _all(self) -> list[Choice]:
        return [one for one in super()._all() if images.known(one.profile.image)]
