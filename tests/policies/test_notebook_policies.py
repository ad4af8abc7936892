"""Notebook policies close to their edge: what a hub's administrators and people's notebooks may do."""

from __future__ import annotations

import pytest

from tests.policies.conftest import (
    release,
)
from tests.policies.objects import hub, refuses_the_first_only

REFUSED_AND_ACCEPTED = {
    "admin_access decides before there are roles, and nothing since": (
        "hub-administrators-in-notebooks",
        hub("1.2.0", JupyterHub={"admin_access": True}),
        hub("4.4.0", JupyterHub={"admin_access": True}),
    ),
    "before there are roles, the chart's default lets administrators in": (
        "hub-administrators-in-notebooks",
        hub("1.2.0"),
        hub("1.2.0", JupyterHub={"admin_access": False}),
    ),
    "administrators come from groups": (
        "hub-administrators-in-notebooks",
        hub(GenericOAuthenticator={"admin_users": ["ada"]}),
        hub(GenericOAuthenticator={"admin_groups": ["/platform-administrators"]}),
    ),
    "a role opens some notebooks, not everybody's": (
        "hub-administrators-in-notebooks",
        hub(load_roles={"mentors": {"scopes": ["self", "access:servers"]}}),
        hub(load_roles={"mentors": {"scopes": ["self", "access:servers!group=team"]}}),
    ),
    "a notebook may hide the GPUs of its node, and choose among those that it has": (
        "notebook-visible-devices",
        release("jupyterhub", {"singleuser": {"extraEnv": {"NVIDIA_VISIBLE_DEVICES": "0,1"}}}),
        release(
            "jupyterhub", {"singleuser": {"extraEnv": {"NVIDIA_VISIBLE_DEVICES": "void", "CUDA_VISIBLE_DEVICES": "0"}}}
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED_AND_ACCEPTED)
def test_one_is_refused_and_the_other_accepted(case):
    refuses_the_first_only(*REFUSED_AND_ACCEPTED[case])
