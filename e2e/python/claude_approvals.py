"""npm's Claude Code, unchanged, where its call would pass a soft limit: it goes on after a yes, and shows a no.

The gateway asks before any task spends more than a hundredth of a cent.
"""

import json
import os
import subprocess
import threading
import time

from cases import case, equal, run, unique
from claude import Session, result, succeeded

# Nobody needs that long to read two lines and decide.
DECIDED_SECONDS = 60


def tidegate(*arguments):
    done = subprocess.run(
        [os.environ["TIDEGATE"], *arguments], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


def open_requests():
    requests = json.loads(tidegate("approvals", "--json"))["approvals"]
    return [request for request in requests if request["state"] == "open"]


def decide(*words):
    """Waits for the one request that is open, and decides on it; answers how it looked."""
    before = time.monotonic()
    while not (requests := open_requests()):
        assert time.monotonic() - before < DECIDED_SECONDS, "nobody asked"
        time.sleep(0.2)
    (request,) = requests
    verb, *rest = words
    tidegate(verb, request["id"], *rest)
    return request


class Decision:
    """Somebody who decides beside the client."""

    def __init__(self, *words):
        self.words, self.request = words, None
        self.thread = threading.Thread(target=self.decide, daemon=True)

    def decide(self):
        self.request = decide(*self.words)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(DECIDED_SECONDS)


@case
def a_yes_lets_the_waiting_call_go_on():
    with Session() as session, Decision("approve", "--amount", "1") as decision:
        events = session.print(f"sim:say allowed {unique()}")
    last = result(events)
    equal((last["is_error"], last["result"].startswith("allowed")), (False, True))
    equal([event for event in events if event.get("subtype") == "api_retry"], [])
    equal((decision.request["level"], decision.request["asked_by"]), ("task", "local"))


@case
def a_no_is_shown_with_the_request_and_asked_no_more():
    with Session() as session, Decision("deny") as decision:
        events = session.print(f"sim:say never {unique()}")
    last = result(events)
    equal(last["is_error"], True)
    assert f"request {decision.request['id']} was denied" in last["result"], last
    equal([event for event in events if event.get("subtype") == "api_retry"], [])


@case
def the_next_prompt_is_a_task_of_its_own_and_asks_again():
    with Session() as session:
        for _ in range(2):
            with Decision("approve", "--amount", "1"):
                events = session.print(f"{unique()} sim:say once more")
            succeeded(events, "once more")


if __name__ == "__main__":
    run()
