#!/usr/bin/python3
"""Bit flips in the state and in a body of one node of three, and a state table that is gone: the node notices, stops
with status 75, starts again, and fills what was damaged from the others, without hands. Nothing wrong is served, and in
the end it alone with one other node serves everything."""
import json
import os
import re
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster  # noqa: E402
from s3clients import boto  # noqa: E402

PORT = 19200
HURT = 2


def count(cluster, pattern):
    return len(re.findall(pattern, rig.log_of(cluster, HURT)))


def sound(cluster):
    """doctor finds nothing in the hurt node's files; it must be stopped."""
    rig.bindery(cluster, "doctor", "--data", cluster.node(HURT)["data"])


def stop(cluster):
    cluster.signal(HURT, signal.SIGTERM)
    cluster.wait_gone(HURT, 60)
    assert cluster.processes[HURT].wait(10) == 0
    del cluster.processes[HURT]


def start(cluster):
    rig.spawn(cluster, HURT)
    cluster.wait(lambda: cluster.ready(HURT), 60, "the hurt node to be ready")
    cluster.wait(lambda: cluster.settled(HURT), 60, "every group to be settled again")


def check_served(cluster, number, written):
    client = boto(cluster, number - 1)
    for key, body in written.items():
        assert client.get_object(Bucket="bucket", Key=key)["Body"].read() == body, key


def replicas_equal(cluster):
    """The hurt node has applied as much of each group as its leader has committed."""
    status, here = cluster.get(HURT, "/bindery/v1/status")
    if status != 200:
        return False
    mine = {group["gid"]: group for group in here["result"]["groups"]}
    for node in cluster.info["nodes"]:
        status, there = cluster.get(node["id"], "/bindery/v1/status")
        for group in there["result"]["groups"] if status == 200 else []:
            if group["gid"] not in mine or mine[group["gid"]]["applied"] < group["commit"]:
                return False
    return len(mine) == 65


def check_tables(cluster, written, plant):
    repaired = count(cluster, "are filled again by their leaders")
    stop(cluster)
    plant(os.path.join(cluster.node(HURT)["data"], "state", "rocks"))
    start(cluster)
    for number in range(20):
        key = f"more{len(written)}"
        written[key] = os.urandom(300 + number)
        boto(cluster, number % 3).put_object(Bucket="bucket", Key=key, Body=written[key])
    check_served(cluster, HURT, written)
    cluster.wait(lambda: count(cluster, "are filled again by their leaders") == repaired + 1, 30, "the repair")
    cluster.wait(lambda: replicas_equal(cluster), 60, "the hurt node to have everything")
    stop(cluster)
    assert not os.path.exists(os.path.join(cluster.node(HURT)["data"], "damaged"))
    sound(cluster)
    start(cluster)


def flip_all(rocks):
    tables = rig.files(rocks, ".sst")
    assert tables
    for path in tables:
        for offset in range(10, os.path.getsize(path), 3000):
            rig.flip(path, offset)


def flip_biggest(rocks):
    """Near its end, where its index is found: whatever is looked for in the file meets it."""
    path = rig.biggest(rocks, ".sst")
    rig.flip(path, os.path.getsize(path) - 100)


def remove_biggest(rocks):
    os.unlink(rig.biggest(rocks, ".sst"))


def cut_off_while_copying(rocks):
    """A repair of a state that was gone, killed after it had begun its copy and before the journal knew of it."""
    data = os.path.dirname(os.path.dirname(rocks))
    shutil.rmtree(os.path.join(data, "state"))
    os.mkdir(os.path.join(data, "state.new"))
    with open(os.path.join(data, "damaged"), "w", encoding="ascii") as file:
        file.write("planted")


