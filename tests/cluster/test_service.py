#!/usr/bin/python3
"""A node under a service manager: READY once the client ports serve, WATCHDOG from the loop and from nowhere else,
STOPPING at SIGTERM; the secrets of a new cluster go to the file of `secrets_file` and are not printed."""
import contextlib
import ctypes
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import BINARY, wait  # noqa: E402

PORT = 18900
WATCHDOG_US = 900_000
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


class Manager:
    """The socket that a service tells its state to."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)

    def next(self, seconds):
        self.socket.settimeout(seconds)
        return self.socket.recv(4096).decode().split("\n")

    def until(self, word, seconds):
        deadline = time.monotonic() + seconds
        while True:
            lines = self.next(max(0.01, deadline - time.monotonic()))
            if word in lines:
                return


def ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def hanging_loop(process):
    """The process's first thread, which is the loop, stands still; its other threads run."""
    ptrace(PTRACE_SEIZE, process.pid)
    ptrace(PTRACE_INTERRUPT, process.pid)
    _, status = os.waitpid(process.pid, 0)
    assert os.WIFSTOPPED(status), status
    try:
        yield
    finally:
        ptrace(PTRACE_DETACH, process.pid)


def check_watchdog(manager, process):
    for _ in range(3):
        manager.until("WATCHDOG=1", WATCHDOG_US / 1e6)
    with hanging_loop(process):
        try:
            while True:  # what was sent before
                manager.next(WATCHDOG_US / 1e6)
        except TimeoutError:
            pass
    manager.until("WATCHDOG=1", 10)


def answers(path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=5) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


def run(directory):
    manager = Manager(directory)
    secrets = os.path.join(directory, "secrets")
    config = os.path.join(directory, "bindery.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f'data = "{directory}/data"\nlisten = "127.0.0.1"\nbase_port = {PORT}\ninsecure = true\n'
                   f'memory = "128MiB"\nsecrets_file = "{secrets}"\n')
    environment = {**os.environ, "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": str(WATCHDOG_US)}
    with open(os.path.join(directory, "log"), "wb") as log:
        process = subprocess.Popen([BINARY, "start", "--config", config], env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=log)
    try:
        manager.until("READY=1", 60)
        assert answers("/livez"), "READY before the ports serve"
        wait(lambda: answers("/readyz"), 30, "the node to be ready: its groups elect a leader after its ports serve")
        assert stat.S_IMODE(os.stat(secrets).st_mode) == 0o600
        with open(secrets, encoding="utf-8") as file:
            assert "admin token" in file.read()
        check_watchdog(manager, process)
        process.send_signal(signal.SIGTERM)
        manager.until("STOPPING=1", 10)
        assert process.wait(30) == 0, process.returncode
        assert process.stdout.read() == b"", "secrets were printed"
    except BaseException:
        with open(os.path.join(directory, "log"), encoding="utf-8", errors="replace") as file:
            print(file.read()[-3000:])
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def main():
    signal.signal(signal.SIGTERM, rig.on_sigterm)
    with tempfile.TemporaryDirectory(prefix="bindery-service-") as directory:
        run(directory)
    print("service: all as promised")


main()
