"""gpulab: one stack file becomes a notebook platform on EKS. Settings check it, components build it."""

from __future__ import annotations

import gc

import pulumi

import settings
from components.identity.first_sign_in import hub_output
from components.platform import Platform
from contracts import eks


def main() -> None:
    """Check the stack's settings, then deploy the platform and export how to reach it.

    GPULAB_TODAY (YYYY-MM-DD) replaces today's date (UTC), by which a lab expires.
    """
    # Almost everything that is made here is used until the end. Searching it for garbage takes a fifth of the CPU time.
    gc.set_threshold(100_000)
    try:
        # All keys, not only known ones: a mistyped section must be refused, and Config returns only keys asked by name.
        config = pulumi.runtime.get_config_env()
        name = pulumi.get_stack()
        # What the engine does not pass on: keys beside config, and numbers that it turned into text.
        written = settings.as_written(f"Pulumi.{name}.yaml", config)
        stack = settings.load(config, stack=name, today=eks.today(), written=written)
    except settings.SettingsError as error:
        # Pulumi shows a RunError without a traceback.
        raise pulumi.RunError(str(error)) from None

    for warning in stack.warnings:
        pulumi.log.warn(str(warning))
    platform = Platform(stack.name, stack)
    for name, value in platform.ground.outputs.items():
        pulumi.export(name, value)
    if not platform.ground.has_cluster:
        return
    if platform.retained:
        pulumi.export("retained", platform.retained)
    if stack.running_hub:
        pulumi.export("hub", hub_output(stack))
    if platform.kubectl_login_command:
        pulumi.export("kubectlLogin", platform.kubectl_login_command)
    if platform.urls:
        pulumi.export("urls", platform.urls)
    else:
        pulumi.export("portForward", platform.port_forward_commands)


main()
