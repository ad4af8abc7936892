"""Objects that the tests of several families of policies examine."""

from __future__ import annotations

from tests.policies.conftest import examined, kubernetes, release

TAINT = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
GPU = "nvidia.com/gpu"


def workload(kind="Deployment", namespace="team", **spec):
    container = {"name": "main", "image": "example.com/x:1.0.0", **spec.pop("container", {})}
    pod = {"containers": [container], **spec}
    return kubernetes(
        kind, {"template": {"spec": pod}} if kind != "Pod" else pod, metadata={"namespace": namespace}, api="apps/v1"
    )


def hub(version="4.4.0", load_roles=None, **config):
    return release("jupyterhub", {"hub": {"config": config, "loadRoles": load_roles or {}}}, version=version)


FAMILY_OF_ONE = [{"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["p4d"]}]


def refuses_the_first_only(policy, refused, accepted):
    """Checks that a policy refuses one resource, or stack of several, and accepts the other."""
    refused, accepted = (one if isinstance(one, list) else [one] for one in (refused, accepted))
    assert examined(policy, *refused)
    assert examined(policy, *accepted) == {}
