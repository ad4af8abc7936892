"""The VPC's flow logs in CloudWatch: accepted and rejected connections."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from components.iam import policy_document, service_trust_policy


def flow_logs(
    name: str, cluster_name: str, vpc: aws.ec2.Vpc, retention_days: int, opts: pulumi.ResourceOptions
) -> None:
    """Makes the flow log of `vpc`, its log group and its role. CloudWatch keeps the records for `retention_days`."""
    log_group = aws.cloudwatch.LogGroup(
        f"{name}-flow-logs",
        name=f"/gpulab/{cluster_name}/vpc-flow-logs",
        retention_in_days=retention_days,
        opts=opts,
    )
    role = aws.iam.Role(f"{name}-flow-logs", assume_role_policy=log_group.arn.apply(flow_logs_trust_policy), opts=opts)
    policy = aws.iam.RolePolicy(
        f"{name}-flow-logs", role=role.name, policy=log_group.arn.apply(flow_logs_policy), opts=opts
    )
    aws.ec2.FlowLog(
        name,
        vpc_id=vpc.id,
        traffic_type="ALL",
        log_destination_type="cloud-watch-logs",
        log_destination=log_group.arn,
        iam_role_arn=role.arn,
        tags={"Name": name},
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[policy])),
    )


def flow_logs_trust_policy(log_group_arn: str) -> str:
    """Who may assume the flow logs' role: the service, for flow logs of this account and region (no confused deputy).

    Source: "IAM role for publishing flow logs to CloudWatch Logs", VPC user guide.
    """
    _, partition, _, region, account_id, *_ = log_group_arn.split(":")
    return service_trust_policy(
        "vpc-flow-logs.amazonaws.com",
        StringEquals={"aws:SourceAccount": account_id},
        ArnLike={"aws:SourceArn": f"arn:{partition}:ec2:{region}:{account_id}:vpc-flow-log/*"},
    )


def flow_logs_policy(log_group_arn: str) -> str:
    """What the flow logs' role may do: write streams of its log group, which it can neither create nor delete."""
    return policy_document(
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            "Resource": f"{log_group_arn}:*",
        },
        # A list action: IAM knows no narrower resource for it.
        {"Effect": "Allow", "Action": "logs:DescribeLogGroups", "Resource": "*"},
    )
