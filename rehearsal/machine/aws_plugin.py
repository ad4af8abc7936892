"""The real aws plugin against the simulated AWS: what configures its providers, in the rehearsal's own copy only.

The credentials come from the rehearsal's environment. The account id is still requested, because the plugin puts it
into ARNs; the simulated STS answers.
"""

from __future__ import annotations

import json
from pathlib import Path

# As the plugin calls the services whose types and functions the stand-in knows, and STS. Some services have several
# names there, of which only one may be set. AWS_ENDPOINT_URL covers the services that are not listed.
SERVICES = (
    "acm", "backup", "ec2", "ecr", "efs", "eks", "elbv2", "events", "iam", "kms", "logs", "rds", "route53", "s3",
    "secretsmanager", "servicequotas", "sqs", "ssm", "sts", "wafv2",
)  # fmt: skip

SWITCHES = ("s3_use_path_style", "skip_credentials_validation", "skip_metadata_api_check")

# Runs the program, and adds the settings to each provider that it makes by itself.
_PROGRAM = """\
import runpy

import pulumi

SETTINGS = {settings!r}


def configured(args):
    if args.type_ == "pulumi:providers:aws":
        return pulumi.ResourceTransformationResult({{**args.props, **SETTINGS}}, args.opts)
    return None


pulumi.runtime.register_stack_transformation(configured)
runpy.run_path({program!r}, run_name="__main__")
"""


def program(path: Path, url: str) -> str:
    """The text of a program that runs the one at `path`, whose providers use the simulated AWS at `url`.

    The program makes all its providers by itself: the stack file may not configure one. Settings of a provider that are
    not text travel as JSON.
    """
    settings = {
        "endpoints": json.dumps([dict.fromkeys(SERVICES, url)]),
        **dict.fromkeys(SWITCHES, json.dumps(True)),
    }
    return _PROGRAM.format(settings=settings, program=str(path))
