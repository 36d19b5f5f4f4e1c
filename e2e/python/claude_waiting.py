"""npm's Claude Code, unchanged, where its call has to wait: held, sent away and back, refused by hand.

The gateway lets one call pass at a time on Claude Code's platform; another call takes that slot for as long as a case wants.
"""

import json
import os
import subprocess
import threading
import time
import urllib.request
import uuid

from cases import ANTHROPIC_KEY, BASE_URL, case, equal, run, unique
from claude import Session, result

SLOW = os.environ.get("SLOW") == "1"

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
        while not open_calls():
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.thread.join()


def open_calls():
    text = urllib.request.urlopen(f"{BASE_URL}/metrics", timeout=10).read().decode()
    lines = [line for line in text.splitlines() if line.startswith("tidegate_gateway_open_calls ")]
    return int(lines[0].split()[1]) if lines else 0


def queue():
    """The waiting calls, as the command shows them to programs."""
    done = subprocess.run(
        [os.environ["TIDEGATE"], "queue", "--json"], capture_output=True, text=True, timeout=30, check=True
    )
    return json.loads(done.stdout)["waiting"]


def waits(seconds):
    """A prompt that meets a slot taken for so long is answered, and takes that long."""
    with Session() as session, Slot(seconds):
        began = time.monotonic()
        events = session.print(f"sim:say here after {seconds} {unique()}", patience=seconds + BESIDE_SECONDS)
        took = time.monotonic() - began
    succeeded_with(events, f"here after {seconds}")
    assert took >= seconds - 1, f"it did not wait: {took} s"
    return events


def succeeded_with(events, answer):
    last = result(events)
    equal((last["is_error"], last["result"].startswith(answer)), (False, True))


def retries(events):
    return [event for event in events if event.get("subtype") == "api_retry"]


@case
def a_wait_of_five_seconds_is_a_slow_answer():
    equal(retries(waits(5)), [])


@case
def the_status_line_tells_the_place_of_a_session_that_waits():
    name = str(uuid.uuid4())
    with Session() as session, Slot(10):
        prompt = f"sim:say here {unique()}"
        running = threading.Thread(target=session.print, args=(prompt, "--session-id", name), daemon=True)
        running.start()
        while not queue():
            time.sleep(0.2)
        shown = subprocess.run(
            [os.environ["TIDEGATE"], "statusline"],
            env=os.environ | {"ANTHROPIC_BASE_URL": BASE_URL},
            input=json.dumps({"session_id": name}),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        running.join()
    assert shown.startswith("waits, place 1 of 1, about "), shown


@case
def a_wait_is_ended_by_hand_and_the_reason_is_shown():
    with Session() as session, Slot(12):
        running = threading.Thread(target=cancel_when_it_waits, daemon=True)
        running.start()
        last = result(session.print(f"sim:say never {unique()}"))
        running.join()
    equal(last["is_error"], True)
    assert "taken out of the queue by hand" in last["result"], last


@case
def a_refusal_of_the_provider_after_a_held_wait_is_shown_as_it_is():
    with Session() as session, Slot(5):
        last = result(session.print(f"sim:fault 400 {unique()}"))
    equal((last["is_error"], last["api_error_status"]), (True, 400))


@case
def an_overload_after_a_held_wait_is_tried_again():
    with Session() as session, Slot(5):
        events = session.print(f"{unique()} sim:fault 529*1 sim:say here after all")
    succeeded_with(events, "here after all")
    equal([event["error_status"] for event in retries(events)], [529])


def cancel_when_it_waits():
    while not (waiting := queue()):
        time.sleep(0.2)
    (call,) = waiting
    equal((call["place"], call["of"], call["away"]), (1, 1, False))
    subprocess.run([os.environ["TIDEGATE"], "queue", "cancel", call["id"]], check=True, timeout=30, capture_output=True)


if SLOW:

    @case
    def a_wait_of_fifty_seconds_is_a_slow_answer():
        equal(retries(waits(50)), [])

    @case
    def a_wait_beyond_its_patience_is_met_by_coming_back():
        # It is sent away after some four minutes, comes back within 58 seconds, and finds its place kept.
        events = waits(290)
        equal([event["error_status"] for event in retries(events)], [429])


if __name__ == "__main__":
    run()
