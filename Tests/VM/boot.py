# SPDX-License-Identifier: Apache-2.0
"""One kernel under QEMU, with two serial ports: the console, and what the guest has to say.

The guest's words can't be mistaken for the kernel's: they have a port of their own, and each
line that counts begins with a word that is made anew for each run.
"""
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from kernels import Trouble

QEMU = "qemu-system-x86_64"
# An emulated clock that ticks steadily; what is the matter must stop the guest, not hang it.
COMMAND_LINE = ("console=ttyS0 loglevel=5 panic=-1 oops=panic tsc=reliable no_timer_check "
                "mitigations=off nokaslr random.trust_cpu=on net.ifnames=0 audit=0 "
                "rdinit=/init nmi_watchdog=0")
MEMORY = "1536M"
# A boot sector that says to the device behind port 0xf4: done.
#   mov $0x31, %al; out %al, $0xf4; hlt
PROBE = bytes([0xb0, 0x31, 0xe6, 0xf4, 0xf4]).ljust(510, b"\0") + b"\x55\xaa"
PROBED = 0x31 << 1 | 1


def accelerator():
    """KVM where a guest really runs under it: the device alone proves nothing."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    with tempfile.NamedTemporaryFile(suffix=".img") as disk:
        disk.write(PROBE)
        disk.flush()
        try:
            done = subprocess.run(
                [QEMU, "-accel", "kvm", "-nodefaults", "-display", "none", "-no-reboot",
                 "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
                 "-drive", f"file={disk.name},format=raw,if=ide,readonly=on"],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
        except subprocess.TimeoutExpired:
            return "tcg"
    return "kvm" if done.returncode == PROBED else "tcg"


# What runs now: it ends with this program, whatever ends that.
running = []


def end_all():
    for machine in list(running):
        machine.end()
        shutil.rmtree(machine.folder, ignore_errors=True)


@dataclass
class Ended:
    # Nothing, or how the guest ended before its job did.
    trouble: str
    seconds: float


class Machine:
    """A running guest. What it says on its second port goes line by line to `hear`."""

    def __init__(self, kernel, archive, folder, accel, word, processors=1):
        self.folder = Path(folder)
        self.console = self.folder / "console"
        self.port = self.folder / "port"
        image = self.folder / "initramfs"
        archive.write(image)
        for path in [self.console, self.port]:
            path.touch()
        self.started = time.monotonic()
        cpu = ["-cpu", "host"] if accel == "kvm" else ["-cpu", "max,la57=off"]
        self.complaints = open(self.folder / "qemu", "w")
        self.process = subprocess.Popen(
            [QEMU, "-accel", accel, *cpu, "-smp", str(processors), "-m", MEMORY, "-nodefaults",
             "-display", "none", "-no-reboot", "-name", f"mpscope-{word}", "-kernel", str(kernel.image),
             "-initrd", str(image), "-append", COMMAND_LINE,
             "-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console",
             "-chardev", f"file,id=port,path={self.port}", "-serial", "chardev:port"],
            stdin=subprocess.DEVNULL, stdout=self.complaints, stderr=self.complaints,
            start_new_session=True)
        running.append(self)
        self.pending = b""
        self.offset = 0

    def lines(self):
        """The whole lines that it said since the last call."""
        with open(self.port, "rb") as port:
            port.seek(self.offset)
            raw = port.read()
        self.offset += len(raw)
        *whole, self.pending = (self.pending + raw).split(b"\n")
        return [line.decode(errors="replace") for line in whole]

    def run(self, hear, seconds, silence):
        """Until the guest ends, for so long at most, and with no more silence than that."""
        heard = time.monotonic()
        while True:
            ended = self.process.poll() is not None
            lines = self.lines()
            for line in lines:
                hear(line)
            now = time.monotonic()
            if lines:
                heard = now
            if ended:
                break
            if now - self.started > seconds:
                return self.stop(f"not done after {seconds} s")
            if now - heard > silence:
                return self.stop(f"hang: nothing was said for {silence} s")
            time.sleep(0.05)
        text = self.console_text()
        if "Kernel panic" in text:
            return self.ending("kernel panic")
        if self.process.returncode:
            return self.ending(f"QEMU ended with {self.process.returncode}: "
                               + (self.folder / "qemu").read_text().strip())
        return self.ending("")

    def stop(self, trouble):
        self.end()
        return self.ending("kernel panic" if "Kernel panic" in self.console_text() else trouble)

    def ending(self, trouble):
        return Ended(trouble, time.monotonic() - self.started)

    def console_text(self):
        return self.console.read_text(errors="replace").replace("\r", "")

    def tail(self, count=40):
        return "\n".join(self.console_text().splitlines()[-count:])

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.complaints.close()
        if self in running:
            running.remove(self)


def nonce():
    return secrets.token_hex(8)
