# SPDX-License-Identifier: Apache-2.0
"""Every scenario by every backend on every kernel: a line each, and what is wrong besides.

What a guest must have said is known before it runs. A line that is missing is a failure with the
guest's own end as its reason, so neither a panic, nor a hang, nor a program that does nothing can
pass for a success.
"""
import re
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import boot
import initramfs
import standin
from kernels import Trouble
from part import Part

BACKENDS = ["fentry", "kprobe", "tracepoint"]
# What the verifier may have to look at for one program (it gives up at 1,000,000).
MOST_INSTRUCTIONS = 100_000
# Scenarios at once in a guest: most of them wait most of the time.
LANES = 4
# Seconds that the whole matrix may take, one guest, and a guest's silence.
WHOLE = 700
LONGEST = 480
SILENCE = 120
WIDTH = 300

# What the kernel may say while the scenarios run, and why that is nobody's fault.
TOLERATED = [
    # The scenario syn-cookies asks for them, and the kernel says so once.
    r"TCP: request_sock_(TCP|subflow_v[46]): Possible SYN flooding on port",
    r"mptcp: .*Possible SYN flooding",
    # What any module says that is not the kernel's own.
    r"mpscope_standin: loading out-of-tree module taints kernel",
    r"mpscope_standin: module verification failed",
]
# At any time, the start of the machine included.
ALARMS = r"WARNING: |BUG: |Oops|Call Trace:|refcount_t|KASAN|general protection|bpf.*(fail|refus|error)"


@dataclass
class Guest:
    """What one guest said."""
    name: str
    # What it must tell: pairs of a backend and a scenario.
    expected: list = field(default_factory=list)
    # (backend, scenario) → (verdict, why)
    results: dict = field(default_factory=dict)
    # Fields of what `mpscope __programs` said.
    programs: list = field(default_factory=list)
    running: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    dmesg: list = field(default_factory=list)
    trouble: str = ""
    done: bool = False
    tail: str = ""
    seconds: float = 0
    # It was to tell of every BPF program.
    lists_programs: bool = False
    mark: str = ""


def known(guest_program, kind="scenarios"):
    """The names of all scenarios, or of the stand-in's rows, or of what is played on another stack."""
    shown = subprocess.run([guest_program, "--list", kind], check=True, text=True, capture_output=True)
    return shown.stdout.split()


def play(kernel, options, accel, part, seconds):
    """Boots a kernel once, and has everything of a part run in it."""
    word = boot.nonce()
    job = f"""
echo "{word} begin" > /dev/kmsg
/root/vm-guest {word} /usr/bin/mpscope {" ".join(part.arguments)}
echo "{word}\tstatus\t$?"
dmesg -r | sed "s/^/{word}\tdmesg\t/"
echo "{word}\tend-of-dmesg"
"""
    guest = Guest(kernel.name, part.expected, lists_programs=part.lists_programs, mark=part.mark)
    archive = initramfs.build(kernel, options.program, job, [(options.guest, "vm-guest"), *part.added])

    def hear(line):
        words = line.split("\t")
        if words[0] != word or len(words) < 2:
            guest.notes.append(line)
            return
        kind, rest = words[1], words[2:]
        if kind == "result" and len(rest) >= 3:
            guest.results[rest[0], rest[1]] = (rest[2], rest[3] if len(rest) > 3 else "")
        elif kind == "program":
            guest.programs.append(rest)
        elif kind == "start":
            guest.running.append(rest[0])
        elif kind == "end":
            guest.running.remove(rest[0])
        elif kind == "dmesg":
            guest.dmesg.append(rest[0])
        elif kind == "trouble":
            guest.trouble = rest[0]
        elif kind == "status" and rest[0] != "0":
            guest.trouble = guest.trouble or f"vm-guest ended with {rest[0]}"
        elif kind == "end-of-dmesg":
            guest.done = True
        if options.verbose and kind != "dmesg":
            print(kernel.name, *words[1:], flush=True)

    with tempfile.TemporaryDirectory(prefix="mpscope-vm-") as folder:
        machine = boot.Machine(kernel, archive, folder, accel, word, part.processors)
        try:
            ended = machine.run(hear, seconds, SILENCE)
        finally:
            machine.end()
        guest.seconds = ended.seconds
        if not guest.done and not ended.trouble:
            ended.trouble = "the guest ended before it was done"
        if ended.trouble:
            during = f" during {', '.join(guest.running)}" if guest.running else ""
            guest.trouble = f"{ended.trouble}{during}"
            guest.tail = machine.tail()
    # The mark is of this run: what comes after it, the scenarios did.
    marks = [number for number, line in enumerate(guest.dmesg) if f"{word} begin" in line]
    guest.dmesg = complaints(guest.dmesg, marks[0] if marks else None)
    for key in part.expected:
        guest.results.setdefault(key, ("fail", guest.trouble or "it said nothing"))
    return guest


def complaints(lines, begin):
    """What of the kernel's messages is a warning or worse."""
    found = []
    if begin is None:
        return ["the kernel's messages do not go back to the beginning"] if lines else []
    for number, line in enumerate(lines):
        match = re.match(r"<(\d+)>(.*)", line)
        level, text = (int(match[1]) & 7, match[2]) if match else (7, line)
        if any(re.search(pattern, text) for pattern in TOLERATED):
            continue
        if re.search(ALARMS, text) or number > begin and level <= 4:
            found.append(text.strip())
    return found


