"""A program on a terminal in memory: keys go in, its screen is read as a person would."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pyte

COLUMNS, LINES = 120, 50

# Sequences of newer terminals that the terminal in memory would take for others of the same last letter.
_FOREIGN = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[[0-9;]+(?: q|\$p)")
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;?<>=$ ]*)?$")


class Terminal:
    """Runs `arguments` until it is closed."""

    def __init__(self, arguments, environment, folder):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.screen.write_process_input = lambda answer: os.write(self.master, answer.encode())
        self.stream = pyte.ByteStream(self.screen)
        self.rest = b""
        self.program = subprocess.Popen(
            arguments,
            env=environment | {"TERM": "xterm-256color"},
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait()
        os.close(self.master)

    def type(self, keys):
        """Presses keys."""
        os.write(self.master, keys.encode())

    def lines(self):
        """The screen's lines, without blanks at their ends."""
        return [line.rstrip() for line in self.screen.display]

    def wait_for(self, seen, seconds, what):
        """Reads the screen until `seen(lines)` holds; fails with the screen where it never does."""
        ends = time.monotonic() + seconds
        while not seen(self.lines()):
            left = ends - time.monotonic()
            ready = left > 0 and select.select([self.master], [], [], left)[0]
            if not ready or not self._read():
                shown = "\n".join(line for line in self.lines() if line)
                raise AssertionError(f"never saw {what}; the screen:\n{shown}")

    def wait_for_end(self, seconds):
        """The exit code; the screen is read meanwhile, so that the program is not held up."""
        ends = time.monotonic() + seconds
        while self.program.poll() is None and time.monotonic() < ends:
            if select.select([self.master], [], [], 0.1)[0] and not self._read():
                break
        return self.program.wait(timeout=max(1.0, ends - time.monotonic()))

    def _read(self):
        """Takes in what was written; false where the program has closed its side."""
        try:
            written = os.read(self.master, 65_536)
        except OSError:
            return False
        whole = self.rest + written
        cut = _UNFINISHED.search(whole)
        end = cut.start() if cut else len(whole)
        self.rest = whole[end:]
        self.stream.feed(_FOREIGN.sub(b"", whole[:end]))
        return bool(written)
