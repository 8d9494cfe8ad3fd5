# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels, from its archive: unpacked once into a cache of the user's own.

apt gets a configuration of its own, with the mirror of this system's. Nothing in /etc/apt or
/var/lib/apt is touched, and apt checks the signatures with Debian's own keys.
"""
import fcntl
import lzma
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = ["bookworm", "bookworm-updates", "bookworm-backports", "trixie-backports"]
SECURITY_SUITES = ["bookworm-security"]
# The last name stands for whatever is newest on the day.
FAMILIES = ["6.1", "6.12", "6.18", "newest"]
# How old the list of packages may be.
DAY = 24 * 3600
# What of the modules is kept.
MODULES = ["kernel/net", "kernel/lib", "kernel/crypto", "kernel/arch", "kernel/drivers/net",
           "modules.builtin", "modules.order"]


class Trouble(Exception):
    """Something could not be had or run; the words are for people."""


@dataclass(frozen=True)
class Kernel:
    # What the matrix calls it.
    name: str
    image: Path
    # Holds kernel/ and modules.dep; None: everything is built in.
    modules: Path | None


def cache():
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "mpscope" / "kernels"


def of_file(image, modules=None):
    """Any other kernel, as its files are."""
    image = Path(image)
    if not modules:
        if not image.exists():
            raise Trouble(f"{image} is missing: KERNEL= names the kernel's image")
        return Kernel(image.name, image.resolve(), None)
    modules = Path(modules)
    for path in [image, modules / "modules.dep", modules / "kernel"]:
        if not path.exists():
            raise Trouble(f"{path} is missing: KERNEL= names the kernel's image, MODULES= the "
                          "folder that holds kernel/ and modules.dep")
    return Kernel(modules.resolve().name, image.resolve(), modules.resolve())


def fetch(family):
    """The newest kernel that Debian has of `family`: 6.12, or `newest` of all."""
    with locked():
        try:
            refresh()
            package = newest(family)
        except Trouble as trouble:
            # The kernels of yesterday will do when there is no network.
            kept = sorted(unpacked(family), key=lambda k: version_key(k.name))
            if not kept:
                raise
            print(f"{trouble}; using {kept[-1].name} of the cache", flush=True)
            return kept[-1]
        folder = cache() / package.removeprefix("linux-image-")
        if not folder.exists():
            unpack(package, folder)
        return at(folder)


def at(folder):
    image = next(iter(sorted(folder.glob("boot/vmlinuz-*"))), None)
    modules = next(iter(sorted(folder.glob("lib/modules/*"))), None)
    if not image or not modules:
        raise Trouble(f"{folder} holds no kernel: remove it")
    return Kernel(modules.name, image, modules)


def unpacked(family):
    for folder in cache().glob("[0-9]*"):
        if family == "newest" or folder.name.startswith(family + "."):
            yield at(folder)


def headers(kernel):
    """What modules for one of Debian's kernels are built against: the folder for `make -C`."""
    folder = cache() / "headers" / kernel.name
    tree = folder / "src" / f"linux-headers-{kernel.name}"
    with locked():
        if not folder.exists():
            refresh()
            unpack_headers(kernel.name, folder)
    if not (tree / ".config").exists():
        raise Trouble(f"{folder} holds no headers: remove it")
    return tree


