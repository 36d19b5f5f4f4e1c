"""`tidegate top` on a real terminal: what it shows, what its keys do, and that it leaves the terminal as it was.

The gateway lets one call pass at a time, so that whoever comes second waits.
"""

import json
import os
import pathlib
import signal
import subprocess
import termios
import threading
import urllib.error
import urllib.request

from cases import ANTHROPIC_KEY, BASE_URL, case, equal, run, unique
from terminal import Terminal

TIDEGATE = os.environ["TIDEGATE"]

# What is asked for every second is on the screen within a few.
SOON = 20

# The alternate screen and the hidden cursor, as the terminal in memory keeps private modes.
ALTERNATE, CURSOR = 1049 << 5, 25 << 5


class Call:
    """A call of its own thread; `status` is what became of it."""

    def __init__(self, sleep_ms):
        self.body = {
            "model": "claude-opus-5-5",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": f"sim:sleep-ms {sleep_ms} {unique()}"}],
        }
        self.status = None
        self.task = f"task-{unique()}"
        self.thread = threading.Thread(target=self._send, daemon=True)
        self.thread.start()

    def _send(self):
        headers = {
            "content-type": "application/json",
            "x-api-key": ANTHROPIC_KEY,
            "anthropic-version": "2023-06-01",
            "x-tidegate-task": self.task,
        }
        request = urllib.request.Request(f"{BASE_URL}/v1/messages", json.dumps(self.body).encode(), headers)
        try:
            self.status = urllib.request.urlopen(request, timeout=90).status
        except urllib.error.HTTPError as refused:
            self.status = refused.code

    def ended(self):
        self.thread.join(90)
        return self.status


def top(data=None, **environment):
    """The live view, on a terminal of its own."""
    inherited = os.environ | ({"TIDEGATE_DATA": data} if data else {})
    return Terminal([TIDEGATE, "top"], inherited | environment, os.getcwd())


def shows(text):
    return lambda lines: any(text in line for line in lines)


def shows_all(*texts):
    return lambda lines: all(shows(text)(lines) for text in texts)


def is_left_as_it_was(view, before):
    after = termios.tcgetattr(view.master)
    equal(after[:4], before[:4])
    assert ALTERNATE not in view.screen.mode, "the other screen is still there"
    assert CURSOR in view.screen.mode, "the cursor is still hidden"


@case
def it_shows_what_runs_and_waits_and_cancels_a_waiting_call_after_a_yes():
    first = Call(15_000)
    with top() as view:
        view.wait_for(shows_all("takes calls", first.task, "running calls: 1"), SOON, "the running call")
        second = Call(0)
        view.wait_for(shows_all("queue: 1 wait", second.task, "waiting"), SOON, "the waiting call")
        view.type("x")
        view.wait_for(shows("cancel call_"), SOON, "the question")
        view.type("n")
        view.wait_for(shows("q quit"), SOON, "the keys again")
        assert second.status is None, "a no cancelled it"
        view.type("x")
        view.wait_for(shows("cancel call_"), SOON, "the question")
        view.type("y")
        view.wait_for(shows("waits no more"), SOON, "what became of it")
        assert 400 <= second.ended() < 500, second.status
        view.wait_for(shows("no call waits"), SOON, "an empty queue")
        view.type("q")
        equal(view.wait_for_end(SOON), 0)
    equal(first.ended(), 200)


@case
def q_ends_it_and_the_terminal_is_as_before():
    with top() as view:
        before = termios.tcgetattr(view.master)
        view.wait_for(shows("takes calls"), SOON, "the gateway")
        assert ALTERNATE in view.screen.mode, "it draws on a screen of its own"
        view.type("\t\t")
        view.type("q")
        equal(view.wait_for_end(SOON), 0)
        is_left_as_it_was(view, before)


def ended_by(number):
    """Sends a signal to a view that is drawn; the terminal is as before then."""
    with top() as view:
        before = termios.tcgetattr(view.master)
        view.wait_for(shows("takes calls"), SOON, "the gateway")
        view.program.send_signal(number)
        equal(view.wait_for_end(SOON), 0)
        is_left_as_it_was(view, before)


@case
def a_signal_to_end_leaves_the_terminal_as_before():
    ended_by(signal.SIGTERM)


@case
def a_hang_up_leaves_the_terminal_as_before():
    ended_by(signal.SIGHUP)


@case
def without_colours_it_is_drawn_without():
    with top(NO_COLOR="1") as view:
        view.wait_for(shows("takes calls"), SOON, "the gateway")
        cells = [cell for line in view.screen.buffer.values() for cell in line.values()]
        equal({cell.fg for cell in cells}, {"default"})
        view.type("q")
        equal(view.wait_for_end(SOON), 0)


@case
def a_gateway_that_goes_is_said_and_one_that_is_back_is_shown():
    data = str(pathlib.Path("of-its-own").absolute())

    def serve():
        return subprocess.Popen(
            [TIDEGATE, "serve", "--listen", "127.0.0.1:0"],
            env=os.environ | {"TIDEGATE_DATA": data},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    gateway = serve()
    try:
        with top(data) as view:
            view.wait_for(shows("takes calls"), SOON, "the gateway")
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(30)
            view.wait_for(shows("GONE: no gateway answers"), SOON, "that it is gone")
            gateway = serve()
            view.wait_for(shows("takes calls"), SOON, "that it is back")
            view.type("q")
            equal(view.wait_for_end(SOON), 0)
    finally:
        gateway.kill()
        gateway.wait()


@case
def without_a_terminal_it_prints_one_frame():
    done = subprocess.run([TIDEGATE, "top"], capture_output=True, text=True, timeout=30, check=True)
    for text in ["takes calls", "buckets", "budgets", "queue", "running calls", "approvals", "providers"]:
        assert text in done.stdout, f"{text} is not in\n{done.stdout}"
    assert "\x1b" not in done.stdout, "it paints where nobody looks"


run()
