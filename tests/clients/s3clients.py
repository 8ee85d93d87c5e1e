"""S3 clients for tests, pointed at a local cluster."""
import os

# A user's own settings must not reach into a test.
for name in [n for n in os.environ if n.startswith(("AWS_", "RCLONE_"))]:
    del os.environ[name]

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402


def boto(cluster, node, **settings):
    """A boto3 client of one node (an index into cluster.info["nodes"])."""
    s3 = cluster.info["s3"]
    options = {"retries": {"max_attempts": 0}, "read_timeout": 40, "connect_timeout": 5, "max_pool_connections": 16}
    verify = settings.pop("verify", cluster.info.get("ca"))
    secret = settings.pop("secret", s3["secret_access_key"])
    access = settings.pop("access", s3["access_key_id"])
    endpoint = settings.pop("endpoint", cluster.info["nodes"][node]["s3"])
    return boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=access, aws_secret_access_key=secret,
                        region_name="auto", verify=verify, config=Config(**{**options, **settings}))
