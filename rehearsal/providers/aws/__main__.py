"""pulumi-resource-aws: `python -m rehearsal.providers.aws`."""

from rehearsal.providers.aws.provider import AwsProvider
from rehearsal.providers.protocol.process import serve

if __name__ == "__main__":
    serve(AwsProvider())
