# SPDX-License-Identifier: Apache-2.0
"""The archive of `make dist` in a guest that has busybox and nothing else: no libc, no loader.

A line for each thing tried. What was not said has failed, as in the matrix.
"""
import re
import tempfile
from dataclasses import dataclass

import boot
import initramfs

SECONDS = 240


@dataclass(frozen=True)
class Step:
    name: str
    # Lines of busybox's shell.
    command: str
    status: int = 0
    # Patterns that its output has, or does not have.
    has: tuple = ()
    lacks: tuple = ()


ACTOR = "mpscope __actor churn --new-netns 1"
# The quickest to attach.
TRACE = "mpscope trace --backend tracepoint"
STEPS = [
    Step("no-library-but-its-own",
         "find / -xdev \\( -name '*.so' -o -name '*.so.*' \\) ! -path '/opt/mpscope/*' ! -path '/tools/*'",
         lacks=(r"\.so",)),
    Step("version", "mpscope --version", has=(r"^mpscope \d",)),
    # From another folder, through two links, one of them relative.
    Step("links",
         "cd /tmp && ln -s ../usr/bin/mpscope m && ./m --version && /opt/mpscope/../mpscope/mpscope --version",
         has=(r"^mpscope \d.*\nmpscope \d",)),
    Step("moved", "cp -r /opt/mpscope '/tmp/a folder' && '/tmp/a folder/mpscope' --version",
         has=(r"^mpscope \d",)),
    Step("alone", "cp /opt/mpscope/mpscope /tmp/alone; /tmp/alone --version", 69, has=(r"is not beside",)),
    Step("what-the-host-loads",
         "echo /none.so > /etc/ld.so.preload; LD_PRELOAD=/none.so LD_LIBRARY_PATH=/none GLIBC_TUNABLES=x "
         "LD_SHOW_AUXV=1 mpscope --version",
         has=(r"^mpscope \d",), lacks=(r"none", r"AT_")),
    # The launcher finds its folder; the program says what it lacks.
    Step("no-proc",
         "umount /proc; mpscope --version; s=$?; mount -t proc proc /proc; (exit $s)", 69,
         has=(r"/proc is not mounted",)),
    Step("doctor", "mpscope doctor", has=(r"mpscope can trace this kernel",)),
    Step("status", "mpscope status"),
    Step("trace",
         f"mpscope trace --verify -o /tmp/records -- {ACTOR} --count 20 && cat /tmp/records",
         has=(r"^handshakes +mptcp 40$", r"^lost +0 of [1-9]", r"^verify +[1-9]\d* checked",
              r'"type":"handshake"', r'"type":"summary"')),
    # What a COMMAND gets is what there was before the launcher.
    Step("command",
         f"LD_LIBRARY_PATH=/none {TRACE} -- /bin/sh -c 'env; exit 7'", 7,
         has=(r"^LD_LIBRARY_PATH=/none$",), lacks=(r"MPSCOPE_",)),
    Step("command-stopped",
         f"{TRACE} -- /bin/sh -c '(sleep 1; kill -CONT $$) & kill -STOP $$; echo went on; kill -9 $$'", 137,
         has=(r"^went on$",)),
    Step("command-not-found", f"{TRACE} -- none", 127, has=(r"cannot start none",)),
    Step("demo", "PATH=/tools/bin:$PATH mpscope demo --backend tracepoint --scenario mptcp-ipv4 "
         "--scenario mptcp-to-tcp-server",
         has=(r"^all as expected$",)),
    Step("nothing-left", "ls /run/netns; ps", lacks=(r"mpscope",)),
]


def job(word):
    lines = []
    for step in STEPS:
        # In a shell of its own: a step may change its folder.
        lines += [f"echo '{word} begin {step.name}'", f"( {step.command} )",
                  f"status=$?; echo; echo '{word} end {step.name}' $status"]
    return "\n".join(lines) + "\n"


def judge(step, said):
    """Nothing, or what is wrong. `said`: its output and its status, or None."""
    if said is None:
        return "it was not run to its end"
    output, status = said
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "")
    if status != step.status:
        return f"status {status} instead of {step.status}: {last}"
    for pattern in step.has:
        if not re.search(pattern, output, re.M):
            return f"nothing like `{pattern}`: {last}"
    for pattern in step.lacks:
        found = re.search(f".*{pattern}.*", output)
        if found:
            return f"`{pattern}`: {found[0]}"
    return None


def play(kernel, packed, accel):
    """What each step said, by its name; and what is the matter with the guest."""
    word = boot.nonce()
    archive = initramfs.build_bare(kernel, packed, job(word))
    said = {}
    lines = []

    def hear(line):
        words = line.split()
        if words[:2] == [word, "begin"]:
            lines.clear()
        elif words[:2] == [word, "end"]:
            said[words[2]] = ("\n".join(lines), int(words[3]))
        else:
            lines.append(line)

    with tempfile.TemporaryDirectory(prefix="mpscope-vm-") as folder:
        machine = boot.Machine(kernel, archive, folder, accel, word)
        try:
            ended = machine.run(hear, SECONDS, SECONDS)
        finally:
            machine.end()
        tail = machine.tail() if ended.trouble else ""
    return said, ended, tail


def run(kernels, packed, accel):
    """How many steps failed."""
    failed = 0
    for kernel in kernels:
        said, ended, tail = play(kernel, packed, accel)
        for step in STEPS:
            wrong = judge(step, said.get(step.name))
            failed += wrong is not None
            print(f"{kernel.name} dist {step.name} {'fail' if wrong else 'pass'}"
                  + (f" ({wrong[:300]})" if wrong else ""), flush=True)
        print(f"{kernel.name}: {ended.seconds:.0f} s under {accel}"
              + (f", {ended.trouble}" if ended.trouble else ""), flush=True)
        if tail:
            print(f"--- the end of the console\n{tail}\n---", flush=True)
    print(f"\n{len(kernels)} kernels, {packed.name}: {len(kernels) * len(STEPS) - failed} passed, "
          f"{failed} failed")
    return failed
