"""Runs the cases of a client program one after the other and counts them.

A case is a function named as a sentence. The closing line `N passed, N failed` is what the suite reads: a program that ends
without it has failed.
"""

import os
import sys
import time
import traceback
import uuid

BASE_URL = os.environ["BASE_URL"]

# Made up; only the shape is a provider's.
ANTHROPIC_KEY = "sk-ant-api03-made-up-for-tests"
OPENAI_KEY = "sk-made-up-for-tests"

# A client that waits for longer than this on loopback has hung.
PATIENCE_SECONDS = 30.0

_cases = []


def case(function):
    """Registers a case."""
    _cases.append(function)
    return function


def run():
    """Runs all cases and exits: 0 where all passed."""
    failed = 0
    for function in _cases:
        name = function.__name__.replace("_", " ")
        started = time.monotonic()
        try:
            function()
        except Exception:  # a case fails alone; the others are told about too
            failed += 1
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"ok   {name} ({time.monotonic() - started:.1f} s)", flush=True)
    print(f"{len(_cases) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


def unique():
    """A word that no other prompt holds: the provider counts limited faults by prompt."""
    return uuid.uuid4().hex[:12]


class Attempts:
    """Counts the requests a client really sends, with the time of each."""

    def __init__(self):
        self.times = []

    def hook(self, _request):
        self.times.append(time.monotonic())

    def __len__(self):
        return len(self.times)

    def gap(self):
        """Seconds between the first two."""
        return self.times[1] - self.times[0]


def equal(got, wanted):
    """Fails with both values."""
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def raises(kind, act):
    """The error of this kind that `act` ends with."""
    try:
        result = act()
    except kind as error:
        return error
    raise AssertionError(f"no {kind}, but {result!r}")
