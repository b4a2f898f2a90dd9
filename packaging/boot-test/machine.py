"""A virtual machine that can be commanded, and whose power can be cut."""

import base64
import json
import shlex
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

QEMU = "qemu-system-x86_64"
# All that it can; some nested machines promise a register that they then refuse.
CPU = "max,arch-capabilities=off"
# Software emulation is about ten times slower than the processor itself.
EMULATED = 10
# What every command in the machine begins with: answers in English, without colours, and as one stream.
PREAMBLE = """exec 2>&1 </dev/null
export LC_ALL=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER= DEBIAN_FRONTEND=noninteractive
"""


class Failed(Exception):
    """What was expected and didn't happen, in a sentence."""


@dataclass
class Answer:
    """What a command in the machine said."""

    code: int
    text: str


def kvm_works(work: Path) -> bool:
    """Whether the processor runs the machine's kernel at its own speed; to have the device isn't enough.

    A kernel without a disk gives up at once. Where virtual machines are nested it may crawl instead, or QEMU gives up.
    """
    command = [
        QEMU, "-machine", "q35,accel=kvm", "-cpu", CPU, "-m", "512", "-nodefaults", "-display", "none", "-no-reboot",
        "-kernel", work / "vmlinuz", "-initrd", work / "initrd.img", "-append", "panic=-1",
    ]  # fmt: skip
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=15, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return False
    return True


