"""What people read while a notebook starts: the cluster's events in plain words, and why it did not start."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from .quantities import names_of

Object: TypeAlias = Mapping[str, Any]

# A machine joins and gets its GPUs within this time or never; Karpenter waits without a limit.
_READY_WITHIN = timedelta(minutes=15)
_NODE_CLAIMS = re.compile(r"nodeclaim/([\w.-]+)")
_IMAGE = re.compile(r'image "([^"]+)"')
# Waiting never helps with these. A container without its configuration does wait: its token comes after the pod.
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull")
# The words of containerd (core/remotes/docker/resolver.go), which kubelet repeats between two tries. A failure later,
# while layers are pulled, may not repeat. What could not be resolved is a reference in the words of containerd's client
# (client/pull.go), and an image in those of its transfer service (core/transfer/local/pull.go), as on Bottlerocket.
_PULLS = ("ErrImagePull", "ImagePullBackOff")
_UNRESOLVED = r"failed to resolve (?:reference|image)\b"
_NO_IMAGE = re.compile(rf"{_UNRESOLVED}.*: not found|no match for platform in manifest")
_NO_ACCESS = re.compile(rf"(?i){_UNRESOLVED}.*(401 unauthorized|403 forbidden|authorization failed)")
# A node whose kubelet does not use ECR's credential provider yet.
_NO_CREDENTIALS_YET = re.compile(r"\.dkr\.ecr\..*no basic auth credentials")
# With these events of a pod, whoever ends it says so.
_ENDED_BY = ("Preempted", "Evicted", "TaintManagerEviction")
# start.sh begins each line of the profile's script with this.
_OF_STARTUP = "startup: "
# The scheduler's words for a resource of which no node has enough left (kube-scheduler, noderesources/fit.go).
_SHORT = re.compile(r"Insufficient ([\w./-]*\w)")

_WORDS = {
    "Nominated": "A running machine has room for it.",
    "Scheduled": "It has a machine, which mounts its disks now.",
    "Pulled": "The image is there.",
    "Started": "Its container runs, and its server starts.",
}


def event_in_words(event: Object, *, buys: bool) -> str:
    """One event of a notebook's pod, for the page that waits for the notebook.

    `buys`: whether Karpenter adds machines; if not, a notebook waits for room on those that are there.
    """
    reason, message = event.get("reason") or "", event.get("message") or ""
    if reason == "Nominated" and (claims := _NODE_CLAIMS.findall(message)):
        return f"Karpenter buys a machine for it ({claims[0]}). That takes a minute or two, with GPUs up to five."
    if reason == "FailedScheduling" and _component(event) == "karpenter":
        return f"Karpenter cannot buy a machine for it: {_in_short(message)}"
    if reason == "FailedScheduling":
        return "No running machine has room for it; Karpenter looks for one to buy." if buys else _no_room(message)
    if reason == "Pulling" and (image := _IMAGE.search(message)):
        return f"The machine downloads the image {image[1]}."
    return _WORDS.get(reason, message)


def _no_room(message: str) -> str:
    """What keeps a notebook off the running machines, in the scheduler's event, where nobody buys others."""
    if short := _short(message):
        return (
            f"No running machine has room for it: too little is free of {short}. It starts when somebody stops a "
            "notebook, or an administrator adds a machine."
        )
    return f"No running machine can take it now. The scheduler says: {_in_short(message)}"


def assigned(event: Object) -> str | None:
    """The node that the scheduler has chosen, if the event says so."""
    if event.get("reason") != "Scheduled":
        return None
    return (event.get("message") or "").rpartition(" to ")[2] or None


def ends_early(end: datetime | None, now: datetime, lifetime: int) -> str | None:
    """What to say about a machine that ends before a notebook with that lifetime (seconds) has to."""
    if end is None or end >= now + timedelta(seconds=lifetime):
        return None
    return f"Its machine is replaced at {end:%Y-%m-%d %H:%M} UTC. The notebook ends then."


def node_claims(events: Sequence[Object]) -> list[str]:
    """The NodeClaims that the pod waits for, as Karpenter reported last."""
    last = _nominations(events)[-1:]
    return [name for one in last for name in _NODE_CLAIMS.findall(one["message"])]


def stuck(claim: Object, now: datetime) -> str | None:
    """What is wrong with a machine that is not ready after 15 minutes: it costs money and takes no notebook."""
    bought = datetime.fromisoformat(claim["metadata"]["creationTimestamp"])
    conditions = {one["type"]: one for one in claim.get("status", {}).get("conditions") or ()}
    initialized = conditions.get("Initialized", {})
    if now - bought < _READY_WITHIN or initialized.get("status") == "True":
        return None
    name = claim["metadata"]["name"]
    why = _in_short(initialized.get("message") or initialized.get("reason") or "Karpenter does not say why")
    return (
        f"The machine {name} was bought at {bought:%H:%M} UTC and is not ready: {why}. It will not become ready by "
        f"itself: ask an administrator to remove it (kubectl delete nodeclaim {name})."
    )


def why_not(
    events: Sequence[Object], pod: Object | None, seconds: int, stuck: Sequence[str] = (), *, buys: bool
) -> str:
    """Why a notebook has not started within `seconds`, by its pod's events and state.

    `stuck` is what was said about the machines that it waits for; `buys` as for `event_in_words`.
    """
    if pod is None:
        return f"Somebody deleted its pod before it ran, within {seconds} seconds."
    if reason := broken(pod):
        return reason
    if pod["spec"].get("nodeName"):
        last = next((one for one in reversed(events) if one.get("type") == "Warning"), None)
        said = f" The last warning was: {_in_short(last['message'])}" if last else ""
        return f"It had a machine, but did not run there within {seconds} seconds.{said}"
    bought = list(dict.fromkeys(name for one in _nominations(events) for name in _NODE_CLAIMS.findall(one["message"])))
    refused = [one for one in events if one.get("reason") == "FailedScheduling" and _component(one) == "karpenter"]
    # The last event shows the present state.
    if refused and (not bought or events.index(refused[-1]) > events.index(_nominations(events)[-1])):
        return f"Karpenter could not buy a machine for it within {seconds} seconds: {_in_short(refused[-1]['message'])}"
    if bought:
        return " ".join(stuck) or _ordered(bought, seconds)
    last = next((one["message"] for one in reversed(events) if one.get("reason") == "FailedScheduling"), "")
    return _unscheduled(last, seconds, buys=buys)


