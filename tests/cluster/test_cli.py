#!/usr/bin/python3
"""The command line as people meet it: --help, nearest matches, completion, the manual page; `bindery r2` against a node
over https; `bindery inspect` on that node's files, whole and damaged."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import BINARY, Cluster  # noqa: E402
from s3clients import boto  # noqa: E402

PORT = 18600


def bindery(*words, expect=0, data=None, binary=False, **environment):
    """What the command prints: stdout, or stderr if it must fail."""
    result = subprocess.run([BINARY, *words], input=data, capture_output=True, timeout=120, check=False,
                            stdin=subprocess.DEVNULL if data is None else None,
                            env={"PATH": os.environ["PATH"], "TZ": "UTC", **environment})
    assert result.returncode == expect, f"{words}: status {result.returncode}, not {expect}: {result.stderr.decode()}"
    out = result.stdout if expect == 0 else result.stderr
    return out if binary else out.decode()


def commands():
    return re.findall(r"^  ([a-z0-9-]+) ", bindery("--help"), re.MULTILINE)


def verbs_and_flags(command):
    text = bindery(command, "--help")
    section = text.partition("\nCommands:\n")[2].partition("\nFlags:\n")[0]
    verbs = [re.match(r"[a-z -]+[a-z]", line)[0] for line in re.findall(r"^  ([a-z].*)", section, re.MULTILINE)]
    return [re.split(r"  | [A-Z\[]", verb)[0] for verb in verbs], re.findall(r"^  --([a-z0-9-]+)", text, re.MULTILINE)


def check_help():
    names = commands()
    assert {"start", "r2", "inspect", "completion", "man", "version"} <= set(names), names
    assert bindery("help") == bindery("--help") == bindery(expect=2)
    for name in names:
        text = bindery(name, "--help")
        assert text.startswith(f"Usage: bindery {name}") and "--help" in text, text
        assert text == bindery("help", name)
        for line in text.splitlines():
            assert len(line) <= 80, f"{name}: {len(line)}: {line}"
        assert "unknown flag hepl, did you mean help?" in bindery(name, "--hepl", expect=2)
    assert "unknown command statsu, did you mean status?" in bindery("statsu", expect=2)
    for line, message in {
            "token lst": "unknown command lst, did you mean ls?",
            "token": "what to do is missing: create, ls, rm, join",
            "token rm": "rm: ID is missing",
            "token join --ttl never": "--ttl must be a number from 1 to 2592000, not 'never'",
            "token join --tt 5": "unknown flag tt, did you mean ttl?",
            "status now": "unexpected argument now",
            "version 2": "unexpected argument 2",
            "r2 buckets ls": "unknown command buckets ls, did you mean bucket ls?",
            "r2 object put": "object put: BUCKET/KEY is missing",
            "r2 object get a/b c d": "unexpected argument d",
            "r2 bucket create x --path-segmnts 5": "unknown flag path-segmnts, did you mean path-segments?",
            "config chek": "unknown command chek, did you mean check?",
            "start --base-prot 1": "unknown flag base-prot, did you mean base-port?",
            "inspect bdoy x": "unknown command bdoy, did you mean body?",
            "completion csh": "unknown command csh, did you mean zsh?",
            "workerd-config": "wrangler.jsonc is missing",
    }.items():
        assert message in bindery(*line.split(), expect=2), (line, bindery(*line.split(), expect=2))


def check_settings(directory):
    """Wrong settings stay wrong: the status after which the unit does not start a node again."""
    file = os.path.join(directory, "bindery.toml")
    for text, message in {'data = "/d"\nlistn = "127.0.0.1"\n': "listn", 'data = "/d"\nshards = 3\n': "power of two",
                          'data = "/d': file}.items():
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        for command in (["config", "check"], ["start"], ["gateway"]):
            assert message in bindery(*command, "--config", file, expect=2)
    assert "none.toml" in bindery("start", "--config", os.path.join(directory, "none.toml"), expect=2)
    data = os.path.join(directory, "data")
    for words, message in {"--insecure": "--data DIR", f"--data {data} --listen here": "no numeric host",
                           f"--data {data}2 --base-port {PORT} --join 127.0.0.1:1 --token x": "no join token"}.items():
        assert message in bindery("start", *words.split(), expect=2)


def check_key_file(directory):
    """The key of workerds is text, and all of it counts: a NUL would cut it short, unseen."""
    project, key = os.path.join(directory, "wrangler.jsonc"), os.path.join(directory, "key")
    module = os.path.join(directory, "worker.mjs")
    with open(project, "w", encoding="utf-8") as out:
        json.dump({"name": "w", "main": "worker.mjs", "compatibility_date": "2025-01-01",
                   "durable_objects": {"bindings": [{"name": "O", "class_name": "O"}]},
                   "migrations": [{"tag": "v1", "new_sqlite_classes": ["O"]}]}, out)
    with open(module, "w", encoding="utf-8") as out:
        out.write("export class O {}\n")

    def config(content, expect):
        with open(key, "wb") as out:
            out.write(content)
        return bindery("workerd-config", project, "--module", module, "--disk", os.path.join(directory, "disk"),
                       "--key-file", key, expect=expect, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="s")
    for good in (b"k" * 32, b"k" * 256 + b"\r\n"):
        assert f'"{good.strip().decode()}"' in config(good, 0)
    for bad in (b"k" * 31 + b"\n", b"k" * 257, b"\0" + b"k" * 40, b"k" * 40 + b"\0" + b"k" * 10):
        assert "a key is text of 32 to 256 bytes" in config(bad, 1)


def complete(script, line):
    """What bash offers at the end of the line."""
    words = re.split(r" ", line)
    shell = f"""{script}
