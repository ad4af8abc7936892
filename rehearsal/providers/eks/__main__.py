"""`python -m rehearsal.providers.eks ENGINE_ADDRESS` serves the stand-in to the Pulumi engine."""

from __future__ import annotations

import sys

import pulumi.provider

from rehearsal.providers.eks.provider import EksProvider
from rehearsal.providers.protocol.process import end_with_the_engine

if __name__ == "__main__":
    end_with_the_engine()
    pulumi.provider.main(EksProvider(), sys.argv[1:])
