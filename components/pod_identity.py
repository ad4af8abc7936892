"""EKS Pod Identity: how the pods of one service account get a role of their own.

An association acts some seconds after it is made ("Learn how EKS Pod Identity grants pods access to AWS services", EKS
user guide). A pod that is admitted before gets no credentials for life, as its containers start again without being
admitted again. So an association waits for the control plane only, minutes before the node on which its pod starts: no
service account, node or addon has to be there. What runs the pods depends on it, which makes it go after them.
"""

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