class Machine:
    """One machine with a journalled disk, from one power-on to the next.

    Every power-on puts a new layer on the disk. QEMU keeps the layer's tables in its own memory until the machine
    flushes its disk, so a killed QEMU loses what was written but not flushed, as a disk does with its cache.
    """

    def __init__(self, work: Path, emulate: bool):
        self.work = work
        self.layers = work / "layers"
        self.layers.mkdir()
        self.tops = {"root": (work / "root.ext4", "raw")}
        self.accel = "tcg" if emulate else "kvm"
        self.patience = EMULATED if emulate else 1
        self.console = work / "console.log"
        self.console.unlink(missing_ok=True)
        self.qemu: subprocess.Popen | None = None
        self.agent: socket.socket | None = None
        self.answers = b""
        self.door = 0

    def add_disk(self, name: str, size: str) -> None:
        """An empty second disk, there from the next power-on."""
        path = self.layers / f"{name}.raw"
        subprocess.run(["truncate", "-s", size, path], check=True)
        self.tops[name] = (path, "raw")

    def power_on(self) -> None:
        """Starts it and returns when it has booted."""
        drives = []
        for name in self.tops:
            layer = self._new_layer(name)
            drives += ["-drive", f"file={layer},format=qcow2,if=virtio,cache=writeback"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.door = probe.getsockname()[1]
        self.agent, its_end = socket.socketpair()
        self.answers = b""
        command = [
            # It doesn't outlive this program, however that ends.
            "setpriv", "--pdeathsig", "KILL",
            QEMU, "-machine", f"q35,accel={self.accel}", "-cpu", CPU, "-smp", "2", "-m", "512",
            "-nodefaults", "-display", "none",
            "-kernel", str(self.work / "vmlinuz"), "-initrd", str(self.work / "initrd.img"),
            "-append", "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=no",
            "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
            *drives,
            "-device", "virtio-rng-pci",
            "-device", "virtio-net-pci,netdev=wire",
            "-netdev", f"user,id=wire,hostfwd=tcp:127.0.0.1:{self.door}-10.0.2.15:18080",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,fd={its_end.fileno()}",
            "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        ]  # fmt: skip
        with its_end:
            self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[its_end.fileno()])
        self._wait_for_boot(None)

    def cut_power(self) -> None:
        """Ends it as a pulled plug does."""
        if self.qemu:
            self.qemu.send_signal(signal.SIGKILL)
            self.qemu.wait()
            self.agent.close()
            self.qemu = None

    def reboot(self) -> None:
        """An orderly restart; returns when it has booted again."""
        before = self.boot_id()
        self._ask("guest-shutdown", {"mode": "reboot"}, answered=False)
        self._wait_for_boot(before)

    def boot_id(self) -> str:
        """Another one with each boot."""
        return self.check("cat /proc/sys/kernel/random/boot_id").strip()

    def run(self, script: str, seconds: float = 60) -> Answer:
        """What a shell in the machine says to a script."""
        deadline = time.monotonic() + seconds * self.patience
        arguments = {"path": "/bin/bash", "arg": ["-c", PREAMBLE + script], "capture-output": True}
        process = self._ask("guest-exec", arguments)
        while not (status := self._ask("guest-exec-status", process))["exited"]:
            if time.monotonic() > deadline:
                raise Failed(f"this takes over {seconds * self.patience:.0f} s: {script}")
            time.sleep(0.02 * self.patience)
        text = base64.b64decode(status.get("out-data", "")).decode(errors="replace")
        return Answer(status.get("exitcode", -1), text)

    def check(self, script: str, seconds: float = 60) -> str:
        """The same for a script that has to succeed."""
        answer = self.run(script, seconds)
        if answer.code:
            raise Failed(f"exit code {answer.code} of: {script}\n{answer.text.rstrip()}")
        return answer.text

    def wait_until(self, script: str, seconds: float) -> str:
        """The same for one that has to succeed in the end."""
        deadline = time.monotonic() + seconds * self.patience
        while (answer := self.run(script)).code:
            if time.monotonic() > deadline:
                raise Failed(f"not within {seconds * self.patience:.0f} s: {script}\n{answer.text.rstrip()}")
            time.sleep(0.2 * self.patience)
        return answer.text

    def put(self, path: str, content: str | bytes) -> None:
        """Writes a file, and the directories above it."""
        data = content.encode() if isinstance(content, str) else content
        self.check(f"mkdir -p $(dirname {shlex.quote(path)})")
        handle = self._ask("guest-file-open", {"path": path, "mode": "w"})
        for start in range(0, len(data), 1 << 20):
            chunk = base64.b64encode(data[start : start + (1 << 20)]).decode()
            self._ask("guest-file-write", {"handle": handle, "buf-b64": chunk})
        self._ask("guest-file-close", {"handle": handle})

    def _new_layer(self, name: str) -> Path:
        below, form = self.tops[name]
        layer = self.layers / f"{name}-{len(list(self.layers.glob(f'{name}-*')))}.qcow2"
        # Small clusters: a page that was not flushed is lost alone, not with its neighbours.
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", "-b", below, "-F", form, layer]
        subprocess.run(create, check=True)
        self.tops[name] = (layer, "qcow2")
        return layer

    def _wait_for_boot(self, before: str | None) -> None:
        deadline = time.monotonic() + 120 * self.patience
        while True:
            try:
                self._sync()
                if self.boot_id() != before:
                    break
            except (TimeoutError, Failed):
                pass  # It is going down, or not up yet.
            if time.monotonic() > deadline:
                raise Failed(f"the machine doesn't boot, see {self.console}")
            time.sleep(0.2)
        state = self.run("systemctl is-system-running --wait", seconds=120).text.strip()
        if state != "running":
            failed = self.run("systemctl --failed --no-legend").text
            raise Failed(f"the machine is {state} after its boot:\n{failed}")

    def _sync(self) -> None:
        """Throws away what is left of older questions."""
        mark = time.monotonic_ns() % (1 << 31)
        self.agent.settimeout(5 * self.patience)
        self._say("guest-sync", {"id": mark})
        while self._hear().get("return") != mark:
            pass

    def _ask(self, what: str, arguments: dict, answered: bool = True):
        self.agent.settimeout(15 * self.patience)
        self._say(what, arguments)
        if not answered:
            return None
        answer = self._hear()
        if "error" in answer:
            raise Failed(f"{what}: {answer['error']['desc']}")
        return answer["return"]

    def _say(self, what: str, arguments: dict) -> None:
        self.agent.sendall(json.dumps({"execute": what, "arguments": arguments}).encode() + b"\n")

    def _hear(self) -> dict:
        while b"\n" not in self.answers:
            try:
                received = self.agent.recv(1 << 16)
            except ConnectionResetError:
                received = b""
            if not received:
                raise ConnectionError("the machine is gone: QEMU has ended")
            self.answers += received
        line, self.answers = self.answers.split(b"\n", 1)
        return json.loads(line)