@contextmanager
def locked():
    """Several runs at once share the cache."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def version_key(text):
    return [int(n) for n in re.findall(r"\d+", text)]


# ---------------------------------------------------------------- apt

def apt_folder():
    return cache() / "apt"


def refresh():
    """The list of packages, unless it is of today."""
    folder = apt_folder()
    done = folder / "refreshed"
    if done.exists() and time.time() - done.stat().st_mtime < DAY:
        return
    for part in ["lists/partial", "cache/archives/partial"]:
        (folder / part).mkdir(parents=True, exist_ok=True)
    mirror, security = mirrors()
    lines = [f"deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main" for suite in SUITES]
    lines += [f"deb [arch=amd64 signed-by={KEYRING}] {security} {suite} main"
              for suite in SECURITY_SUITES]
    (folder / "sources.list").write_text("\n".join(lines) + "\n")
    # The system's own ways to the network (a proxy), none of its hooks.
    dumped = subprocess.run(["apt-config", "dump"], check=True, text=True, capture_output=True)
    acquire = [line for line in dumped.stdout.splitlines()
               if re.match(r"Acquire::(http|https|ftp|Check|Retries|Proxy)", line)]
    (folder / "apt.conf").write_text("\n".join(acquire + [
        'Dir::Etc::main "/dev/null";', 'Dir::Etc::parts "/dev/null";',
        'Dir::Etc::sourceparts "/dev/null";', f'Dir::Etc::sourcelist "{folder}/sources.list";',
        f'Dir::State::lists "{folder}/lists";', 'Dir::State::status "/dev/null";',
        f'Dir::Cache "{folder}/cache";', 'Acquire::Languages "none";',
        # The cache is the user's own, and apt's sandbox can't come there.
        'APT::Sandbox::User "root";', 'APT::Architecture "amd64";']) + "\n")
    apt(["apt-get", "update", "-qq"])
    done.touch()


def mirrors():
    """Where this system gets Debian and its security updates from."""
    shown = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"],
        check=True, text=True, capture_output=True)
    found = [line.split() for line in shown.stdout.splitlines() if len(line.split()) == 2]
    security = [uri for uri, suite in found if suite.endswith("-security")]
    main = [uri for uri, suite in found if re.fullmatch("bookworm(-updates|-backports)?", suite)]
    if not main:
        raise Trouble("this system's apt knows no mirror of Debian 12")
    return main[0], (security or [main[0].rstrip("/") + "-security/"])[0]


def apt(command, folder=None):
    environment = dict(os.environ, APT_CONFIG=str(apt_folder() / "apt.conf"), LC_ALL="C")
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    if done.returncode:
        complaints = " ".join(done.stderr.split())
        raise Trouble(f"`{' '.join(command)}` failed: {complaints}")
    return done.stdout


def packages():
    names = apt(["apt-cache", "pkgnames", "linux-"]).split()
    # Neither the cloud's nor the real-time ones, nor those without a signature.
    pattern = re.compile(r"linux-(?:image|binary|modules|base)-\d+\.\d[^-]*(?:-\d+)?-amd64")
    return {name for name in names if pattern.fullmatch(name)}


def newest(family):
    images = [name for name in packages() if name.startswith("linux-image-")]
    # A name without a third number only depends on another.
    images = [name for name in images if len(version_key(name)) > 3]
    if family != "newest":
        images = [name for name in images if name.startswith(f"linux-image-{family}.")]
    if not images:
        raise Trouble(f"Debian has no kernel {family}")
    return max(images, key=version_key)


def unpack(package, folder):
    """Since 6.19 the image, since 7.2 the modules are packages of their own."""
    release = package.removeprefix("linux-image-")
    known = packages()
    wanted = [name for name in [package] + [f"linux-{part}-{release}"
                                            for part in ["binary", "modules", "base"]]
              if name in known]
    made = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    # The one layout that depmod knows, wherever the package has its files.
    (made / "lib/modules").mkdir(parents=True)
    (made / "boot").mkdir()
    for name in wanted:
        print(f"fetching {name}", flush=True)
        apt(["apt-get", "download", "-qq", name], made)
        for archive in made.glob("*.deb"):
            take(archive, made)
            archive.unlink()
    versions = list((made / "lib/modules").iterdir())
    for image in (made / "lib/modules").glob("*/vmlinuz"):
        image.rename(made / "boot" / f"vmlinuz-{image.parent.name}")
    if len(versions) != 1:
        raise Trouble(f"{' '.join(wanted)} hold the modules of {len(versions)} kernels")
    subprocess.run(["depmod", "-b", str(made), versions[0].name], check=True)
    at(made)
    made.rename(folder)


def unpack_headers(release, folder):
    made = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    flavour = release.split("-")[-1]
    common = f"linux-headers-{release.removesuffix(flavour)}common"
    tools = f"linux-kbuild-{'.'.join(release.split('.')[:2])}"
    for name in [f"linux-headers-{release}", common, tools]:
        print(f"fetching {name}", flush=True)
        apt(["apt-get", "download", "-qq", name], made)
        for archive in made.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, made / "root"], check=True)
            archive.unlink()
    # Their links to one another are relative; one path is not.
    for part in ["src", "lib"]:
        (made / "root/usr" / part).rename(made / part)
    shutil.rmtree(made / "root")
    makefile = made / "src" / f"linux-headers-{release}" / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{folder}/src/"))
    made.rename(folder)


def take(archive, folder):
    """The image and the modules of a package."""
    patterns = ["./boot/vmlinuz-*", "./usr/lib/modules/*/vmlinuz", "./lib/modules/*/vmlinuz"]
    for part in MODULES:
        patterns += [f"./lib/modules/*/{part}*", f"./usr/lib/modules/*/{part}*"]
    unpacking = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE)
    tar = subprocess.run(
        ["tar", "-x", "--wildcards", "--transform", "s,^\\./usr/,./,", "-C", folder] + patterns,
        stdin=unpacking.stdout, text=True, capture_output=True)
    # tar complains of each pattern that nothing matched.
    wrong = [line for line in tar.stderr.splitlines()
             if "Not found in archive" not in line and "previous errors" not in line]
    if unpacking.wait() or wrong:
        raise Trouble(f"{archive} can't be unpacked: {' '.join(wrong)}")


# ---------------------------------------------------------------- modules

class Modules:
    """What `modules.dep` says, by the modules' names."""

    def __init__(self, folder):
        self.folder = folder
        self.paths = {}
        self.needs = {}
        self.builtin = set()
        if folder is None:
            return
        for line in (folder / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            self.paths[name_of(path)] = path
            self.needs[name_of(path)] = [name_of(need) for need in needs.split()]
        builtin = folder / "modules.builtin"
        self.builtin = {name_of(path) for path in builtin.read_text().split()} \
            if builtin.exists() else set()

    def in_order(self, names):
        """Those of `names` that are modules here, each after what it needs."""
        order = []

        def add(name):
            if name in order or name not in self.paths:
                return
            for need in reversed(self.needs[name]):
                add(need)
            order.append(name)

        for name in names:
            add(name)
        return order

    def missing(self, names):
        return [name for name in names if name not in self.paths and name not in self.builtin]

    def bytes(self, name):
        path = self.folder / self.paths[name]
        raw = path.read_bytes()
        if path.suffix == ".xz":
            return lzma.decompress(raw)
        if path.suffix == ".zst":
            return subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout
        return raw


def name_of(path):
    return Path(path).name.split(".ko")[0].replace("-", "_")
