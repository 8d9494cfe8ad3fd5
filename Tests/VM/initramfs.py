# SPDX-License-Identifier: Apache-2.0
"""What the guest has: the program, the tools of the scenarios, their libraries, the modules.

An archive of the kernel's own kind (cpio, newc), written here byte by byte so that nothing has to
be root's on this side. It is not compressed: an emulated processor unpacks slowly.
"""
import os
import re
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

from kernels import Modules, Trouble

TOOLS = ["ip", "ss", "nft", "nstat", "tc", "stdbuf", "sysctl", "nginx", "mptcpize"]
BUSYBOX = ["sh", "mount", "umount", "cat", "echo", "ls", "mkdir", "unshare", "insmod", "rmmod", "lsmod", "dmesg",
           "sleep", "poweroff", "head", "tail", "grep", "sed", "awk", "ps", "kill", "true", "false",
           "env", "cp", "rm", "mv", "ln", "date", "uname", "wc", "sort", "find", "tr", "id", "time",
           "timeout", "setsid", "stty", "seq", "xargs", "cut", "od", "hexdump", "test", "free", "top"]
# What the scenarios' traffic and rules need; one that is missing may be built in.
MODULES = [
    "crc32c_generic", "crc32c_intel", "libcrc32c", "veth", "dummy", "sch_netem", "af_packet", "inet_diag", "tcp_diag", "mptcp_diag", "udp_diag",
    "unix_diag", "af_packet_diag", "netlink_diag",
    "nf_tables", "nfnetlink", "nf_conntrack", "nft_ct", "nft_reject", "nft_reject_inet",
    "nft_reject_ipv4", "nft_reject_ipv6", "nft_exthdr", "nft_limit", "nft_counter", "nft_numgen",
    "nft_log", "nft_queue", "nft_chain_nat", "nft_masq", "nft_nat", "nft_redir", "nf_log_syslog",
    "nft_compat", "cls_bpf", "act_bpf", "sch_ingress", "sch_fq", "sch_fq_codel",
]

INIT = """#!/bin/sh
# The first process of the guest: what a system has, then the job, then the end.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /dev/pts
mount -t devpts devpts /dev/pts
ln -s /proc/self/fd /dev/fd
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
# Neither echoes nor line ends of its own: what is written is what arrives.
stty -F /dev/ttyS1 raw -echo
while read -r name; do insmod "/modules/$name.ko" || echo "insmod $name failed" >&2; done < /modules/order
ip link set lo up
cd /root
. /job > /dev/ttyS1 2>&1 < /dev/null
poweroff -f
"""


class Archive:
    def __init__(self):
        self.entries = {}

    def folder(self, path):
        path = str(path).strip("/")
        if path and path not in self.entries:
            self.folder(Path(path).parent if "/" in path else "")
            self.entries[path] = (stat.S_IFDIR | 0o755, b"", 0)

    def file(self, path, content, mode=0o644):
        path = str(path).strip("/")
        self.folder(Path(path).parent)
        self.entries[path] = (stat.S_IFREG | mode, content, 0)

    def link(self, path, target):
        path = str(path).strip("/")
        self.folder(Path(path).parent)
        self.entries[path] = (stat.S_IFLNK | 0o777, target.encode(), 0)

    def device(self, path, major, minor):
        path = str(path).strip("/")
        self.folder(Path(path).parent)
        self.entries[path] = (stat.S_IFCHR | 0o600, b"", (major, minor))

    def program(self, source, path=None):
        """An executable, and the libraries it needs at the places where it looks for them."""
        source = Path(source).resolve() if path else Path(source)
        self.file(path or source, source.read_bytes(), 0o755)
        listed = subprocess.run(["ldd", source], text=True, capture_output=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            self.file(library, Path(library).read_bytes(), 0o755)
        if "not found" in listed:
            raise Trouble(f"{source} lacks libraries: {' '.join(listed.split())}")

    def tool(self, name, folder):
        """A tool of this system's, with its loader and libraries, all in a folder of their own."""
        path = shutil.which(name)
        if not path:
            raise Trouble(f"{name} is missing")
        self.file(f"{folder}/lib/{name}", Path(path).read_bytes(), 0o755)
        listed = subprocess.run(["ldd", path], text=True, capture_output=True).stdout
        loader = None
        for library in re.findall(r"(/\S+) \(0x", listed):
            self.file(f"{folder}/lib/{Path(library).name}", Path(library).read_bytes(), 0o755)
            if Path(library).name.startswith("ld-"):
                loader = Path(library).name
        if not loader:
            raise Trouble(f"{path} has no loader")
        self.file(f"{folder}/bin/{name}", f"""#!/bin/sh
exec /{folder}/lib/{loader} --library-path /{folder}/lib /{folder}/lib/{name} "$@"
""".encode(), 0o755)

    def write(self, path):
        with open(path, "wb") as out:
            for number, (name, (mode, content, device)) in enumerate(self.entries.items(), 1):
                self.put(out, number, name, mode, content, device or (0, 0))
            self.put(out, 0, "TRAILER!!!", 0, b"", (0, 0))

    @staticmethod
    def put(out, number, name, mode, content, device):
        raw = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, device[0], device[1], len(raw), 0]
        head = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + raw
        out.write(head + bytes(-len(head) % 4))
        out.write(content)
        out.write(bytes(-len(content) % 4))


