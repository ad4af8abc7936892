"""gpulab: one stack file becomes a notebook platform on EKS. Settings check it, components build it."""

from __future__ import annotations

import pulumi

import settings
from components.first_sign_in import hub_output
from components.platform import Platform
from contracts import eks


def main() -> None:
    """Check the stack's settings, then deploy the platform and export how to reach it.

    GPULAB_TODAY (YYYY-MM-DD) stands in for today's date (UTC), by which a lab expires.
    """
    try:
        # All keys, not those we know of: a mistyped section must be refused, and Config can only be asked by name.
        config = pulumi.runtime.get_config_env()
        name = pulumi.get_stack()
        # What the engine keeps to itself: keys beside config, and numbers that it made texts.
        written = settings.as_written(f"Pulumi.{name}.yaml", config)
        stack = settings.load(config, stack=name, today=eks.today(), written=written)
    except settings.SettingsError as error:
        # Pulumi shows a RunError as it stands, without a traceback.
        raise pulumi.RunError(str(error)) from None

    for warning in stack.warnings:
        pulumi.log.warn(str(warning))
    platform = Platform(stack.cluster.name, stack)
    pulumi.export("region", platform.region)
    if stack.network.only:
        return
    pulumi.export("cluster", platform.cluster_name)
    pulumi.export("kubeconfig", platform.update_kubeconfig_command)
    if platform.retained:
        pulumi.export("retained", platform.retained)
    if stack.running_hub:
        pulumi.export("hub", hub_output(stack))
    if platform.kubectl_login_command:
        pulumi.export("kubectlLogin", platform.kubectl_login_command)
    if stack.ingress.has_load_balancer:
        pulumi.export("urls", platform.urls)
    else:
        pulumi.export("portForward", platform.port_forward_commands)


main()
