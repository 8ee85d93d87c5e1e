"""File systems of a test's own, on loop devices: one that can lose its power, one that is small, one that hangs.

Power loss is the file system's own shutdown (EXT4_IOC_SHUTDOWN, which is XFS_IOC_GOINGDOWN too; what `xfs_io -x -c
shutdown` calls), without flushing its log: every later request fails with EIO, and after the next mount what was not
synced is gone, names included. The kernel lives on, so what it handed to the loop device stays: a missing cache flush
to the device itself is not seen by this."""
import ctypes
import fcntl
import os
import shutil
import struct
import subprocess

IOC_SHUTDOWN = 0x8004587D
IOC_FREEZE, IOC_THAW = 0xC0045877, 0xC0045878
NO_LOG_FLUSH = 2
CANARY = "canary"
CANARY_BYTES = 256 << 10
UNMOUNT_DETACH = 2


def missing():
    """What this machine lacks for such disks, as one line, or None."""
    lacks = []
    if os.geteuid() != 0:
        lacks.append("root (uid 0), to mount")
    if not os.path.exists("/dev/loop-control"):
        lacks.append("loop devices (/dev/loop-control)")
    lacks += [f"the program {name}" for name in ("mkfs.ext4", "mkfs.xfs", "mount", "umount", "losetup")
              if shutil.which(name) is None]
    with open("/proc/filesystems", encoding="ascii") as file:
        known = file.read().split()
    lacks += [f"the file system {name} in the kernel" for name in ("ext4", "xfs") if name not in known]
    if not lacks and subprocess.run(["losetup", "-f"], capture_output=True, check=False).returncode != 0:
        lacks.append("a free loop device (losetup -f)")
    return "; ".join(lacks) or None


class LoopDisk:
    """One file system, mounted at `path`."""

    def __init__(self, directory, name, kind, size_mib):
        self.kind, self.size = kind, size_mib << 20
        self.image = os.path.join(directory, f"{name}.img")
        self.path = os.path.join(directory, name)
        self.mounted, self.frozen = False, False
        os.makedirs(self.path)
        with open(self.image, "wb") as file:
            file.truncate(self.size)
        make = {"ext4": ["mkfs.ext4", "-q", "-F", "-m", "0", self.image], "xfs": ["mkfs.xfs", "-q", "-f", self.image]}
        subprocess.run(make[kind], check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-t", self.kind, "-o", "loop", self.image, self.path], check=True)
        self.mounted = True

    def unmount(self):
        """No process may use it any more."""
        subprocess.run(["umount", self.path], check=True)
        self.mounted = False

    def cut_power(self):
        """From the return on nothing reaches the disk. Leaves the handle that did it in the caller's care: none."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            canary = os.open(os.path.join(self.path, CANARY), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            os.write(canary, b"\xa5" * CANARY_BYTES)
            fcntl.ioctl(handle, IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
            os.close(canary)
        finally:
            os.close(handle)

    def restore_power(self):
        """After a cut, when all who used it are gone: as a machine that starts again finds it."""
        self.unmount()
        self.mount()
        canary = os.path.join(self.path, CANARY)
        if os.path.exists(canary):
            with open(canary, "rb") as file:
                kept = file.read().count(b"\xa5")
            assert kept < CANARY_BYTES, f"{self.kind}: the cut lost nothing, so this run would show nothing"
            os.unlink(canary)

    def freeze(self, frozen):
        """Frozen: writes get no answer until it is thawed."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, IOC_FREEZE if frozen else IOC_THAW, 0)
            self.frozen = frozen
        finally:
            os.close(handle)

    def free(self):
        state = os.statvfs(self.path)
        return state.f_bavail * state.f_frsize

    def remove(self):
        """Cleans up whatever state it is in."""
        if self.frozen:
            self.freeze(False)
        if self.mounted and subprocess.run(["umount", self.path], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            ctypes.CDLL(None).umount2(self.path.encode(), UNMOUNT_DETACH)
        self.mounted = False
        if os.path.exists(self.image):
            os.unlink(self.image)
