#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command as a Linux 4.14 would take its system calls: every younger one fails by ENOSYS.

    old_calls.py COMMAND [ARGUMENT ...]

Flags and structures that are younger are not noticed.
"""
import ctypes
import os
import struct
import sys

# Of x86-64 only, where 332 is statx(), of 4.11, and all that came since 4.14 have greater numbers.
LAST = 332
ARCHITECTURE = 0xc000003e
ALLOW, FAIL = 0x7fff0000, 0x00050000
ENOSYS = 38
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2


def instruction(code, value, yes=0, no=0):
    return struct.pack("HBBI", code, yes, no, value)


def main():
    load, equal, greater, answer = 0x20, 0x15, 0x25, 0x06
    code = b"".join([
        instruction(load, 4),
        instruction(equal, ARCHITECTURE, no=3),
        instruction(load, 0),
        instruction(greater, LAST, no=1),
        instruction(answer, FAIL | ENOSYS),
        instruction(answer, ALLOW),
    ])
    room = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(room))
    libc = ctypes.CDLL(None, use_errno=True)
    # Whoever is not root must give the way to become it up.
    if os.geteuid() and libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        sys.exit(f"old_calls: {os.strerror(ctypes.get_errno())}")
    if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.create_string_buffer(program, len(program)), 0, 0):
        sys.exit(f"old_calls: {os.strerror(ctypes.get_errno())}")
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.exit(f"old_calls: {sys.argv[1]}: {error.strerror}")


main()
