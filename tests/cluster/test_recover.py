#!/usr/bin/python3
"""Quorum loss: of three nodes two are gone for good. `bindery recover` says what may be lost, changes nothing unless it
is told yes, and makes the third the only voter: everything acknowledged that it had is served; the old nodes, started
again with their data, are refused; two new ones join and there are three replicas again."""
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster, wait  # noqa: E402
from s3clients import boto  # noqa: E402

PORT = 19000
SURVIVOR = 3
ID_GAP = 1 << 20
FENCED = 77  # the exit status of a node that is a member no more


def bindery(cluster, *words, **more):
    return rig.bindery(cluster, *words, node=SURVIVOR, **more)


def fingerprint(directory):
    """Of every file of the journal, and of the list of peers."""
    found = {}
    for path in [os.path.join(directory, "peers"), *(os.path.join(directory, "journal", name)
                                                     for name in os.listdir(os.path.join(directory, "journal")))]:
        with open(path, "rb") as file:
            found[path] = hashlib.sha256(file.read()).hexdigest()
    return found


def fill(cluster):
    client, written = boto(cluster, 0), {}
    client.create_bucket(Bucket="kept")
    for number in range(60):
        written[f"small{number}"] = os.urandom(200 + number)
    for number in range(3):
        written[f"large{number}"] = os.urandom(6_000_000 + number)
    for key, body in written.items():
        client.put_object(Bucket="kept", Key=key, Body=body)
    return written


def d1(cluster, number, *words, **body):
    status, answer = cluster.get(number, "/".join(("/client/v4/accounts", cluster.info["account_id"], "d1/database", *words)),
                                 body=body, method="POST")
    assert status == 200, f"d1 {words}: {status} {answer}"
    return answer["result"]


def fill_database(cluster):
    """The first database: from now on there are groups of SQL."""
    database = d1(cluster, 1, name="kept")["uuid"]
    d1(cluster, 1, database, "query", sql="CREATE TABLE t(n INTEGER)")
    for number in range(10):
        d1(cluster, 1 + number % 3, database, "query", sql="INSERT INTO t VALUES(?)", params=[number])
    return database


def check_database(cluster, number, database):
    rows = d1(cluster, number, database, "query", sql="SELECT n FROM t ORDER BY n")[0]["results"]
    assert [row["n"] for row in rows] == list(range(10)), rows


def caught_up(cluster):
    """Every node has applied everything, and has every body."""
    view = json.loads(bindery(cluster, "top", "--once", "--json", "--interval", "0.2"))
    return all(group["lag"] == 0 and group["answering"] == 3 for group in view["groups"]) and \
        all(count_bodies(node["data"]) >= 3 for node in cluster.info["nodes"])


def count_bodies(data):
    return sum(os.path.basename(os.path.dirname(path)) != "tmp" for path in rig.files(os.path.join(data, "bodies")))


def check_served(cluster, index, written):
    client = boto(cluster, index)
    for key, body in written.items():
        assert client.get_object(Bucket="kept", Key=key)["Body"].read() == body, key
    listed = client.list_objects_v2(Bucket="kept")["Contents"]
    assert {each["Key"] for each in listed} == set(written), len(listed)


def check_status_without_majority(cluster):
    """The survivor says what is missing: as it goes on running, and started anew, when it knows but its own files."""
    assert "healthy" in bindery(cluster, "status")
    for number in (1, 2):
        rig.kill(cluster, number)

    def status():
        said = bindery(cluster, "status", "--json", expect=1)
        return json.loads(said[:said.rindex("}") + 1])
    wait(lambda: not status()["group0_answers"] and all(group["leader"] == 0 for group in status()["groups"]), 30,
         "the survivor to notice")
    check_trouble(cluster, status(), "as they were")
    rig.kill(cluster, SURVIVOR)
    rig.spawn(cluster, SURVIVOR)
    cluster.wait(lambda: cluster.get(SURVIVOR, "/readyz")[0] == 503, 20, "the survivor's ports to say that it is not ready")
    assert status()["view_age_ms"] is None
    check_trouble(cluster, status(), "its files")
    assert cluster.get(SURVIVOR, "/bindery/v1/tokens")[0] == 503
    bindery(cluster, "status", expect=1, token="nobody")
    cluster.processes = {SURVIVOR: cluster.processes[SURVIVOR]}


def check_trouble(cluster, status, since):
    up = {node["id"]: node["up"] for node in status["nodes"]}
    assert up == {1: False, 2: False, SURVIVOR: True} and not status["settled"], status["nodes"]
    groups = len(status["groups"])
    assert groups == 129 and all(len(group["members"]) == 3 for group in status["groups"])
    said = bindery(cluster, "status", expect=1)
    assert "in trouble" in said and since in said, said
    assert f"of {groups} no majority of the voters is up" in said, said
    for number in (1, 2):
        assert f"node {number} at 127.0.0.{number}:{PORT + 3} is missing to {groups} of them" in said, said
        assert f"node {number} does not answer" in said, said
    assert f"node {SURVIVOR} answers, leads 0 of its {groups} groups, and has connections to nobody" in said, said


