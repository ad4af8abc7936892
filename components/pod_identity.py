"""EKS Pod Identity: how the pods of one service account get a role of their own."""

from __future__ import annotations

import json


def trust_policy(cluster_arn: str, namespace: str, service_account: str) -> str:
    """Who may take a role: EKS Pod Identity, for the pods of that service account of that cluster.

    Source: "Create IAM role with trust policy required by EKS Pod Identity", EKS user guide.
    """
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "pods.eks.amazonaws.com"},
                    "Action": ["sts:AssumeRole", "sts:TagSession"],
                    "Condition": {
                        "StringEquals": {
                            "aws:RequestTag/eks-cluster-arn": cluster_arn,
                            "aws:RequestTag/kubernetes-namespace": namespace,
                            "aws:RequestTag/kubernetes-service-account": service_account,
                        }
                    },
                }
            ],
        }
    )