COMP_WORDS=({" ".join("'" + word + "'" for word in words)}) COMP_CWORD={len(words) - 1}
_bindery
printf '%s\\n' "${{COMPREPLY[@]}}" """
    out = subprocess.run(["bash", "-u", "-c", shell], capture_output=True, text=True, timeout=20, check=False)
    assert out.returncode == 0 and not out.stderr, f"{line}: {out.stderr}"
    return out.stdout.split()


def check_completion():
    script = bindery("completion", "bash")
    names = commands()
    assert complete(script, "bindery ") == names
    assert complete(script, "bindery sta") == ["start", "status"]
    for name in names:
        verbs, flags = verbs_and_flags(name)
        firsts = list(dict.fromkeys(verb.split()[0] for verb in verbs))
        assert complete(script, f"bindery {name} ") == firsts, (name, firsts)
        for first in firsts:
            seconds = [verb.split()[1] for verb in verbs if verb.split()[0] == first and " " in verb]
            assert complete(script, f"bindery {name} {first} ") == seconds, (name, first)
        assert sorted(complete(script, f"bindery {name} --")) == sorted(f"--{flag}" for flag in flags), name
    assert complete(script, "bindery r2 --url http://x bucket i") == ["info"]
    assert complete(script, "bindery r2 --url = http://x bucket i") == ["info"]
    assert complete(script, "bindery r2 --json bucket i") == ["info"]
    assert complete(script, "bindery r2 --ca ") == []  # a file, which bash itself completes
    for shell in ("zsh", "fish"):
        text = bindery("completion", shell)
        for name in names:
            assert re.search(rf"\b{name}\b", text), (shell, name)
        assert "path-segments" in text and "heartbeat-ms" in text


def check_manual():
    page = bindery("man")
    for name in commands():
        for flag in verbs_and_flags(name)[1]:
            assert flag == "help" or "\\-\\-" + flag.replace("-", "\\-") in page, (name, flag)
    formatted = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-P-cbou"], input=page, capture_output=True, text=True, timeout=60,
                               check=False)
    assert formatted.returncode == 0 and not formatted.stderr, formatted.stderr
    assert "EXIT STATUS" in formatted.stdout


def check_r2(run, directory):
    def path(name):
        return os.path.join(directory, name)
    assert run("r2", "bucket", "create", "cli-r2", "--path-segments", "2").startswith("cli-r2 ")
    assert json.loads(run("r2", "bucket", "info", "cli-r2", "--json"))["name"] == "cli-r2"
    assert "already exists" in run("r2", "bucket", "create", "cli-r2", expect=1)
    assert "not valid" in run("r2", "bucket", "create", "No", expect=1)
    assert "does not exist" in run("r2", "bucket", "info", "cli-none", expect=1)
    assert [b["name"] for b in json.loads(run("r2", "bucket", "ls", "--json"))] == ["cli-r2"]
    body = os.urandom(7_000_001)
    with open(path("seven"), "wb") as file:
        file.write(body)
    key = "cli-r2/a/b c+ü%?#"
    put = json.loads(run("r2", "object", "put", key, path("seven"), "--content-type", "a/b", "--json"))
    assert put["size"] == len(body) and put["etag"] == hashlib.md5(body).hexdigest()
    assert run("r2", "object", "get", key, binary=True) == body
    run("r2", "object", "get", key, path("back"))
    with open(path("back"), "rb") as file:
        assert file.read() == body
    piped = os.urandom(3_000_000)
    run("r2", "object", "put", "cli-r2/piped", "-", data=piped)  # of no known length: chunked
    assert run("r2", "object", "get", "cli-r2/piped", "-", binary=True) == piped
    head = json.loads(run("r2", "object", "head", key, "--json"))
    head = {name.lower(): value for name, value in head.items()}
    assert head["content-length"] == str(len(body)) and head["content-type"] == "a/b", head
    assert head["etag"].strip('"') == put["etag"]
    assert "no such object" in run("r2", "object", "head", "cli-r2/none", expect=1)
    assert "does not exist" in run("r2", "object", "get", "cli-r2/none", path("none"), expect=1)
    assert "'cli-r2' is not BUCKET/KEY" in run("r2", "object", "get", "cli-r2", expect=1)
    assert "No such file" in run("r2", "object", "put", "cli-r2/k", path("missing"), expect=1)
    assert "directory" in run("r2", "object", "put", "cli-r2/k", directory, expect=1)
    assert not [name for name in os.listdir(directory) if "part" in name or name == "none"], os.listdir(directory)
    assert "not empty" in run("r2", "bucket", "rm", "cli-r2", expect=1)


def check_r2_lists(run, client):
    names = [f"many/{i:04}" for i in range(1005)]
    for name in names:  # more than a page
        client.put_object(Bucket="cli-r2", Key=name, Body=b"")
    listed = json.loads(run("r2", "object", "ls", "cli-r2", "--prefix", "many/", "--json"))
    assert [o["key"] for o in listed] == names
    assert len(run("r2", "object", "ls", "cli-r2", "--prefix", "many/").splitlines()) == len(names)
    folded = run("r2", "object", "ls", "cli-r2", "--delimiter", "/").splitlines()
    assert [line.split()[-1] for line in folded] == ["piped", "a/", "many/"], folded
    assert json.loads(run("r2", "object", "ls", "cli-r2", "--prefix", "none", "--json")) == []
    for name in names[:3]:
        run("r2", "object", "rm", f"cli-r2/{name}")
    assert len(json.loads(run("r2", "object", "ls", "cli-r2", "--prefix", "many/", "--json"))) == len(names) - 3
    assert "status 401" in run("r2", "bucket", "ls", "--token", "nobody", expect=1)
    assert "certificate" in run("r2", "bucket", "ls", "--ca", "/etc/ssl/certs/ca-certificates.crt", expect=1)


def tree(root):
    return sorted((path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in rig.files(root))


def check_inspect_body(data, directory):
    bodies = [path for path in rig.files(os.path.join(data, "bodies"))
              if "-" in os.path.basename(path) and os.path.getsize(path) > 6_900_000]
    assert len(bodies) == 1, bodies
    text = bindery("inspect", "body", bodies[0])
    assert "header: ok" in text and "footer: ok" in text and "blocks: 107 of 107 match" in text, text
    assert bindery("inspect", "body", bodies[0], "--records").count(": ok: ") == 109
    size = os.path.getsize(bodies[0])
    damage = {10: "header: DAMAGED", 64 + 3 * (65536 + 16) + 20: "block 3 (bytes 196608 to 262143): DAMAGED",
              size - 40: "footer: DAMAGED"}
    for place, message in damage.items():
        copy = os.path.join(directory, os.path.basename(bodies[0]))
        shutil.copy(bodies[0], copy)
        rig.flip(copy, place)
        result = subprocess.run([BINARY, "inspect", "body", copy], capture_output=True, text=True, check=False)
        good = "106 of 107" if "block" in message else "107 of 107"
        assert result.returncode == 1 and message in result.stdout and f"blocks: {good}" in result.stdout, result
        assert result.stdout.count("DAMAGED") == 1, result.stdout
        os.unlink(copy)
    with open(os.path.join(directory, "cut"), "wb") as file, open(bodies[0], "rb") as whole:
        file.write(whole.read(1_000_000))
    assert "blocks: 15 of 16" in subprocess.run([BINARY, "inspect", "body", os.path.join(directory, "cut")],
                                                capture_output=True, text=True, check=False).stdout


def check_inspect_state(data, directory):
    state = os.path.join(data, "state")
    before = tree(state)
    text = bindery("inspect", "state", state)
    assert text.count("\nslot ") == 65 and "applied to index" in text and " 1 buckets" in text, text[:500]
    assert sum(int(n) for n in re.findall(r"(\d+) objects\b", text)) == 1002 + 2, text
    one = bindery("inspect", "state", state, "cli-r2/piped").splitlines()
    assert len(one) == 2 and "key piped: 3000000 bytes, one body, etag" in one[0] and ": body " in one[1], one
    records = bindery("inspect", "state", state, "--records")
    assert records.count("key many/") == 1002 and "bucket cli-r2: id 1, active, placed by 2 segments" in records
    assert "no such object" in bindery("inspect", "state", state, "cli-r2/none", expect=1)
    assert "no bucket" in bindery("inspect", "state", state, "cli-none/x", expect=1)
    assert before == tree(state), "inspect changed the state"
    copy = os.path.join(directory, "state")
    shutil.copytree(state, copy)
    rig.flip(rig.biggest(os.path.join(copy, "rocks"), ".sst"), 2000)
    result = subprocess.run([BINARY, "inspect", "state", copy], capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "DAMAGED" in result.stdout and "applied to index" in result.stdout, result
    assert "No such file" in bindery("inspect", "state", directory, expect=1)


def run_node(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), 1, PORT, "256MiB", tls=True)
    files = os.path.join(directory, "files")
    os.mkdir(files)

    def run(*words, **more):
        return bindery(*words, BINDERY_URL=cluster.info["nodes"][0]["rest"], BINDERY_API_TOKEN=cluster.info["token"],
                       BINDERY_CA=cluster.info["ca"], **more)
    with rig.ended_after(cluster):
        cluster.start()
        check_r2(run, files)
        check_r2_lists(run, boto(cluster, 0))
    check_inspect_body(cluster.info["nodes"][0]["data"], files)
    check_inspect_state(cluster.info["nodes"][0]["data"], files)


def main():
    check_help()
    check_completion()
    check_manual()
    with tempfile.TemporaryDirectory(prefix="bindery-cli-") as directory:
        check_settings(directory)
        check_key_file(directory)
        run_node(directory)
    print("command line: all as promised")


main()
