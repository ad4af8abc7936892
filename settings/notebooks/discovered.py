"""Profiles whose GPUs are discovered: whether their teams can find any."""

from __future__ import annotations

from collections.abc import Mapping

from settings.language.section import Findings
from settings.notebooks.profiles import Profile
from settings.people.teams import Team
from settings.pools.gpu_shares import resources
from settings.pools.pool import Pool


def discovers(profiles: Mapping[str, Profile]) -> bool:
    """Whether people choose from the GPUs that nodes have, in any of the profiles: the hub then reads nodes."""
    return any(is_discovered(profile) for profile in profiles.values())


def is_discovered(profile: Profile) -> bool:
    """Whether the profile's GPUs are those that nodes have when somebody starts a notebook."""
    return profile.gpu is not None and profile.gpu.discover


def discovery_findings(
    profiles: Mapping[str, Profile], teams: Mapping[str, Team], pools: Mapping[str, Pool]
) -> Findings:
    """Profiles that would never find a GPU, in any team or in one; paths are the stack's."""
    finding = {name for name, profile in profiles.items() if is_discovered(profile)}
    with_gpus = {name: pool for name, pool in pools.items() if pool.is_gpu}
    if not with_gpus:
        for name in sorted(finding):
            yield (
                ("profiles", name, "gpu", "discover"),
                "would find nothing, as gpulab:nodePools has no GPU pool: give a pool gpus, or leave gpu out",
            )
        return
    for team_name, team in teams.items():
        own = {name: with_gpus[name] for name in team.pools(pools) if name in with_gpus}
        for index, name in enumerate(team.profiles):
            if name in finding and (message := _nothing_for(team, own, with_gpus)):
                yield ("teams", team_name, "profiles", index), message


def _nothing_for(team: Team, own: Mapping[str, Pool], with_gpus: Mapping[str, Pool]) -> str | None:
    """Why a team would never find a GPU; `own` are the GPU pools that it may use."""
    if not own:
        return (
            f"would find no GPU: the team may use none of the GPU pools ({', '.join(with_gpus)}). Add one to its "
            "nodePools, or leave the profile out"
        )
    there = resources(own)
    if not any(team.quota.accelerators[resource] for resource in there):
        return (
            f"would find no GPU: the team's quota has none of what its pools have ({', '.join(there)}). Grant gpus, "
            "slices or mig, or leave the profile out"
        )
    return None
