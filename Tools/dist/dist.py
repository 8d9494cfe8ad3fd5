#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`make dist`: one archive with the program and everything that it needs of a system but the kernel.

    mpscope-VERSION-ARCH/
        mpscope                 what is run: starts lib/mpscope, see launcher.c
        lib/                    the program, its loader and its libraries, as this system has them
        share/man, share/...    man page, shell completions
        README.md, docs/, LICENSE, licenses/

The same sources on the same system make the same bytes: names in order, one time (that of the last
commit, or SOURCE_DATE_EPOCH), nobody's files.
"""
import argparse
import gzip
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import manual

ROOT = Path(__file__).resolve().parents[2]
COMMON = Path("/usr/share/common-licenses")
# Where a shell looks for them below share/.
COMPLETIONS = {
    "bash": "bash-completion/completions/mpscope",
    "zsh": "zsh/site-functions/_mpscope",
    "fish": "fish/vendor_completions.d/mpscope.fish",
}
# What a system preloads into every program is made for its own libc; by ours it may be refused, and
# mpscope with it. A name of the same length that no file can have:
PRELOAD, NO_PRELOAD = b"/etc/ld.so.preload\0", b"/dev/null/-preload\0"
# Packages of Swift that are in the program.
PACKAGES = ["hdrhistogram-swift", "swift-argument-parser", "swift-log", "swift-numerics", "swift-system"]


class Trouble(Exception):
    """Something is missing or failed; the words are for people."""


def output(*command):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, cwd=ROOT)
    if done.returncode:
        raise Trouble(f"`{' '.join(map(str, command))}` failed: {done.stderr.strip()}")
    return done.stdout


def one(paths, what):
    for path in map(Path, paths):
        if path.exists():
            return path
    raise Trouble(f"{what} is missing")


def time_of_sources():
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    try:
        return int(output("git", "log", "-1", "--format=%ct"))
    except (Trouble, FileNotFoundError):
        raise Trouble("this is no checkout of git: set SOURCE_DATE_EPOCH to the time of the sources")


# ---------------------------------------------------------------- what the program needs

def libraries(program):
    """Its loader, and the libraries by the names that it asks for."""
    headers = output("readelf", "--program-headers", program)
    loader = re.search(r"interpreter: (\S+)\]", headers)
    if not loader:
        raise Trouble(f"{program} asks for no loader")
    listed = output("ldd", program)
    if "not found" in listed:
        raise Trouble(f"{program} lacks libraries: {' '.join(listed.split())}")
    found = dict(re.findall(r"^\s*(\S+) => (/\S+) \(0x", listed, re.M))
    return Path(loader[1]), {name: Path(path) for name, path in found.items()}


def package_of(path):
    """The Debian package that a file came with: its name, its source and that one's version."""
    real = path.resolve()
    # dpkg knows files of before /lib became a link by their old names.
    for name in [path, real, Path("/") / real.relative_to("/usr") if real.is_relative_to("/usr") else real]:
        done = subprocess.run(["dpkg-query", "-S", name], text=True, capture_output=True)
        if done.returncode == 0:
            package = done.stdout.split(": ")[0]
            source = output("dpkg-query", "-W", "-f", "${source:Package} ${source:Version}", package)
            return package.split(":")[0], *source.split()
    raise Trouble(f"{path} is of no Debian package: its licence is not known")


def copyright_of(package):
    return one([f"/usr/share/doc/{package}/copyright"], f"the copyright file of {package}").read_text()


def swift_licence():
    swift = shutil.which(os.environ.get("SWIFT", "swift"))
    share = Path(swift).resolve().parents[1] / "share" if swift else Path("/usr/share")
    return one([share / "swift/LICENSE.txt", share / "doc/swift/LICENSE.txt",
                "/usr/share/doc/swiftlang/copyright"], "the licence of Swift's runtime").read_text()


# ---------------------------------------------------------------- the folder

class Folder:
    """What will be in the archive."""

    def __init__(self, path):
        self.path = path

    def add(self, name, content, mode=0o644):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)


def add_program(folder, program, launcher):
    loader, needed = libraries(program)
    # Not to be executed by itself: it would get the loader of the system it is on.
    folder.add("lib/mpscope", program.read_bytes())
    # With the two hashes in it that say in which folder it was built.
    output("strip", "-R", ".swift_modhash", "-R", ".note.gnu.build-id", folder.path / "lib/mpscope")
    folder.add("mpscope", launcher.read_bytes(), 0o755)
    for name, path in needed.items():
        folder.add(f"lib/{name}", path.read_bytes())
    content = loader.read_bytes()
    if content.count(PRELOAD) != 1:
        raise Trouble(f"{loader} does not name {PRELOAD.decode()} once")
    folder.add(f"lib/{loader.name}", content.replace(PRELOAD, NO_PRELOAD), 0o755)
    # Whatever this system has beside: nothing may come from elsewhere than the folder.
    lib = folder.path / "lib"
    listed = output(lib / loader.name, "--inhibit-cache", "--library-path", lib, "--list", lib / "mpscope")
    strangers = [path for path in re.findall(r"(/\S+) \(0x", listed) if not path.startswith(f"{lib}/")
                 # The program links to the loader by the name of its interpreter.
                 and Path(path).name != loader.name]
    if strangers:
        raise Trouble(f"not in the archive: {' '.join(strangers)}")
    return {**needed, loader.name: loader}


