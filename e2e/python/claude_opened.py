"""npm's Claude Code, unchanged, where its call waits longer than a head can be held back: its stream is opened and pinged.

The gateway is told to hold heads back for some seconds only, and lets one call pass at a time on Claude Code's platform.
"""

import threading
import time

from cases import case, equal, run, unique
from claude import Session, result
from slots import BESIDE_SECONDS, Slot, asked, cancel_when_it_waits, metric, retries, succeeded_with

# Longer than heads are held back here.
WAIT_SECONDS = 14


class Counted:
    """How often streams were opened, and calls continued, while it runs."""

    NAMES = ("tidegate_gateway_opened_waits_total", "tidegate_gateway_continued_calls_total")

    def read(self):
        return [metric(name) for name in self.NAMES]

    def __enter__(self):
        self.before = self.read()
        return self

    def so_far(self):
        return [now - before for now, before in zip(self.read(), self.before)]

    def __exit__(self, *_):
        self.counted = self.so_far()


def charged(session):
    """The calls of a session that cost something."""
    calls = asked("/api/v1/calls")["calls"]
    return [call for call in calls if call.get("session") == session and call["cost"] > 0]


@case
def a_stream_that_is_pinged_before_its_turn_is_a_slow_answer():
    with Session() as session, Counted() as counted, Slot(WAIT_SECONDS):
        began = time.monotonic()
        events = session.print(f"sim:say here at last {unique()}", patience=WAIT_SECONDS + BESIDE_SECONDS)
        took = time.monotonic() - began
    succeeded_with(events, "here at last")
    assert took >= WAIT_SECONDS - 2, f"it did not wait: {took} s"
    equal((retries(events), counted.counted), ([], [1, 0]))


@case
def a_refusal_after_the_stream_was_opened_is_shown_with_our_sentence():
    with Session() as session, Counted() as counted, Slot(WAIT_SECONDS + 10):
        opened = lambda: counted.so_far()[0] == 1
        running = threading.Thread(target=cancel_when_it_waits, args=(opened,), daemon=True)
        running.start()
        events = session.print(f"sim:say never {unique()}")
        running.join()
    last = result(events)
    equal(last["is_error"], True)
    assert "taken out of the queue by hand" in last["result"], last
    equal((retries(events), counted.counted), ([], [1, 1]))


@case
def a_refusal_of_the_provider_after_the_stream_was_opened_is_shown_as_it_is():
    with Session() as session, Counted() as counted, Slot(WAIT_SECONDS):
        last = result(session.print(f"sim:fault 400 {unique()}"))
    equal((last["is_error"], last["api_error_status"]), (True, 400))
    equal(counted.counted[1], 1)


@case
def an_overload_after_the_stream_was_opened_is_tried_again_and_charged_once():
    with Session() as session, Counted() as counted, Slot(WAIT_SECONDS):
        events = session.print(f"{unique()} sim:fault 529*1 sim:say here after all")
    succeeded_with(events, "here after all")
    equal([event["error_status"] for event in retries(events)], [529])
    equal(counted.counted, [1, 1])
    equal(len(charged(result(events)["session_id"])), 1)


if __name__ == "__main__":
    run()
