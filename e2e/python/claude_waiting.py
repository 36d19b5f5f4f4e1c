"""npm's Claude Code, unchanged, where its call has to wait: held, sent away and back, refused by hand.

The gateway lets one call pass at a time on Claude Code's platform; another call takes that slot for as long as a case wants.
"""

import json
import os
import subprocess
import threading
import time
import uuid

from cases import BASE_URL, case, equal, run, unique
from claude import Session, result
from slots import BESIDE_SECONDS, Slot, cancel_when_it_waits, metric, queue, retries, succeeded_with

SLOW = os.environ.get("SLOW") == "1"


def waits(seconds):
    """A prompt that meets a slot taken for so long is answered, and takes that long."""
    with Session() as session, Slot(seconds):
        began = time.monotonic()
        events = session.print(f"sim:say here after {seconds} {unique()}", patience=seconds + BESIDE_SECONDS)
        took = time.monotonic() - began
    succeeded_with(events, f"here after {seconds}")
    assert took >= seconds - 1, f"it did not wait: {took} s"
    return events


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
    with Session() as session, Slot(20):
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


if SLOW:

    @case
    def a_wait_of_fifty_seconds_is_a_slow_answer():
        equal(retries(waits(50)), [])

    @case
    def a_wait_that_is_longer_than_a_head_can_be_held_back_is_a_slow_answer():
        # After some four minutes its stream is opened, and pinged until the answer begins.
        before = metric("tidegate_gateway_opened_waits_total")
        events = waits(290)
        equal(retries(events), [])
        equal(metric("tidegate_gateway_opened_waits_total"), before + 1)

    @case
    def a_wait_beyond_its_patience_is_met_by_coming_back():
        # It is sent away, comes back within 58 seconds, and finds its place kept.
        events = waits(350)
        equal({event["error_status"] for event in retries(events)}, {429})


if __name__ == "__main__":
    run()
