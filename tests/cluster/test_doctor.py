#!/usr/bin/python3
"""`bindery doctor`: a sound cluster and sound files are called so; a node that is down, and every kind of damage planted
in a copy of a stopped node's files, is found and named."""
import json
import os
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster  # noqa: E402
from s3clients import boto  # noqa: E402

PORT = 19100


def doctor(cluster, *words):
    """(healthy, findings) as JSON; the exit status must agree."""
    result = rig.run(cluster, "doctor", "--json", *words)
    found = json.loads(result.stdout)
    assert result.returncode == (0 if found["healthy"] else 1), (result.returncode, result.stdout, result.stderr)
    assert found["bad"] == sum(each["severity"] == "bad" for each in found["findings"])
    return found["healthy"], found["findings"]


def bad(findings):
    return [f"{each['subject']}: {each['text']}" for each in findings if each["severity"] == "bad"]


def named(findings, *words):
    """One bad finding holds all the words, and says what to do."""
    for each in findings:
        if each["severity"] == "bad" and all(word in f"{each['subject']}: {each['text']}" for word in words):
            assert each["advice"], each
            return
    raise AssertionError(f"{words} not among {bad(findings)}")


def plant_table(copy):
    path = rig.biggest(os.path.join(copy, "state"), ".sst")
    rig.flip(path, 30)
    return "state", os.path.basename(path), "checksum", "shard"


def plant_table_gone(copy):
    path = rig.biggest(os.path.join(copy, "state"), ".sst")
    os.unlink(path)
    return "state", os.path.basename(path)


def plant_journal(copy):
    segment = min(name for name in os.listdir(os.path.join(copy, "journal")) if name.endswith(".seg"))
    rig.flip(os.path.join(copy, "journal", segment), 4096 + 70)
    return "journal", segment, "offset 4096"


def plant_body(copy):
    path = rig.biggest(os.path.join(copy, "bodies"))
    rig.flip(path, os.path.getsize(path) // 2)
    return "bodies", os.path.basename(path), "damaged"


def plant_certificate(copy):
    shutil.copy(os.path.join(copy, "certs", "ca.pem"), os.path.join(copy, "certs", "node.pem"))
    return ("",)


def check_plants(cluster, directory):
    data = cluster.node(1)["data"]
    healthy, findings = doctor(cluster, "--data", data)
    assert healthy, bad(findings)
    texts = [f"{each['subject']}: {each['text']}" for each in findings]
    assert any(text.startswith("bodies: 26 of 26") for text in texts), texts
    assert any(text.startswith("journal and state: 129 groups fit") for text in texts), texts
    for plant in (plant_table, plant_table_gone, plant_journal, plant_body, plant_certificate):
        copy = os.path.join(directory, "copy")
        shutil.copytree(data, copy)
        words = plant(copy)
        healthy, findings = doctor(cluster, "--data", copy)
        assert not healthy, f"{plant.__name__} was not found"
        named(findings, *words)
        shutil.rmtree(copy)
    copy = os.path.join(directory, "copy")
    shutil.copytree(data, copy)
    check_many_missing(cluster, copy)
    os.unlink(rig.biggest(os.path.join(data, "bodies")))
    healthy, findings = doctor(cluster, "--data", data)
    missing = [each for each in findings if each["severity"] == "warn" and "missing" in each["text"]]
    assert healthy and len(missing) == 1, findings


def check_many_missing(cluster, data):
    """A damaged body is told even where so many are missing that not each of those is."""
    bodies = {name: os.path.join(path, name) for path, _, names in os.walk(os.path.join(data, "bodies"))
              for name in names if "-" in name}
    kept = {name: open(path, "rb").read() for name, path in bodies.items()}
    for path in bodies.values():
        os.unlink(path)
    healthy, findings = doctor(cluster, "--data", data)
    missing = [each["text"] for each in findings if each["severity"] == "warn"]
    assert healthy and len(missing) == 21 and f"and {len(bodies) - 20} more are missing" in missing, missing
    last = next(name for name in bodies if not any(name in text for text in missing))
    with open(bodies[last], "wb") as file:
        file.write(kept[last])
    rig.flip(bodies[last], len(kept[last]) // 2)
    healthy, findings = doctor(cluster, "--data", data)
    assert not healthy, findings
    named(findings, "bodies", last, "damaged")


def misses_group0(cluster, number):
    status, answer = cluster.get(number, "/bindery/v1/status")
    return status == 200 and not answer["result"]["group0_answers"]


def check_online(cluster):
    healthy, findings = doctor(cluster)
    assert healthy, bad(findings)
    subjects = {each["subject"] for each in findings}
    assert {"node 1", "node 2", "node 3", "groups"} <= subjects, subjects
    assert any(each["text"].startswith("of 2 of 2 databases all pages") for each in findings), findings
    rig.kill(cluster, 3)
    cluster.wait(lambda: len(bad(doctor(cluster)[1])) == 1, 30, "leaders of every group")
    healthy, findings = doctor(cluster)
    assert not healthy and len(bad(findings)) == 1, bad(findings)
    named(findings, "node ", "does not answer", "127.0.0.3")
    assert any(each["severity"] == "warn" and "fewer than 3 voters" in each["text"] for each in findings), findings
    rig.kill(cluster, 2)
    cluster.wait(lambda: misses_group0(cluster, 1), 30, "node 1 to miss group 0")
    healthy, findings = doctor(cluster)
    assert not healthy
    named(findings, "node 1", "does not reach group 0")


def make_databases(cluster):
    """Two, one of which is written until just before its replicas are compared."""
    path = f"/client/v4/accounts/{cluster.info['account_id']}/d1/database"
    for name in ("first", "second"):
        assert cluster.get(1, path, {"name": name}, "POST")[0] == 200
        for sql in ("CREATE TABLE t (v)", "INSERT INTO t SELECT randomblob(3000) FROM json_each('[" + "1," * 499 + "1]')"):
            status, answer = cluster.get(1, f"{path}/{name}/query", {"sql": sql}, "POST")
            assert status == 200, answer
    cluster.wait(cluster.settled, 60, "the groups of SQL to have leaders")


def run(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="128MiB")
    with rig.ended_after(cluster):
        cluster.start()
        client = boto(cluster, 0)
        client.create_bucket(Bucket="bucket")
        for number in range(200):
            client.put_object(Bucket="bucket", Key=f"k{number}", Body=os.urandom(500))
        for number in range(26):
            client.put_object(Bucket="bucket", Key=f"large{number}", Body=os.urandom(3_000_000 if number < 2 else 70_000))
        make_databases(cluster)
        check_online(cluster)
        healthy, findings = doctor(cluster, "--data", cluster.node(1)["data"])
        assert not healthy
        named(findings, "data directory", "LOCK")
        cluster.signal(1, signal.SIGTERM)
        cluster.wait_gone(1)
        check_plants(cluster, directory)


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-doctor-") as directory:
        run(directory)
    print("doctor: all as promised")


main()
