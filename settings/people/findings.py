"""Whether teams fit the rest of the stack file: pools, profiles, volumes, sign-in. All paths are the stack's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network

from settings.cluster import Cluster
from settings.files import EVERY_TEAM, HOMES, Files
from settings.ingress import Ingress
from settings.language.section import Findings, Path, nearest
from settings.notebooks.findings import pools_of
from settings.notebooks.hub import Hub
from settings.notebooks.profiles import AnyPool, Profile, gpu_pool, gpu_request
from settings.people.identity import Identity
from settings.people.names import namespace_of
from settings.people.teams import Quota, Team
from settings.people.values import team_of
from settings.pools.gpu_shares import GPU_RESOURCE, MIG_RESOURCE_PREFIX, SHARED_GPU_RESOURCE, offered, resources
from settings.pools.pool import Pool


def team_findings(
    teams: Mapping[str, Team],
    pools: Mapping[str, AnyPool],
    profiles: Mapping[str, Profile],
    fits: Callable[[Profile, AnyPool], bool],
) -> Findings:
    """What a team names that does not exist, and what it is granted or offered but could never use.

    `fits` says whether a pool can have a node that one of the profile's notebooks fits on.
    """
    for name, team in teams.items():
        unknown_pools = [pool for pool in team.node_pools if pool not in pools]
        for index, pool in enumerate(team.node_pools):
            if pool not in pools:
                yield ("teams", name, "nodePools", index), f"is not a pool of gpulab:nodePools{_hint(pool, pools)}"
        own = {pool: pools[pool] for pool in team.pools(pools) if pool in pools}
        if not unknown_pools:
            yield from _within(name, _quota_findings(team.quota, own))
        for index, profile in enumerate(team.profiles):
            at = ("teams", name, "profiles", index)
            if profile not in profiles:
                yield at, f"is not a profile of gpulab:profiles{_hint(profile, profiles)}"
            elif not unknown_pools:
                yield from ((at, message) for message in _profile_problems(profiles[profile], team, own, pools, fits))


def mps_findings(teams: Mapping[str, Team], pools: Mapping[str, Pool]) -> Findings:
    """Pools whose GPUs several teams would share by MPS, which separates their memory only on the GPU.

    All pods of such a node have one /dev/shm (k8s-device-plugin, internal/plugin/mps.go, v0.20.0) and one user. A team
    without slices gets no pod there: quota and admission prevent that.
    """
    for name, pool in pools.items():
        sharing = [team for team, one in teams.items() if name in one.pools(pools) and one.quota.slices]
        if pool.is_gpu and pool.gpu.sharing == "mps" and len(sharing) > 1:
            yield (
                ("nodePools", name, "gpu", "sharing"),
                f"is mps, and the teams {', '.join(sharing)} would share its GPUs: with MPS all pods of a node have one"
                " /dev/shm, where one team could read and change what another computes. Write time-slicing or mig, or"
                f" keep {name} to one team: leave it out of the others' nodePools, or grant them no slices",
            )


def sum_findings(teams: Mapping[str, Team], pools: Mapping[str, Pool], more: str) -> Findings:
    """GPUs and slices that quotas grant beyond what the pools may have; for stacks without overcommit.

    `more` is how the pools get more of them.
    """
    there = offered(pools)
    for resource in sorted(there):
        holders = {name: amount for name, team in teams.items() if (amount := team.quota.accelerators[resource])}
        granted = sum(holders.values())
        # What one team has too much of by itself, or no pool has, is reported for that team.
        if granted > there[resource] >= max(holders.values(), default=0):
            largest = max(holders, key=lambda name: holders[name])
            shown = ", ".join(f"{name} {amount}" for name, amount in holders.items())
            yield (
                ("teams", largest, "quota", *_quota_key(resource)),
                f"adds up to {granted} with the other teams' ({shown}), and the pools may have {there[resource]} "
                f"{resource}: lower the quotas, {more}, or set gpulab:overcommit: true if you want that",
            )


def volume_findings(teams: Mapping[str, Team], storage: Files) -> Findings:
    """Writers of volumes that nobody or everybody writes, homes without space, and names that would collide."""
    for name, team in teams.items():
        for volume in team.writes:
            if volume not in storage.volumes:
                yield (
                    ("teams", name, "writes", volume),
                    f"is not a volume of gpulab:storage.volumes{_hint(volume, storage.volumes)}",
                )
            elif storage.volumes[volume].scope == "team":
                yield (
                    ("teams", name, "writes", volume),
                    "is the team's own: all of its members write there, leave it out",
                )
        if storage.homes == "per-person" and storage.home_size is not None and team.quota.storage < storage.home_size:
            yield (
                ("teams", name, "quota", "storage"),
                f"is less than one home: with homes per-person, each takes {storage.home_size} GiB of it (homeSize)",
            )
    # In the cluster a team's volume is called TEAM-VOLUME, so different teams and volumes can give the same name.
    first: dict[str, tuple[str, str]] = {}
    for name in teams:
        for volume in (HOMES, *storage.volumes):
            other = first.setdefault(f"{namespace_of(name)}-{volume}", (name, volume))
            if other != (name, volume):
                yield (
                    ("teams", name),
                    f"and its volume {volume} would have the name of team {other[0]}'s volume {other[1]}: rename one",
                )


def reach_findings(teams: Mapping[str, Team], closed: Mapping[str, str]) -> Findings:
    """Ranges of teams that hold addresses of the cluster itself: `closed` are its ranges, each with what is there."""
    for name, team in teams.items():
        for index, text in enumerate(team.reaches):
            wanted = IPv4Network(text)
            for block, what in closed.items():
                if wanted.overlaps(IPv4Network(block)):
                    yield (
                        ("teams", name, "reaches", index),
                        f"has addresses of {block}, where {what}: notebooks would reach the cluster itself. Write "
                        "the addresses of the machines that they need, such as 192.168.1.10/32",
                    )
                    break


def membership_findings(
    teams: Mapping[str, Team], storage: Files, identity: Identity | None, hub: Hub | None
) -> Findings:
    """Groups, members and writers of teams that do not exist; for stacks with teams."""
    for team in hub.members if hub else ():
        if team not in teams:
            yield ("hub", "members", team), f"is not a team of gpulab:teams{_hint(team, teams)}"
    for volume_name, volume in storage.volumes.items():
        for team in volume.writers:
            if team != EVERY_TEAM and team not in teams:
                yield (
                    ("storage", "volumes", volume_name, "writers", team),
                    f"is not a team of gpulab:teams{_hint(team, teams)}",
                )
    for path, group in _groups(identity) if identity is not None else ():
        if team_of(group) not in teams:
            yield (
                ("identity", *path),
                f"is a group of {team_of(group)}, which is not a team of gpulab:teams{_hint(team_of(group), teams)}",
            )


def oidc_findings(cluster: Cluster, identity: Identity | None, ingress: Ingress) -> Findings:
    """Whether EKS can check people's sign-in at Keycloak."""
    if not cluster.oidc:
        return
    if identity is None:
        yield (
            ("cluster", "oidc"),
            "needs gpulab:identity, as nobody could sign in: add it, or leave oidc out",
        )
    if ingress.access != "internet-facing":
        yield (
            ("cluster", "oidc"),
            f"needs gpulab:ingress.access: internet-facing, and it is {ingress.access}: EKS reads the issuer's "
            "keys only at its public address",
        )


