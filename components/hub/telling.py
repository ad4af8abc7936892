"""What is told of a notebook that starts: the cluster's events in plain words, and in the end why it did not start."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

Object: TypeAlias = Mapping[str, Any]

# Within it a machine has joined and has its GPUs, or it will not: Karpenter waits for these without end.
_READY_WITHIN = timedelta(minutes=15)
_NODE_CLAIMS = re.compile(r"nodeclaim/([\w.-]+)")
_IMAGE = re.compile(r'image "([^"]+)"')
# Waiting for these never helps. A container that lacks its configuration does wait: its token comes after the pod.
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull")

_WORDS = {
    "Nominated": "A machine that runs already has room for it.",
    "FailedScheduling": "No machine that runs has room for it; Karpenter looks for one to buy.",
    "Scheduled": "It has a machine. Its disks are mounted.",
    "Pulled": "The image is there.",
    "Started": "It runs. Its server starts.",
}


def told(event: Object) -> str:
    """One event of a notebook's pod, for the page that waits for it."""
    reason, message = event.get("reason") or "", event.get("message") or ""
    if reason == "Nominated" and (claims := _NODE_CLAIMS.findall(message)):
        return f"Karpenter buys a machine for it ({claims[0]}). That takes a minute or two, with GPUs up to five."
    if reason == "FailedScheduling" and _component(event) == "karpenter":
        return f"Karpenter can buy no machine for it: {_in_short(message)}"
    if reason == "Pulling" and (image := _IMAGE.search(message)):
        return f"The machine downloads the image {image[1]}."
    return _WORDS.get(reason, message)


def machines(events: Sequence[Object]) -> list[str]:
    """The NodeClaims that the pod waits for, by what Karpenter said last."""
    last = _nominations(events)[-1:]
    return [name for one in last for name in _NODE_CLAIMS.findall(one["message"])]


def stuck(claim: Object, now: datetime) -> str | None:
    """What is wrong with a machine that has not become ready in 15 minutes; it is paid for, and takes no notebook."""
    bought = datetime.fromisoformat(claim["metadata"]["creationTimestamp"])
    conditions = {one["type"]: one for one in claim.get("status", {}).get("conditions") or ()}
    initialized = conditions.get("Initialized", {})
    if now - bought < _READY_WITHIN or initialized.get("status") == "True":
        return None
    name = claim["metadata"]["name"]
    why = _in_short(initialized.get("message") or initialized.get("reason") or "Karpenter does not say why")
    return (
        f"The machine {name} was bought at {bought:%H:%M} UTC and is not ready: {why}. It does not get ready by "
        f"itself: ask an administrator to take it away (kubectl delete nodeclaim {name})."
    )


def why_not(events: Sequence[Object], pod: Object | None, seconds: int, stuck: Sequence[str] = ()) -> str:
    """Why a notebook has not started in that time, by the events of its pod and the state that the pod is in.

    `stuck` is what is said of the machines that it waits for.
    """
    if pod is None:
        return f"Its pod was gone before it ran, after {seconds} seconds at most: somebody has deleted it."
    if reason := broken(pod):
        return reason
    if pod["spec"].get("nodeName"):
        last = next((one for one in reversed(events) if one.get("type") == "Warning"), None)
        said = f" The last warning was: {_in_short(last['message'])}" if last else ""
        return f"It had a machine, and did not run there within {seconds} seconds.{said}"
    bought = list(dict.fromkeys(name for one in _nominations(events) for name in _NODE_CLAIMS.findall(one["message"])))
    refused = [one for one in events if one.get("reason") == "FailedScheduling" and _component(one) == "karpenter"]
    # What came last is how things are.
    if refused and (not bought or events.index(refused[-1]) > events.index(_nominations(events)[-1])):
        return f"Karpenter could buy no machine for it within {seconds} seconds: {_in_short(refused[-1]['message'])}"
    if bought:
        return " ".join(stuck) or _ordered(bought, seconds)
    waiting = [one for one in events if one.get("reason") == "FailedScheduling"]
    said = f" The scheduler says: {_in_short(waiting[-1]['message'])}" if waiting else ""
    return f"It found no machine within {seconds} seconds, and Karpenter said nothing of it.{said}"


def _ordered(bought: Sequence[str], seconds: int) -> str:
    machines = f"{len(bought)} machines" if len(bought) > 1 else "a machine"
    return (
        f"Karpenter ordered {machines} for it ({', '.join(bought)}), and none was ready within {seconds} seconds. "
        "Mostly AWS is out of capacity for this instance type right now: try again later, or take another profile."
    )


def broken(pod: Object) -> str | None:
    """Why a pod will never run, if that is certain already."""
    status = pod.get("status", {})
    if status.get("phase") == "Failed":
        ended = [one["state"]["terminated"] for one in _containers(status) if one.get("state", {}).get("terminated")]
        code = f": its container ended with exit code {ended[0]['exitCode']}" if ended else ""
        return f"It ended as soon as it ran{code}. {status.get('message') or status.get('reason') or ''}".strip()
    for one in _containers(status):
        waiting = one.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _HOPELESS:
            return f"Its container can't be made: {waiting.get('message') or waiting['reason']}"
        if waiting.get("reason") == "CrashLoopBackOff":
            ended = one.get("lastState", {}).get("terminated", {})
            return f"It ends as soon as it runs, with exit code {ended.get('exitCode', 'unknown')}, again and again."
    return None


def refused(message: str) -> str:
    """What the API server said when it refused a pod, of which people need the last part."""
    return f"The cluster refused the notebook: {message.partition('forbidden: ')[2] or message}"


def _nominations(events: Iterable[Object]) -> list[Object]:
    return [one for one in events if one.get("reason") == "Nominated" and _NODE_CLAIMS.search(one["message"])]


def _containers(status: Object) -> list[Object]:
    return status.get("containerStatuses") or []


def _component(event: Object) -> str:
    """Who says it: events of older kind have a source, newer ones a reporting component."""
    return event.get("reportingComponent") or (event.get("source") or {}).get("component") or ""


def _in_short(message: str) -> str:
    """The first reason of several, at a length that people read."""
    first = message.removeprefix("Failed to schedule pod, ").strip()
    return first if len(first) <= 300 else f"{first[:300]}…"
