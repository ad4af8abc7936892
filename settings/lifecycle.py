"""`gpulab:lifecycle`: how long a stack is meant to live, and what is protected until then."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pydantic import Field, StrictBool

from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import Date


class Lifecycle(Section):
    """How long the stack is meant to live."""

    kind: Literal["lab", "production"] = Field(
        description="lab: temporary, everything can be destroyed. production: stateful resources are protected."
    )
    expires: Date | None = Field(
        default=None,
        description="Last day of a lab, in quotes. After it preview and up are refused; destroy and refresh never are.",
    )
    unlock: StrictBool = Field(
        default=False, description="Removes the protection of a production stack, so that it can be destroyed."
    )
    thrift: StrictBool = Field(
        default=False,
        description="Makes a lab cheap while nobody uses it: spot system nodes, one Karpenter, a NAT "
        "instance, PostgreSQL in the cluster. See docs/costs.md.",
    )

    park_at_night: StrictBool = Field(
        default=False,
        description="Whether a workflow parks the lab at night and at weekends: it ends the notebooks and stops the "
        "databases. See docs/costs.md.",
    )

    @property
    def protects(self) -> bool:
        """Whether stateful resources are protected from being deleted."""
        return self.kind == "production" and not self.unlock

    @property
    def karpenters(self) -> int:
        """How many of Karpenter's controllers there are, each on a system node of its own."""
        return 1 if self.thrift else 2

    def add_facts(self, facts: Facts) -> Facts:
        """Adds production and thrift, on which defaults of later sections depend."""
        production = self.kind == "production"
        return dataclasses.replace(facts, production=production, thrift=self.thrift and not production)

    @rule
    def _expires_only_for_labs(self, facts: Facts) -> Findings:
        if self.kind == "lab" and self.expires is None:
            yield ("expires",), 'is missing: a lab needs a last day, such as "2027-06-30"'
        if self.kind == "production" and self.expires is not None:
            yield ("expires",), "is for labs: production does not expire, leave it out"

    @rule
    def _not_expired(self, facts: Facts) -> Findings:
        if self.kind == "lab" and self.expires and facts.today and facts.today > self.expires:
            yield (
                ("expires",),
                f"has passed (today is {facts.today}): set a later date to go on, or run `pulumi destroy`, "
                "which an expired lab does not refuse",
            )

    @rule
    def _unlock_only_for_production(self, facts: Facts) -> Findings:
        if self.kind == "lab" and self.unlock:
            yield ("unlock",), "is for production: nothing of a lab is protected, leave it out"

    @rule
    def _awake_in_production(self, facts: Facts) -> Findings:
        if self.kind == "production" and self.park_at_night:
            yield ("parkAtNight",), "is for labs: nobody could sign in at night, leave it out"

    @rule
    def _thrift_only_for_labs(self, facts: Facts) -> Findings:
        if self.kind == "production" and self.thrift:
            yield ("thrift",), "is for labs: spot nodes and one NAT instance aren't enough for production, leave it out"