def check_recover(cluster):
    data = cluster.node(SURVIVOR)["data"]
    assert "--data" in bindery(cluster, "recover", expect=2)
    assert "LOCK" in bindery(cluster, "recover", "--data", data, "--yes", expect=1).upper()
    assert "node.toml" in bindery(cluster, "recover", "--data", cluster.dir, "--yes", expect=1)
    rig.kill(cluster, SURVIVOR)
    before = fingerprint(data)
    assert "0 bad" in bindery(cluster, "doctor", "--data", data)
    said = bindery(cluster, "recover", "--data", data, expect=1, stdin="no\n")
    assert "nothing was changed" in said and len(re.findall(r"^(sql )?shard \d+ ", said, re.M)) == 128, said
    assert "group 0" in said and "only voter" in said, said
    assert fingerprint(data) == before, "a refusal changed files"
    check_refuses_damage(cluster, data)
    assert "Done" in bindery(cluster, "recover", "--data", data, stdin="yes\n")
    assert "nothing to recover" in bindery(cluster, "recover", "--data", data, "--yes", expect=1)


def check_refuses_damage(cluster, data):
    copy = data + "-damaged"
    shutil.copytree(data, copy)
    segment = min(name for name in os.listdir(os.path.join(copy, "journal")) if name.endswith(".seg"))
    rig.flip(os.path.join(copy, "journal", segment), 4096 + 100)
    before = fingerprint(copy)
    said = bindery(cluster, "recover", "--data", copy, "--yes", expect=1)
    assert segment in said and "offset 4096" in said, said
    assert fingerprint(copy) == before
    shutil.rmtree(copy)


def check_old_nodes_refused(cluster, written):
    """The lost majority comes back with its data: it would be a cluster of its own. This one does not hear it, and tells it so:
    it stops serving, however often it is started."""
    def refused():
        return len(set(re.findall(r"it says it is node (\d+); .*no more", rig.log_of(cluster, SURVIVOR)))) == 2
    for _ in range(2):
        for number in (1, 2):
            rig.spawn(cluster, number)
        for number in (1, 2):
            assert cluster.processes[number].wait(60) == FENCED, cluster.tail(number)
            assert f"node {SURVIVOR} says that this one is a member no more" in cluster.tail(number), cluster.tail(number)
    assert refused()
    client = boto(cluster, SURVIVOR - 1)
    client.put_object(Bucket="kept", Key="after", Body=b"1")
    written["after"] = b"1"
    status, answer = cluster.get(SURVIVOR, "/bindery/v1/status")
    assert status == 200
    gone = [node for node in answer["result"]["nodes"] if node["state"] == "gone"]
    assert len(gone) == 2 and not any(node["up"] for node in gone), answer["result"]["nodes"]
    self_id = answer["result"]["self"]
    for group in answer["result"]["groups"]:
        assert group["leader"] == self_id, group
        assert [member["node"] for member in group["members"]] == [self_id], group
    for number in (1, 2):
        shutil.rmtree(cluster.node(number)["data"])
    cluster.processes = {SURVIVOR: cluster.processes[SURVIVOR]}


def three_voters(cluster):
    status, answer = cluster.get(SURVIVOR, "/bindery/v1/status")
    return status == 200 and answer["result"]["settled"] and \
        all(sum(member["role"] == "voter" for member in group["members"]) == 3
            for group in answer["result"]["groups"])


def check_new_nodes(cluster, written):
    for number in (1, 2):
        token = cluster.get(SURVIVOR, "/bindery/v1/join-tokens", body={}, method="POST")[1]["result"]["token"]
        rig.spawn(cluster, number, join=f"127.0.0.{SURVIVOR}:{PORT + 3}", token=token)
    cluster.wait(lambda: all(cluster.ready(number) for number in (1, 2)), 60, "the new nodes to be ready")
    cluster.wait(lambda: three_voters(cluster), 120, "three voters of every group")
    nodes = cluster.get(SURVIVOR, "/bindery/v1/status")[1]["result"]["nodes"]
    active = sorted(node["id"] for node in nodes if node["state"] == "active")
    assert len(active) == 3 and all(node > ID_GAP for node in active[1:]), nodes
    check_served(cluster, 0, written)
    boto(cluster, 1).put_object(Bucket="kept", Key="last", Body=b"2")
    written["last"] = b"2"
    check_served(cluster, SURVIVOR - 1, written)


def run(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="128MiB")
    with rig.ended_after(cluster):
        cluster.start()
        written = fill(cluster)
        database = fill_database(cluster)
        cluster.wait(lambda: caught_up(cluster), 60, "every node to have everything")
        check_status_without_majority(cluster)
        check_recover(cluster)
        rig.spawn(cluster, SURVIVOR)
        cluster.processes = {SURVIVOR: cluster.processes[SURVIVOR]}
        cluster.wait(lambda: cluster.ready(SURVIVOR), 60, "the survivor to be ready")
        check_served(cluster, SURVIVOR - 1, written)
        check_database(cluster, SURVIVOR, database)
        check_old_nodes_refused(cluster, written)
        check_served(cluster, SURVIVOR - 1, written)
        check_new_nodes(cluster, written)
        check_database(cluster, 1, database)


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-recover-") as directory:
        run(directory)
    print("recover: all as promised")


main()
