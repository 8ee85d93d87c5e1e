#!/usr/bin/python3
"""Asks released workerd for the answers in workerd_answers.txt, and writes them there anew: each statement in turn, on one
database of a Durable Object, with what miniflare's D1 makes of it. Needs tests/clients/node_modules (tests/clients/run
installs them).

    > a statement
    < what workerd answers: results, and meta but for times; or its message
    * what Bindery answers instead, where it does not want to be the same; kept as it is"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ANSWERS = os.path.join(HERE, "workerd_answers.txt")
WORKERD = os.path.join(HERE, "..", "..", "clients", "node_modules", "@cloudflare", "workerd-linux-64", "bin", "workerd")

WORKER = """
import { DurableObject } from "cloudflare:workers";
const plain = (v) => v instanceof ArrayBuffer ? Array.from(new Uint8Array(v)) : v;
export class Database extends DurableObject {
  run(text) {
    const sql = this.ctx.storage.sql;
    const figures = () => [...[...sql.exec("SELECT total_changes(), last_insert_rowid()").raw()][0], sql.databaseSize];
    const before = figures();
    const cursor = sql.exec(text), names = cursor.columnNames;
    const results = [...cursor.raw()].map((row) => Object.fromEntries(names.map((n, i) => [n, plain(row[i])])));
    const after = figures();
    return { results, meta: { changes: after[0] - before[0], last_row_id: after[1],
      changed_db: after.some((f, i) => f !== before[i]), size_after: after[2],
      rows_read: cursor.rowsRead, rows_written: cursor.rowsWritten } };
  }
  async fetch(request) {
    const answers = [];
    for (const text of await request.json()) {
      try {
        answers.push(JSON.stringify(await this.ctx.storage.transaction(async () => this.run(text))));
      } catch (e) {
        answers.push(e.message);
      }
    }
    return Response.json(answers);
  }
}
export default { fetch: (request, env) => env.DATABASES.get(env.DATABASES.idFromName("a")).fetch(request) };
"""

CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker), (name = "disk", disk = (path = "{dir}/disk", writable = true))],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "main")]
);
const worker :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.mjs")], compatibilityDate = "2026-01-01",
  durableObjectNamespaces = [(className = "Database", uniqueKey = "database", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [(name = "DATABASES", durableObjectNamespace = "Database")]
);
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(statements, directory):
    port = free_port()
    os.mkdir(os.path.join(directory, "disk"))
    for name, text in (("worker.mjs", WORKER), ("config.capnp", CONFIG.replace("{dir}", directory)
                                                .replace("{port}", str(port)))):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(text)
    process = subprocess.Popen([WORKERD, "serve", "config.capnp"], cwd=directory)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", json.dumps(statements).encode(), method="POST")
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    finally:
        process.kill()
        process.wait()


def main():
    with open(ANSWERS, encoding="utf-8") as file:
        lines = [line for line in file.read().split("\n") if not line.startswith("< ")]
    with tempfile.TemporaryDirectory() as directory:
        answers = iter(ask([line[2:] for line in lines if line.startswith("> ")], directory))
    with open(ANSWERS, "w", encoding="utf-8") as file:
        file.write("\n".join(f"{line}\n< {next(answers)}" if line.startswith("> ") else line for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
