"""The program on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios

from program import program


class Terminal:
    """Runs the program with its input, output and errors on a terminal, to its end.

    Attributes
    ----------
    text
        Everything it wrote, line ends as "\\n".
    code
        Its exit code.
    """

    def __init__(self, args, columns=80, cwd=None, env=None):
        words = [str(program()), *map(str, args)]
        pid, self._end = pty.fork()
        if pid == 0:
            size = struct.pack("HHHH", 50, columns, 0, 0)
            fcntl.ioctl(1, termios.TIOCSWINSZ, size)
            if cwd is not None:
                os.chdir(cwd)
            os.execve(words[0], words, {**os.environ, "TERM": "xterm", **(env or {})})
        self.text = self._read().decode().replace("\r\n", "\n")
        self.code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(self._end)

    def _read(self):
        parts = []
        while True:
            try:
                part = os.read(self._end, 65536)
            except OSError:  # the other end is closed
                part = b""
            if part == b"":
                return b"".join(parts)
            parts.append(part)

    def plain(self):
        """The text without colours and without lines that were taken away again."""
        return re.sub(r"\x1b\[[0-9;]*m", "", re.sub(r"[^\n]*\r\x1b\[K", "", self.text))