def parts(kernels, options):
    """What is to run: kernels, and a part for each."""
    if options.stack:
        return [(kernel, stack_part(options)) for kernel in kernels]
    names = known(options.guest)
    rows = known(options.guest, "standin")
    for name in options.scenario:
        if name not in names + rows:
            raise Trouble(f"there is no scenario {name}")
    backends = options.backend or BACKENDS
    wanted = [name for name in names if name in options.scenario or not options.scenario]
    found = []
    for kernel in kernels:
        if wanted:
            found.append((kernel, Part(
                [",".join(backends), ",".join(wanted), str(options.lanes)],
                [(backend, name) for name in wanted for backend in backends],
                lists_programs=True)))
    # A guest of its own: its kernel has a module that is not Debian's.
    wanted = [name for name in rows if name in options.scenario or not options.scenario]
    for kernel in kernels:
        if wanted and kernel.name.startswith(standin.FAMILY + ".") and "kprobe" in backends:
            found.append((kernel, standin.part(kernel, wanted)))
    return found


def stack_part(options):
    names = known(options.guest, "stack")
    for name in options.scenario:
        if name not in names:
            raise Trouble(f"there is no scenario {name} of the stack")
    names = options.scenario or names
    backend = (options.backend or ["auto"])[0]
    added = [(options.btf, "btf")] if options.btf else []
    return Part(["stack", options.stack, "/root/btf" if options.btf else "-", backend, ",".join(names)],
                [(backend, name) for name in names], added, mark="stack-")


def run(kernels, options, accel):
    """The whole matrix; how many lines of it failed."""
    wanted = parts(kernels, options)
    lock = threading.Lock()
    end = time.monotonic() + WHOLE

    def one(kernel, part):
        seconds = options.seconds or min(LONGEST, max(1, int(end - time.monotonic())))
        guest = play(kernel, options, accel, part, seconds)
        with lock:
            print(f"{guest.name}: {guest.seconds:.0f} s under {accel}"
                  + (f", {guest.trouble}" if guest.trouble else ""), flush=True)
            if guest.tail:
                print(f"--- the end of the console\n{guest.tail}\n---", flush=True)
        return guest

    with ThreadPoolExecutor(options.at_once) as pool:
        # The newest take longest, and begin.
        begun = [pool.submit(one, *each) for each in reversed(wanted)]
        guests = [future.result() for future in reversed(begun)]
    print()
    counts = {"pass": 0, "fail": 0, "cannot": 0}

    def line(kernel, backend, name, verdict, why):
        counts[verdict if verdict in counts else "fail"] += 1
        print(f"{kernel} {backend} {name} {verdict}" + (f" ({why[:WIDTH]})" if why else ""))

    for guest in guests:
        for backend, name in guest.expected:
            line(guest.name, backend, name, *guest.results[backend, name])
    for guest in guests:
        for way, name, *verdict in judge_programs(guest) if guest.lists_programs else []:
            line(guest.name, way, f"{guest.mark}{name}", *verdict)
        line(guest.name, "-", f"{guest.mark}dmesg", "fail" if guest.dmesg or not guest.done else "pass",
             "; ".join(guest.dmesg[:3]) or ("" if guest.done else "not seen"))
        for note in guest.notes[:5]:
            if note.strip():
                print(f"{guest.name}: {note[:WIDTH]}")
    table([guest for guest in guests if guest.lists_programs])
    every = [key for guest in guests for key in guest.expected]
    print(f"\n{len({guest.name for guest in guests})} kernels, {len({key[0] for key in every})} backends, "
          f"{len({key[1] for key in every})} scenarios: {counts['pass']} passed, {counts['fail']} failed, {counts['cannot']} cannot")
    return counts["fail"]


def judge_programs(guest):
    """A line for the BPF programs of a kernel; one for each that is wrong."""
    loaded = 0
    wrong = []
    for name, way, target, verdict, *rest in (fields + [""] * 4 for fields in guest.programs):
        why = " ".join(rest).strip()
        if verdict == "loaded" and rest and rest[0].isdigit():
            loaded += 1
            if int(rest[0]) > MOST_INSTRUCTIONS:
                wrong.append((way, name, "fail", f"{rest[0]} instructions for the verifier"))
        elif verdict != "cannot":
            wrong.append((way, name, "fail", f"{target}: {why}"))
    if wrong:
        return wrong
    return [("-", "programs", "pass" if loaded else "fail", f"{loaded} loaded")]


def table(guests):
    """The instructions that the verifier processed of each program."""
    rows = {}
    for guest in guests:
        for fields in guest.programs:
            name, way, target, verdict, number = (fields + [""] * 5)[:5]
            cell = number if verdict == "loaded" else verdict
            rows.setdefault((way, name, target), {})[guest.name] = cell
    if not rows:
        return
    head = ["instructions processed", *(guest.name for guest in guests)]
    lines = [[" ".join(part for part in row if part), *(cells.get(guest.name, "-") for guest in guests)]
             for row, cells in sorted(rows.items())]
    widths = [max(len(line[place]) for line in [head] + lines) for place in range(len(head))]
    print()
    for line in [head] + lines:
        print("  ".join(cell.ljust(width) if place == 0 else cell.rjust(width)
                        for place, (cell, width) in enumerate(zip(line, widths))))