def add_licences(folder, needed):
    folder.add("LICENSE", (ROOT / "LICENSE").read_bytes())
    lines = ["What is in this archive, under which licence, and where its source is.", "",
             "mpscope: Apache License 2.0, see ../LICENSE; the BPF programs in it: GPL-2.0-only or "
             "BSD-2-Clause.", "", "In lib/mpscope, linked statically:"]
    folder.add("licenses/swift/LICENSE", swift_licence())
    lines.append("  Swift's runtime: swift/")
    for name in PACKAGES:
        checkout = ROOT / ".build/checkouts" / name
        texts = sorted(path for path in checkout.glob("*")
                       if re.match(r"(LICENSE|NOTICE)", path.name) and path.is_file())
        if not texts:
            raise Trouble(f"{checkout} has no licence")
        for path in texts:
            folder.add(f"licenses/{name}/{path.name}", path.read_bytes())
        lines.append(f"  {name}: {name}/")
    lines += ["", "Files of Debian. They are as they were, but for the name of /etc/ld.so.preload in the",
              "loader: it reads no such file. Any may be replaced by another build of the same library.",
              "Sources: https://snapshot.debian.org/package/SOURCE/VERSION/", ""]
    common = set()
    for name, path in sorted(needed.items()):
        package, source, version = package_of(path)
        text = copyright_of(package)
        folder.add(f"licenses/{package}/copyright", text)
        common |= set(re.findall(rf"{COMMON}/([A-Za-z0-9.-]*[A-Za-z0-9])", text))
        lines.append(f"  lib/{name}: {package}/ ({source} {version})")
    package, source, version = package_of(needed["libc.so.6"])
    lines += ["", f"The file mpscope has parts of glibc linked to it: {package}/ ({source} {version}).", "",
              "Licences that these name are in common-licenses/."]
    for name in sorted(common | {"GPL-2"}):
        folder.add(f"licenses/common-licenses/{name}", one([COMMON / name], f"{COMMON / name}").read_bytes())
    folder.add("licenses/README", "\n".join(lines) + "\n")


def add_documents(folder, program, version, time):
    described = json.loads(output(program, "--experimental-dump-help"))
    date = output("date", "-u", "-d", f"@{time}", "+%Y-%m-%d").strip()
    folder.add("share/man/man8/mpscope.8", manual.page(described, version, date))
    for shell, name in COMPLETIONS.items():
        folder.add(f"share/{name}", output(program, "--generate-completion-script", shell))
    folder.add("README.md", (ROOT / "README.md").read_bytes())
    folder.add("CHANGELOG.md", (ROOT / "CHANGELOG.md").read_bytes())
    for path in sorted((ROOT / "docs").glob("*.md")):
        folder.add(f"docs/{path.name}", path.read_bytes())


# ---------------------------------------------------------------- the archive

def pack(folder, name, target, time):
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, filename="", mtime=0) as compressed, \
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in [folder, *sorted(folder.rglob("*"))]:
            entry = tarfile.TarInfo(str(Path(name) / path.relative_to(folder)))
            entry.mtime = time
            entry.uname = entry.gname = "root"
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            else:
                entry.mode = 0o755 if os.access(path, os.X_OK) and path.stat().st_mode & 0o111 else 0o644
                entry.size = path.stat().st_size
                with open(path, "rb") as content:
                    archive.addfile(entry, content)
    target.parent.mkdir(parents=True, exist_ok=True)
    made = target.with_name(f".{target.name}.new")
    made.write_bytes(packed.getvalue())
    made.rename(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / ".build/release/mpscope")
    parser.add_argument("--cc", default="cc", help="compiles the launcher (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / ".build/dist", metavar="FOLDER")
    options = parser.parse_args()
    time = time_of_sources()
    program = options.program.resolve()
    version = output(program, "--version").split()[-1]
    name = f"mpscope-{version}-{platform.machine()}"
    with tempfile.TemporaryDirectory(prefix="mpscope-dist-") as made:
        launcher = Path(made) / "launcher"
        loader, _ = libraries(program)
        output(options.cc, "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s", f'-DLOADER="{loader.name}"',
               ROOT / "Tools/dist/launcher.c", "-o", launcher)
        folder = Folder(Path(made) / name)
        folder.path.mkdir()
        needed = add_program(folder, program, launcher)
        add_licences(folder, needed)
        add_documents(folder, program, version, time)
        target = options.output / f"{name}.tar.gz"
        pack(folder.path, name, target, time)
    print(f"{os.path.relpath(target)}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        print(f"dist: {trouble}", file=sys.stderr)
        sys.exit(1)
