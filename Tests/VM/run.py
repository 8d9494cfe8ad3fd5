#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mpscope on other kernels, each under QEMU: `make vm-test`.

    run.py                                    all of Debian's kernels that the matrix is about
    run.py --kernel 6.12                      one of them
    run.py --kernel vmlinuz --modules DIR     any other
    run.py --kernel vmlinuz --btf FILE --stack multipath-tcp.org
                                              one of another MPTCP stack, with everything built in
    run.py --kernel 6.12 -- mpscope doctor    runs a command in one guest: its output, its status
    run.py --dist ARCHIVE --kernel 6.1        the archive of `make dist`, in a guest that has nothing else
    run.py --dist ARCHIVE --kernel 6.1 -- mpscope doctor
"""
import argparse
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path

import boot
import distribution
import initramfs
import kernels
import matrix

ROOT = Path(__file__).resolve().parents[2]


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / ".build/release/mpscope",
                        help="the program (default: what make built)")
    parser.add_argument("--kernel", action="append", metavar="FAMILY|IMAGE",
                        help=f"one of {', '.join(kernels.FAMILIES)}, or another of Debian's such as "
                        "6.16, or the image of any other")
    parser.add_argument("--modules", type=Path, metavar="DIR",
                        help="the folder with the modules of an IMAGE: kernel/ and modules.dep")
    parser.add_argument("--btf", type=Path, metavar="FILE",
                        help="BTF for a kernel that carries none (with --stack)")
    parser.add_argument("--stack", choices=["multipath-tcp.org", "mainline"],
                        help="play only what runs on that stack with nothing but the kernel: "
                        "`mainline` tries this very mode out on a kernel of today")
    parser.add_argument("--dist", type=Path, metavar="ARCHIVE",
                        help="try what `make dist` made, instead of the program and the scenarios")
    parser.add_argument("--add", action="append", default=[], metavar="FILE[:NAME]",
                        help="a file for the guest, in /root unless NAME has a folder")
    parser.add_argument("--guest", type=Path, default=ROOT / ".build/release/vm-guest",
                        help="what runs the scenarios in the guest (default: what make built)")
    parser.add_argument("--backend", action="append", default=[], metavar="NAME",
                        help=f"only this one of {', '.join(matrix.BACKENDS)}; with --stack: auto too")
    parser.add_argument("--scenario", action="append", default=[], metavar="NAME",
                        help="only this one")
    parser.add_argument("--lanes", type=int, default=matrix.LANES,
                        help="scenarios at once in a guest (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=min(os.cpu_count() or 1, 4), metavar="N",
                        help="guests at once (default: %(default)s)")
    parser.add_argument("--seconds", type=int,
                        help=f"how long a guest may run (default: {matrix.LONGEST})")
    parser.add_argument("--verbose", action="store_true", help="print what the guests say")
    parser.add_argument("command", nargs="*", help="what runs in the guest instead of the scenarios")
    return parser.parse_args()


def chosen(options):
    for name in options.kernel or kernels.FAMILIES:
        if options.modules or options.stack and Path(name).exists():
            yield kernels.of_file(name, options.modules)
        else:
            yield kernels.fetch(name)


def execute(options, kernel, accel):
    """Runs the command in a guest; its exit status, or 125 if the guest did not get so far."""
    word = boot.nonce()
    job = f"{shlex.join(options.command)}\nstatus=$?\necho\necho {word} exit $status\n"
    added = []
    for text in options.add:
        source, _, name = text.partition(":")
        added.append((source, name or Path(source).name))
    archive = initramfs.build_bare(kernel, options.dist, job) if options.dist \
        else initramfs.build(kernel, options.program, job, added)
    status = None

    def hear(line):
        nonlocal status
        words = line.split()
        if words[:2] == [word, "exit"]:
            status = int(words[2])
        else:
            print(line, flush=True)

    with tempfile.TemporaryDirectory(prefix="mpscope-vm-") as folder:
        machine = boot.Machine(kernel, archive, folder, accel, word)
        try:
            seconds = options.seconds or 600
            ended = machine.run(hear, seconds, seconds)
        finally:
            machine.end()
        print(f"# {kernel.name}: exit status {status}, {ended.seconds:.1f} s under {accel}",
              file=sys.stderr)
        if status is None or ended.trouble:
            print(f"# {ended.trouble or 'no exit status'}; the end of the console:\n{machine.tail()}",
                  file=sys.stderr)
            return 125
    return status


def interrupted(number, _):
    boot.end_all()
    # Threads may wait for nothing any more.
    os._exit(128 + number)


def main():
    options = parse()
    for number in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]:
        signal.signal(number, interrupted)
    accel = boot.accelerator()
    found = list(chosen(options))
    if options.command:
        return max(execute(options, kernel, accel) for kernel in found)
    if options.dist:
        return 1 if distribution.run(found, options.dist, accel) else 0
    return 1 if matrix.run(found, options, accel) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except kernels.Trouble as trouble:
        print(f"vm-test: {trouble}", file=sys.stderr)
        sys.exit(1)
