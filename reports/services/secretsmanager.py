"""AWS Secrets Manager."""

from __future__ import annotations

from reports.account import Account, Held
from reports.aws_type import AwsType
from reports.aws_type.listing import inline_tags, listing
from reports.aws_type.pricing import flat, monthly
from reports.aws_type.steps import Steps


def _remove_secret(_account: Account, held: Held) -> Steps:
    yield ["aws", "secretsmanager", "delete-secret", "--secret-id", held.id, "--recovery-window-in-days", "7"]


TYPES = (
    AwsType(
        type="aws:secretsmanager/secret:Secret",
        listing=listing(
            "secretsmanager",
            "list_secrets",
            "SecretList",
            "ARN",
            inline_tags("Tags"),
            name_key="Name",
            IncludePlannedDeletion=True,
        ),
        remove=_remove_secret,
        after=("eks clusters", "rds DBInstances"),
        price=flat(monthly, "secret", "a secret"),
    ),
)
