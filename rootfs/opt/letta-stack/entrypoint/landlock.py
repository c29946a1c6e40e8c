"""Take the right to read some files from this process and all that it starts.

A container whose first process has no root cannot give its children another user. The kernel's Landlock can still keep
agents' tools from the secret files that this process has read.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System calls, the same numbers on every architecture."""
_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE = 1 << 2
_REFER = 1 << 13
"""To move files between directories: what no rule gives is denied, so that every rule gives it."""
_FIRST_WITH_REFER = 2
_ABSENT = {errno.ENOSYS, errno.EOPNOTSUPP}


class _RuleBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def forbid_reading(hidden: set[Path], *, root: Path) -> bool:
    """Forbid to read the ``hidden`` files or directories under ``root``, from now on and in every child.

    What is made later beside a hidden one cannot be read either: what may be read is listed now.
    Returns False if this kernel has no Landlock. Raises OSError.
    """
    library = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: object) -> int:
        result = int(library.syscall(ctypes.c_long(number), *arguments))
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    try:
        version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise
    rights = _READ_FILE | (_REFER if version >= _FIRST_WITH_REFER else 0)
    handled = ctypes.c_uint64(rights)
    ruleset = call(
        _CREATE_RULESET,
        ctypes.byref(handled),
        ctypes.c_size_t(ctypes.sizeof(handled)),
        ctypes.c_uint32(0),
    )
    try:
        for path in readable(hidden, root):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = _RuleBeneath(rights if path.is_dir() else _READ_FILE, descriptor)
                call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
            finally:
                os.close(descriptor)
        if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        call(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return True


def readable(hidden: set[Path], root: Path) -> Iterator[Path]:
    """Yield the largest parts of ``root`` that hold nothing hidden. Links are left out: a rule is about their target."""
    for path in sorted(root.iterdir()):
        if path in hidden or path.is_symlink():
            continue
        if any(path in one.parents for one in hidden):
            yield from readable(hidden, path)
        else:
            yield path
