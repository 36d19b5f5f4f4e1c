"""A gateway that lets one call pass at a time on Claude Code's platform: another call takes that slot for a while."""

import json
import os
import subprocess
import threading
import time
import urllib.request

from cases import ANTHROPIC_KEY, BASE_URL, equal, unique
from claude import result

# What Claude Code may need beyond the wait itself: its start, and what it asks beside the prompt.
BESIDE_SECONDS = 60


class Slot:
    """Holds the only slot for so many seconds, by a call that the provider answers late."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.thread = threading.Thread(target=self.hold, daemon=True)

    def hold(self):
        body = {
            "model": "claude-opus-5-5",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": f"sim:sleep-ms {self.seconds * 1000} {unique()}"}],
        }
        headers = {"content-type": "application/json", "x-api-key": ANTHROPIC_KEY, "anthropic-version": "2023-06-01"}
        request = urllib.request.Request(f"{BASE_URL}/v1/messages", json.dumps(body).encode(), headers)
        urllib.request.urlopen(request, timeout=self.seconds + BESIDE_SECONDS).read()

    def __enter__(self):
        self.thread.start()
        # It has the slot once the gateway says that a call is with the provider.
        while not metric("tidegate_gateway_open_calls"):
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.thread.join()


def metric(name):
    """A metric without labels; 0 where it was never counted."""
    text = urllib.request.urlopen(f"{BASE_URL}/metrics", timeout=10).read().decode()
    lines = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return int(lines[0].split()[1]) if lines else 0


def asked(path):
    """An answer of the gateway's own API."""
    token = (open(os.path.join(os.environ["TIDEGATE_DATA"], "token")).read()).strip()
    request = urllib.request.Request(f"{BASE_URL}{path}", headers={"authorization": f"Bearer {token}"})
    return json.load(urllib.request.urlopen(request, timeout=10))


def queue():
    """The waiting calls, as the command shows them to programs."""
    done = subprocess.run(
        [os.environ["TIDEGATE"], "queue", "--json"], capture_output=True, text=True, timeout=30, check=True
    )
    return json.loads(done.stdout)["waiting"]


def cancel_when_it_waits(until=lambda: True):
    """Takes the one call that waits out of the queue, once `until` says so."""
    began = time.monotonic()
    while not ((waiting := queue()) and until()):
        assert time.monotonic() - began < BESIDE_SECONDS, "nothing waits"
        time.sleep(0.2)
    (call,) = waiting
    equal((call["place"], call["of"], call["away"]), (1, 1, False))
    subprocess.run([os.environ["TIDEGATE"], "queue", "cancel", call["id"]], check=True, timeout=30, capture_output=True)


def succeeded_with(events, answer):
    last = result(events)
    equal((last["is_error"], last["result"].startswith(answer)), (False, True))


def retries(events):
    return [event for event in events if event.get("subtype") == "api_retry"]
