# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, field


@dataclass
class Part:
    """What one guest is to do, and what it must tell of."""
    # Of vm-guest, after its word and the program.
    arguments: list
    # Pairs of a backend and a scenario.
    expected: list
    # Files for the guest: pairs, see initramfs.build.
    added: list = field(default_factory=list)
    processors: int = 1
    # Before the name of the line about the kernel's messages, where a kernel has several guests.
    mark: str = ""
    # It tells of every BPF program.
    lists_programs: bool = False