def base(kernel, job):
    """What every guest has: folders, busybox, the modules, the job, the first process."""
    archive = Archive()
    for folder in ["proc", "sys", "dev", "tmp", "run", "root", "etc", "modules", "var/tmp"]:
        archive.folder(folder)
    archive.device("dev/console", 5, 1)
    archive.device("dev/null", 1, 3)
    busybox = shutil.which("busybox")
    if not busybox:
        raise Trouble("busybox is missing: install busybox-static")
    archive.file("bin/busybox", Path(busybox).resolve().read_bytes(), 0o755)
    for name in BUSYBOX:
        archive.link(f"bin/{name}", "busybox")
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    archive.file("etc/hosts", b"127.0.0.1 localhost\n")

    modules = Modules(kernel.modules)
    order = modules.in_order(MODULES)
    for name in order:
        archive.file(f"modules/{name}.ko", modules.bytes(name))
    archive.file("modules/order", "".join(f"{name}\n" for name in order).encode())
    archive.file("job", job.encode())
    archive.file("init", INIT.encode(), 0o755)
    return archive


def build(kernel, program, job, added=()):
    """
    - job: lines of a shell, run by the first process.
    - added: pairs of a file here and its name in the guest (a bare one: in /root).
    """
    archive = base(kernel, job)
    for name in TOOLS:
        path = shutil.which(name)
        if not path:
            raise Trouble(f"{name} is missing")
        archive.program(path)
    # Where iproute2 and stdbuf look for parts of themselves.
    for part in ["/usr/lib/tc", "/etc/iproute2", "/usr/share/iproute2"]:
        for file in sorted(Path(part).glob("*")) if Path(part).is_dir() else []:
            if file.is_file():
                archive.file(file, file.read_bytes())
    stdbuf = Path("/usr/libexec/coreutils/libstdbuf.so")
    if stdbuf.exists():
        archive.file(stdbuf, stdbuf.read_bytes(), 0o755)
    for library in sorted(Path("/usr/lib").glob("*/mptcpize/*.so*")):
        archive.file(library, library.read_bytes(), 0o755)
    archive.program(program, "usr/bin/mpscope")

    for source, name in added:
        target = name if name.startswith("/") else f"root/{name}"
        with open(source, "rb") as opened:
            elf = opened.read(4) == b"\x7fELF"
        if elf and os.access(source, os.X_OK):
            archive.program(source, target)
        else:
            archive.file(target, Path(source).read_bytes(), stat.S_IMODE(os.stat(source).st_mode))
    return archive


def build_bare(kernel, packed, job):
    """A guest with the archive of `make dist`, and with no library and no loader but those in it.

    `ip`, which the demo makes its namespaces with, lies apart with libraries of its own, in /tools:
    they are found by nobody who does not look there.
    """
    archive = base(kernel, job)
    archive.link("bin/ip", "busybox")
    with tarfile.open(packed) as opened:
        for entry in opened:
            name = Path("opt/mpscope", *Path(entry.name).parts[1:])
            if entry.isfile():
                archive.file(name, opened.extractfile(entry).read(), entry.mode)
            elif entry.isdir():
                archive.folder(name)
            else:
                raise Trouble(f"{packed} holds {entry.name}, which is neither a file nor a folder")
    archive.link("usr/bin/mpscope", "/opt/mpscope/mpscope")
    archive.tool("ip", "tools")
    return archive
