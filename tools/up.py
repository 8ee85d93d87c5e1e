"""Sets up, builds, and runs a cluster on this machine: three nodes on 127.0.0.1, 127.0.0.2, 127.0.0.3.

Without --detach it stays in the foreground until Ctrl-C, which stops the nodes cleanly; the data stays in --dir and is
found again by the next run. With --detach it returns when every node is ready and every group has its voters, leaving
DIR/cluster.json for clients; on an existing DIR it starts the same cluster again. tools/down stops it."""
import argparse
import os
import shlex
import signal
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


def shell_environment(cluster):
    """What clients of every kind need, as lines of a shell."""
    info, node, s3 = cluster.info, cluster.info["nodes"][0], cluster.info["s3"]
    variables = {
        "BINDERY_URL": node["rest"], "BINDERY_API_TOKEN": info["token"],
        "AWS_ACCESS_KEY_ID": s3["access_key_id"], "AWS_SECRET_ACCESS_KEY": s3["secret_access_key"],
        "AWS_DEFAULT_REGION": s3["region"], "AWS_ENDPOINT_URL": node["s3"],
        "CLOUDFLARE_API_BASE_URL": node["rest"] + "/client/v4", "CLOUDFLARE_ACCOUNT_ID": info["account_id"],
        "CLOUDFLARE_API_TOKEN": info["token"], "WRANGLER_SEND_METRICS": "false"}
    if info.get("ca"):
        variables.update({name: info["ca"] for name in
                          ("BINDERY_CA", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")})
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, f"PATH={shlex.quote(os.path.dirname(BINARY))}:$PATH"]) + "\n"


def show(cluster):
    info, s3 = cluster.info, cluster.info["nodes"][0]["s3"]
    environment = os.path.join(cluster.dir, "env")
    with open(os.open(environment, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(shell_environment(cluster))
    nodes = len(info["nodes"])
    print(f"\nBindery is up: {nodes} node{'s' if nodes > 1 else ''}, data and logs in {cluster.dir}\n")
    print(f"  {'NODE':<6}{'REST':<26}{'S3':<26}LOG")
    for node in info["nodes"]:
        print(f"  {node['id']:<6}{node['rest']:<26}{node['s3']:<26}{cluster.path(node['id'], 'log')}")
    print(f"""
Any node serves any request. Addresses and credentials for the clients below are in one file; in another shell:

  . {shlex.quote(environment)}

  bindery status                                   # also: bindery top, bindery r2 --help
  aws --endpoint-url {s3} s3 mb s3://demo
  aws --endpoint-url {s3} s3 cp README.md s3://demo/
  npx wrangler r2 object get demo/README.md --remote --pipe

  # a wrangler project with Durable Objects, on a released workerd:
  bindery r2 bucket create durable-objects --path-segments 5
  npx wrangler deploy --dry-run --outdir dist
  bindery workerd-config wrangler.jsonc --module dist/index.js --s3 {s3} \\
      --disk do-cache --key-file do-key --out config.capnp
  npx workerd serve --experimental config.capnp

account {info['account_id']}   API token {info['token']}
S3 access key {info['s3']['access_key_id']}   secret {info['s3']['secret_access_key']}   region {info['s3']['region']}
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
    print(f"""The demo: a Durable Object class (tests/clients/demo/worker.js) on two workerds. Count in an object through one, read
it through the other, kill a node meanwhile and start it again:

  curl -X POST '{workerds.url(0)}/hello?id=1'
  curl {workerds.url(1)}/hello
  tools/cluster kill 2 --dir {shlex.quote(cluster.dir)}
  tools/up --no-build --detach --dir {shlex.quote(cluster.dir)}
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
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, signal.default_int_handler)
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
            print(f"stopped; the data is in {cluster.dir}, and tools/up finds it again", flush=True)
    except ClusterError as error:
        print(f"tools/up: {error}", file=sys.stderr)
        if not options.detach and cluster is not None:
            cluster.stop()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
