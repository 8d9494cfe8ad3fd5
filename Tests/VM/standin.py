# SPDX-License-Identifier: Apache-2.0
"""The stand-in for an out-of-tree MPTCP stack (Tests/Standin), built for one of Debian's kernels.

It is built outside the tree, beside the kernels, and again when its sources or the headers change.
"""
import hashlib
import shutil
import subprocess
import time
from pathlib import Path

import kernels
from part import Part

SOURCES = Path(__file__).resolve().parents[1] / "Standin"
# The one of Debian's kernels that it is for: the headers of its successors may need changes of it.
FAMILY = "6.1"
# mptcp_update_metasocket has one argument from v0.94 on, two in v0.90.
FORMS = {"standin": "", "standin-elder": "-DSTANDIN_ELDER"}


def part(kernel, names):
    folder = build(kernel)
    added = [(folder / f"{form}.{kind}", f"{form}.{kind}") for form in FORMS for kind in ["ko", "btf"]]
    # Two processors: a softirq is to run on another one than the process.
    return Part(["standin", "/root", ",".join(names)], [("kprobe", name) for name in names], added,
                processors=2, mark="standin-", lists_programs=True)


def build(kernel):
    """The folder with standin.ko, its types as standin.btf, and the same of the elder form."""
    headers = kernels.headers(kernel)
    files = sorted(file for file in SOURCES.iterdir() if file.is_file())
    state = hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files))
    folder = kernels.cache() / "standin" / f"{kernel.name}-{state.hexdigest()[:16]}"
    with kernels.locked():
        if not folder.exists():
            made = folder.with_name(f".{folder.name}.new")
            shutil.rmtree(made, ignore_errors=True)
            for form, flags in FORMS.items():
                compile_form(headers, files, made, form, flags)
            made.rename(folder)
            # Another run may still take one from here.
            for other in folder.parent.glob("[0-9]*"):
                if time.time() - other.stat().st_mtime > kernels.DAY and other != folder:
                    shutil.rmtree(other)
    return folder


def compile_form(headers, files, made, form, flags):
    place = made / form
    place.mkdir(parents=True)
    for file in files:
        shutil.copy(file, place)
    run(["make", "-C", headers, f"M={place}", f"STANDIN_FLAGS={flags}", "modules"])
    # Of the one unit that knows no type but the stand-in's own.
    run(["pahole", f"--btf_encode_detached={made}/{form}.btf", place / "stack.o"])
    shutil.copy(place / "mpscope_standin.ko", made / f"{form}.ko")
    run(["strip", "--strip-debug", made / f"{form}.ko"])
    shutil.rmtree(place)


def run(command):
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        raise kernels.Trouble(f"`{' '.join(map(str, command))}` failed:\n{done.stdout}{done.stderr}")