def _groups(identity: Identity) -> Iterator[tuple[Path, str]]:
    """Each group that the identity section names, with its path."""
    for index, name in enumerate(identity.administrators):
        if name in identity.administrator_groups:
            yield ("administrators", index), name
    for name, provider in identity.providers.items():
        at: Path = ("providers", name)
        yield from (((*at, "groups", index), group) for index, group in enumerate(provider.groups))
        yield from (((*at, "groupMappings", theirs), group) for theirs, group in provider.group_mappings.items())
    if identity.ldap is not None and identity.ldap.groups is not None:
        for theirs, group in identity.ldap.groups.mappings.items():
            yield ("ldap", "groups", "mappings", theirs), group
    for name, user in identity.seed_users.items():
        yield from ((("seedUsers", name, "groups", index), group) for index, group in enumerate(user.groups))


def _quota_findings(quota: Quota, pools: Mapping[str, Pool]) -> Findings:
    """GPUs that a quota grants but no pool has that the team may use."""
    there, known = offered(pools), resources(pools)
    for resource, amount in quota.accelerators.items():
        if amount and resource not in known:
            yield (
                ("quota", *_quota_key(resource)),
                f"cannot be used: no pool that the team may use has {resource}"
                + (f", they have {', '.join(known)}" if known else ""),
            )
        elif resource in there and amount > there[resource]:
            yield (
                ("quota", *_quota_key(resource)),
                f"is more than the pools that the team may use can have together: {there[resource]}",
            )


def _quota_key(resource: str) -> Path:
    """The key of a quota that grants a resource."""
    own = {GPU_RESOURCE: ("gpus",), SHARED_GPU_RESOURCE: ("slices",)}
    return own.get(resource, ("mig", resource.removeprefix(MIG_RESOURCE_PREFIX)))


def _profile_problems(
    profile: Profile,
    team: Team,
    own: Mapping[str, AnyPool],
    pools: Mapping[str, AnyPool],
    fits: Callable[[Profile, AnyPool], bool],
) -> Iterator[str]:
    """Why nobody in the team could ever start the profile; `own` are the pools that the team may use."""
    possible = pools_of(profile, pools)
    usable = [name for name in possible if name in own]
    if possible and not usable:
        needed = " or ".join(possible)
        yield f"runs in pool {needed}, which the team may not use: add it to nodePools, or leave the profile out"
        return
    # That no pool has such a node is reported for the profile.
    fitting = [name for name, pool in possible.items() if fits(profile, pool)]
    if fitting and not any(name in own for name in fitting):
        others = " or ".join(fitting)
        own_pools = ", ".join(usable)
        yield f"fits on no node of {own_pools}, which the team may use: add {others} to nodePools, or leave it out"
        return
    quota = team.quota
    for what, asked, granted in (
        ("vCPU", profile.cpu, quota.cpu),
        ("GiB of memory", profile.memory, quota.memory),
        *_accelerators(profile, quota, own),
    ):
        if asked > granted:
            yield f"can never start: it asks for {asked:g} {what}, and the team's quota is {granted:g}"


def _accelerators(profile: Profile, quota: Quota, pools: Mapping[str, Pool]) -> Iterator[tuple[str, int, int]]:
    """The resource by which its GPUs are asked for, how many it asks for, and how many are granted."""
    pool = gpu_pool(profile, pools)
    if profile.gpu is not None and pool is not None and pool.is_gpu:
        resource, count = gpu_request(profile.gpu, pool)
        yield resource, count, quota.accelerators[resource]


def _within(team: str, findings: Findings) -> Findings:
    return (((*("teams", team), *path), message) for path, message in findings)


def _hint(word: str, known: Iterable[str]) -> str:
    names = list(known)
    near = nearest(word, names)
    if near:
        return f': did you mean "{near}"?'
    return f": known are {', '.join(names)}" if names else ", which has none"
