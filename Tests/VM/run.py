#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mpscope on other kernels, each under QEMU: `make vm-test`.

    run.py --kernel 6.12 -- mpscope doctor    runs a command in one guest: its output, its status
"""
import argparse
import shlex
import sys
import tempfile
from pathlib import Path

import boot
import initramfs
import kernels

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
    parser.add_argument("--add", action="append", default=[], metavar="FILE[:NAME]",
                        help="a file for the guest, in /root unless NAME has a folder")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=600, help="how long a guest may run")
    parser.add_argument("command", nargs="*", help="what runs in the guest")
    return parser.parse_args()


def chosen(options):
    for name in options.kernel or kernels.FAMILIES:
        if options.modules:
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
    archive = initramfs.build(kernel, options.program, job, added)
    status = None

    def hear(line):
        nonlocal status
        words = line.split()
        if words[:2] == [word, "exit"]:
            status = int(words[2])
        else:
            print(line, flush=True)

    with tempfile.TemporaryDirectory(prefix="mpscope-vm-") as folder:
        machine = boot.Machine(kernel, archive, folder, accel, options.cpus)
        try:
            ended = machine.run(hear, options.seconds, options.seconds)
        finally:
            machine.end()
        print(f"# {kernel.name}: exit status {status}, {ended.seconds:.1f} s under {accel}",
              file=sys.stderr)
        if status is None or ended.trouble:
            print(f"# {ended.trouble or 'no exit status'}; the end of the console:\n{machine.tail()}",
                  file=sys.stderr)
            return 125
    return status


def main():
    options = parse()
    accel = boot.accelerator()
    return max(execute(options, kernel, accel) for kernel in chosen(options))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except kernels.Trouble as trouble:
        print(f"vm-test: {trouble}", file=sys.stderr)
        sys.exit(1)
