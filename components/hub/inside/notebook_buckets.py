"""Runs once when a notebook starts, in its container: tries the team's S3 prefixes, and says what works there.

A role that is limited to prefixes may not use HeadBucket or list a bucket's root: both are one permission
(`s3:ListBucket` without `s3:prefix`). Some libraries ask for them anyway. This needs botocore or pyarrow; each image
has one of them. What it prints is for people, in /tmp/buckets.txt; JupyterLab shows a summary.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Seconds. Nobody waits for it, and S3 either answers at once or not at all.
TIMEOUT = 10
TEXT = "/tmp/buckets.txt"  # noqa: S108 - in a container

# docs/notebooks.md, "Buckets", lists the versions that this was tried with.
WORKS = """
This notebook may use prefixes of a bucket, not the bucket as a whole: S3 refuses HeadBucket and a listing of its root.
What works, for s3://BUCKET/PREFIX/ as above:

  boto3    list_objects_v2(Bucket="BUCKET", Prefix="PREFIX/"), and objects by their keys. Not head_bucket.
  s3fs, and pandas with it
           Files and folders below the prefix. Not ls("BUCKET"), and not read_parquet of the prefix itself.
  pyarrow  Files and folders below the prefix. Not the prefix itself as a dataset. write_dataset and write_to_dataset
           need create_dir=False: otherwise they ask for the bucket ("ACCESS_DENIED during HeadBucket operation").
"""


def by_botocore(bucket: str, prefix: str) -> None:
    """Lists one key of the prefix. Raises ImportError, and botocore's errors."""
    session, config = importlib.import_module("botocore.session"), importlib.import_module("botocore.config")
    quickly = config.Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT, retries={"max_attempts": 2})
    client = session.get_session().create_client("s3", config=quickly)
    client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


def by_pyarrow(bucket: str, prefix: str) -> None:
    """Lists what is directly in the prefix. Raises ImportError, and OSError."""
    fs = importlib.import_module("pyarrow.fs")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    there = fs.S3FileSystem(region=region, connect_timeout=TIMEOUT, request_timeout=TIMEOUT)
    # Not `get_file_info(prefix)`: it asks for an object of that name, which the role may not read.
    there.get_file_info(fs.FileSelector(f"{bucket}/{prefix}".rstrip("/"), allow_not_found=True))


def problem(address: str) -> str | None:
    """Why a prefix, s3://BUCKET/PREFIX, can't be listed. Raises ImportError where there is no S3 client."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    for ask in (by_botocore, by_pyarrow):
        try:
            ask(bucket, prefix)
        except ImportError:
            continue
        except Exception as error:  # of each library's own kind
            return " ".join(str(error).split())[:300] or type(error).__name__
        return None
    raise ImportError("neither botocore nor pyarrow is installed")


def is_whole(address: str) -> bool:
    """Whether it is a whole bucket."""
    return not address.removeprefix("s3://").partition("/")[2]


def summary(found: Mapping[str, str | None]) -> dict[str, str]:
    """What JupyterLab shows about the prefixes and their problems: `level`, and `text` of up to 140 characters."""
    if refused := [address for address, why in found.items() if why]:
        said = f"S3 does not answer for {len(refused)} of your team's {len(found)} prefixes: {TEXT} says why."
        return {"level": "warning", "text": said}
    if all(map(is_whole, found)):
        return {"level": "info", "text": "S3 answers for your team's buckets."}
    said = f"S3 answers for your team's prefixes. {TEXT} says what works there with boto3, s3fs and pyarrow."
    return {"level": "info", "text": said}


def main(addresses: Sequence[str], place: str) -> None:
    """Tries each prefix, prints the result, and leaves the summary where JupyterLab finds it, written in one step."""
    try:
        found = {address: problem(address) for address in addresses}
    except ImportError:
        # Packages that people install do not count: it runs with the image's Python only (start.sh).
        print("Nothing was tried: that needs boto3 or pyarrow in the image, which has neither", flush=True)
        found = {}
    for address, why in found.items():
        print(f"{address}: {why or 'answers'}", flush=True)
    if not all(map(is_whole, addresses)):
        print(WORKS, end="", flush=True)
    if found:
        file = Path(place)
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(summary(found)), encoding="utf-8")
        new.replace(file)


if __name__ == "__main__":
    main(os.environ["GPULAB_BUCKETS"].split(), sys.argv[1])
