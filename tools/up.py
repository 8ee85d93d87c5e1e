"""Sets up, builds, and runs a cluster on this machine: three nodes on 127.0.0.1, 127.0.0.2, 127.0.0.3.

Without --detach it stays in the foreground until Ctrl-C, which stops the nodes cleanly; the data stays in --dir and is
found again by the next run. With --detach it returns when every node is ready and every group has its voters, leaving
DIR/cluster.json for clients; on an existing DIR it starts the same cluster again. tools/down stops it."""
import argparse
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from localcluster import BINARY, ROOT, Cluster, ClusterError, wait  # noqa: E402


def build(demo):
    subprocess.run([os.path.join(ROOT, "tools", "setup"), *([] if demo else ["--build"])], check=True)
    quiet = {"stdout": subprocess.DEVNULL}
    subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True, **quiet)
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "bindery", "-j", str(os.cpu_count())],
                   cwd=ROOT, check=True, **quiet)


def show(cluster):
    info, node = cluster.info, cluster.info["nodes"][0]
    s3, ca = info["s3"], info.get("ca")

    def trust(variable):
        return f" \\\n         {variable}={ca}" if ca else ""
    print("\nThe cluster is up.")
    for each in info["nodes"]:
        print(f"  node {each['id']}   REST {each['rest']}   bindings {each['bindings']}   S3 {each['s3']}")
    print(f"""
  account {info['account_id']}   token {info['token']}

With wrangler:
  export CLOUDFLARE_API_BASE_URL={node['rest']}/client/v4 CLOUDFLARE_ACCOUNT_ID={info['account_id']} \\
         CLOUDFLARE_API_TOKEN={info['token']} WRANGLER_SEND_METRICS=false{trust("NODE_EXTRA_CA_CERTS")}
  npx wrangler r2 bucket create demo

With the aws cli:
  export AWS_ACCESS_KEY_ID={s3['access_key_id']} AWS_SECRET_ACCESS_KEY={s3['secret_access_key']} \\
         AWS_DEFAULT_REGION={s3['region']} AWS_ENDPOINT_URL={node['s3']}{trust("AWS_CA_BUNDLE")}
  aws --endpoint-url {node['s3']} s3 mb s3://demo && aws --endpoint-url {node['s3']} s3 cp README.md s3://demo/

With workerd (Durable Objects; workerd serve --experimental config.capnp), in the service's config:
  cluster = (bucket = "s3://demo/c1", bucketOptions = ["aws_endpoint={node['s3']}", "aws_region={s3['region']}",
    "aws_access_key_id={s3['access_key_id']}", "aws_secret_access_key={s3['secret_access_key']}"],
    address = "127.0.0.1:9311", key = "<32 bytes or more>")
""", flush=True)


def start_demo(cluster):
    """Two released workerds with a Durable Object class, on a bucket of the cluster."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "clients"))
    from s3clients import boto
    from workerds import BUCKET, Workerds, install
    install()
    workerds = Workerds(cluster, cluster.dir)
    client = boto(cluster, 0)
    if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        workerds.make_bucket(client)
    for number in range(len(workerds.processes)):
        workerds.start(number)
    for number in range(len(workerds.processes)):
        wait(lambda n=number: workerds.answers(n), 60, f"workerd {number} to answer")
    print(f"""Durable Objects (tests/clients/demo/worker.js) on two workerds; increment and read an object through either:
  curl -X POST '{workerds.url(0)}/hello?id=1'; curl {workerds.url(1)}/hello
""", flush=True)
    return workerds


def main():
    parser = argparse.ArgumentParser(prog="tools/up", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", default=os.path.join(ROOT, "build", "cluster"), help="where data and logs are kept")
    parser.add_argument("--nodes", type=int, default=3, help="of a new cluster")
    parser.add_argument("--base-port", type=int, default=7700, help="of a new cluster: ports P to P+3 on each address")
    parser.add_argument("--tls", action="store_true",
                        help="of a new cluster: https on the client ports, certified by the cluster's own CA")
    parser.add_argument("--memory", default="1GiB", help="of each node")
    parser.add_argument("--detach", action="store_true", help="return when the cluster is ready")
    parser.add_argument("--demo", action="store_true", help="also run Durable Objects on two workerds (foreground only)")
    parser.add_argument("--no-build", action="store_true", help="use what is built")
    options = parser.parse_args()
    if not 1 <= options.nodes <= 9:
        parser.error("--nodes must be 1 to 9")
    if options.demo and options.detach:
        parser.error("--demo stays in the foreground: not with --detach")
    if not options.no_build:
        build(options.demo)
    if not os.path.exists(BINARY):
        print(f"tools/up: {BINARY} is not built", file=sys.stderr)
        return 1
    cluster = demo = None
    try:
        cluster = Cluster(options.dir, options.nodes, options.base_port, options.memory, tls=options.tls)
        cluster.start()
        show(cluster)
        if options.demo:
            demo = start_demo(cluster)
        if not options.detach:
            print("Ctrl-C stops it; the data stays.", flush=True)
            wait(lambda: cluster.check_alive(), float("inf"), "Ctrl-C")
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
        if demo is not None:
            demo.stop()
        if cluster is not None:
            cluster.stop()
    except ClusterError as error:
        print(f"tools/up: {error}", file=sys.stderr)
        if not options.detach and cluster is not None:
            cluster.stop()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