def _unscheduled(message: str, seconds: int, *, buys: bool) -> str:
    """Why a notebook got no machine, by the scheduler's last message, which may be empty."""
    said = f" The scheduler says: {_in_short(message)}" if message else ""
    if buys:
        return f"It found no machine within {seconds} seconds, and Karpenter reported nothing about it.{said}"
    if short := _short(message):
        return (
            f"No running machine had room for it within {seconds} seconds: too little is free of {short}. Somebody has "
            "to stop a notebook, or an administrator to add a machine. Then start it again."
        )
    return f"No running machine could take it within {seconds} seconds.{said or ' The scheduler does not say why.'}"


def _ordered(bought: Sequence[str], seconds: int) -> str:
    machines = f"{len(bought)} machines" if len(bought) > 1 else "a machine"
    return (
        f"Karpenter ordered {machines} for it ({', '.join(bought)}), and none was ready within {seconds} seconds. "
        "Most often AWS is out of capacity for this instance type: try again later, or choose another profile."
    )


def gone(events: Sequence[Object], pod: Object | None, name: str) -> str:
    """Why a pod was deleted before it ran, as far as that is known. `pod` is the last that was seen of it, if any."""
    known = (pod or {}).get("status", {}).get("conditions") or ()
    conditions = [one for one in known if one["type"] == "DisruptionTarget"]
    last = [*conditions, *(one for one in events if one.get("reason") in _ENDED_BY)][-1:]
    said = [f"The cluster says: {_in_short(one['message']).rstrip('.')}." for one in last if one.get("message")]
    return " ".join([f"Its pod {name} was deleted before it ran.", *said, "Start it again."])


def is_ending(pod: Object) -> bool:
    """Whether somebody has deleted the pod."""
    return "deletionTimestamp" in pod["metadata"]


def broken(pod: Object) -> str | None:
    """Why a pod will never run, if that is certain."""
    status = pod.get("status", {})
    if status.get("phase") == "Failed":
        ended = [one["state"]["terminated"] for one in _containers(status) if one.get("state", {}).get("terminated")]
        code = f": its container ended with exit code {ended[0]['exitCode']}" if ended else ""
        return f"It ended as soon as it ran{code}. {status.get('message') or status.get('reason') or ''}".strip()
    for one in _containers(status):
        waiting = one.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _HOPELESS:
            return f"Its container can't be made: {waiting.get('message') or waiting['reason']}"
        if waiting.get("reason") in _PULLS and (why := _never_pulled(waiting.get("message") or "")):
            return f"The image {one.get('image')} can't be pulled: {why}"
        if waiting.get("reason") == "CrashLoopBackOff":
            ended = one.get("lastState", {}).get("terminated", {})
            return f"It ends as soon as it runs, with exit code {ended.get('exitCode', 'unknown')}, again and again."
    return None


def _never_pulled(message: str) -> str | None:
    """Why an image will never be pulled; None if another try may work."""
    said = f"It says: {_in_short(re.split(_UNRESOLVED, message)[-1].lstrip(': '))}"
    if _NO_IMAGE.search(message):
        return (
            "its registry has no such image, or none for the machine's architecture. An administrator has to correct "
            f"the profile's image. {said}"
        )
    if _NO_ACCESS.search(message) and not _NO_CREDENTIALS_YET.search(message):
        return (
            "its registry refuses these credentials, or needs some. An administrator has to check the profile's image "
            f"and hub.registry.pullSecret. {said}"
        )
    return None


def startup(log: str) -> list[str]:
    """The output of the profile's startup script so far, from the log of a notebook's container."""
    lines = (line.removeprefix(_OF_STARTUP) for line in log.split("\n") if line.startswith(_OF_STARTUP))
    # For a line that a program overwrites, its last state.
    return [_in_short(line.rstrip("\r").rpartition("\r")[2]) for line in lines]


def message_of(error: Any) -> str:
    """What the API server says with an ApiException."""
    try:
        return json.loads(error.body or b"")["message"]
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def refused(message: str) -> str:
    """What the API server said when it refused a pod; people need only the last part."""
    return f"The cluster refused the notebook: {message.partition('forbidden: ')[2] or message}"


def _nominations(events: Iterable[Object]) -> list[Object]:
    return [one for one in events if one.get("reason") == "Nominated" and _NODE_CLAIMS.search(one["message"])]


def _containers(status: Object) -> list[Object]:
    return status.get("containerStatuses") or []


def _component(event: Object) -> str:
    """The component that reports it: older events have a source, newer ones a reporting component."""
    return event.get("reportingComponent") or (event.get("source") or {}).get("component") or ""


def _short(message: str) -> str:
    """The resources that the scheduler found too little of, as people call them; empty if that is not the reason."""
    *others, last = dict.fromkeys(names_of(resource) for resource in _SHORT.findall(message)) or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _in_short(message: str) -> str:
    """The first of several reasons, short enough to read."""
    first = message.removeprefix("Failed to schedule pod, ").strip()
    return first if len(first) <= 300 else f"{first[:300]}…"