def check_scrub(cluster, written):
    """Damage that nobody asks for is met by the scrub of the running node, and repaired like any other."""
    repaired = count(cluster, "are filled again by their leaders")
    stop(cluster)
    cluster.flags += ["--scrub-s", "3"]
    start(cluster)
    cluster.wait(lambda: count(cluster, "every table file was verified") > 0, 30, "a pass over sound files")
    del cluster.flags[-2:]
    path = rig.biggest(os.path.join(cluster.node(HURT)["data"], "state", "rocks"), ".sst")
    rig.flip(path, os.path.getsize(path) // 2)
    met = f"the next start repairs it: {re.escape(path)}: Corruption"  # as the scrub says it, not a read
    cluster.wait(lambda: count(cluster, met) == 1, 30, "the scrub to meet the damage")
    cluster.wait(lambda: count(cluster, "are filled again by their leaders") == repaired + 1, 30, "the repair")
    cluster.wait(lambda: replicas_equal(cluster), 60, "the hurt node to have everything")
    check_served(cluster, HURT, written)
    stop(cluster)
    sound(cluster)
    start(cluster)


def inspected(cluster, *words, expect=0):
    """What `bindery inspect --json` says: an object a line, and of the same things as its text."""
    said = rig.bindery(cluster, "inspect", *words, "--records", "--json", expect=expect)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    text = rig.bindery(cluster, "inspect", *words, "--records", expect=expect)
    assert sum(line.get("damaged", False) for line in lines) == text.count("DAMAGED"), (lines, text)
    assert lines and len(lines) <= len(text.splitlines()), (len(lines), text)
    return lines


def check_inspect(cluster, body):
    """Of the stopped node; the body is damaged."""
    data = cluster.node(HURT)["data"]
    journal = inspected(cluster, "journal", os.path.join(data, "journal"))
    assert any(line.get("record") == "ENTRY" and line["index"] > 0 for line in journal), journal[:5]
    assert {line["segment"] for line in journal if "batch" in line} <= \
        {line["segment"] for line in journal if "generation" in line}
    state = inspected(cluster, "state", os.path.join(data, "state"))
    objects = [line for line in state if line.get("kind") == "objects"]
    assert len(objects) == sum(line["counts"].get("objects", 0) for line in state if "counts" in line) > 300
    assert all(line["family"] == "objects" and line["record"].startswith("object of bucket") for line in objects)
    parts = inspected(cluster, "body", body, expect=1)
    assert [line["part"] for line in parts if line.get("damaged")][0].startswith("block "), parts
    assert parts[-1]["blocks_sound"] == parts[-1]["blocks"] - 1, parts


def check_body(cluster, written):
    stop(cluster)
    path = rig.biggest(os.path.join(cluster.node(HURT)["data"], "bodies"))
    rig.flip(path, os.path.getsize(path) // 2)
    check_inspect(cluster, path)
    with open(path, "rb") as file:
        bad = file.read()
    start(cluster)
    check_served(cluster, HURT, written)
    check_served(cluster, 1, written)

    def fetched():
        check_served(cluster, HURT, {key: body for key, body in written.items() if len(body) > 1 << 20})
        return count(cluster, "damaged body") > 0
    cluster.wait(fetched, 60, "the damaged body to be met")

    def mended():
        try:
            with open(path, "rb") as file:
                return file.read() != bad
        except FileNotFoundError:
            return False
    cluster.wait(mended, 60, "the body to be fetched again")
    stop(cluster)
    sound(cluster)
    start(cluster)


def run(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="128MiB")
    with rig.ended_after(cluster):
        cluster.start()
        boto(cluster, 0).create_bucket(Bucket="bucket")
        written = {f"k{number}": os.urandom(600) for number in range(300)}
        written.update({f"large{number}": os.urandom(2_000_000) for number in range(2)})
        for number, (key, body) in enumerate(written.items()):
            boto(cluster, number % 3).put_object(Bucket="bucket", Key=key, Body=body)
        for plant in (flip_all, flip_biggest, remove_biggest, cut_off_while_copying):
            check_tables(cluster, written, plant)
            print(f"  {plant.__name__}: repaired")
        check_scrub(cluster, written)
        print("  check_scrub: repaired")
        check_body(cluster, written)
        rig.kill(cluster, 1)
        cluster.wait(lambda: cluster.ready(HURT), 30, "leaders among the other two")
        check_served(cluster, HURT, written)


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-repair-") as directory:
        run(directory)
    print("repair: all as promised")


main()
