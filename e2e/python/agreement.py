"""PyPI's `anthropic` sends what a replay sent, at the same moments, and must be told the same, call for call.

The provider's clock stands still: each try first moves it to the moment that the replay had. `SCRIPT` has the calls and
what became of each try.
"""

import json
import os
import urllib.request

import anthropic
from cases import ANTHROPIC_KEY, BASE_URL, PATIENCE_SECONDS, case, equal, run

with open(os.environ["SCRIPT"], encoding="utf-8") as file:
    SCRIPT = json.load(file)

FILLER = "The gate opens at half tide. "
EPHEMERAL = {"type": "ephemeral"}

CLIENT = anthropic.Anthropic(base_url=BASE_URL, api_key=ANTHROPIC_KEY, max_retries=0, timeout=PATIENCE_SECONDS)


def clock(at_ns=None):
    """Moves the provider's clock there, and says where it stands."""
    body = None if at_ns is None else json.dumps({"at_ns": at_ns}).encode()
    with urllib.request.urlopen(f"{BASE_URL}/sim/clock", data=body, timeout=PATIENCE_SECONDS) as answer:
        return json.load(answer)["at_ns"]


def block(size):
    """A block that the provider counts as so many tokens: its bytes as JSON without blanks."""
    bare = len(json.dumps({"type": "text", "text": ""}, separators=(",", ":")))
    missing = size - bare
    assert missing > 0, f"no block has {size} bytes"
    return {"type": "text", "text": (FILLER * (missing // len(FILLER) + 1))[:missing]}


def bodies():
    """The messages of each call: those of the call before and what is new, or all anew."""
    messages = []
    for call in SCRIPT["calls"]:
        before = call["goes_on_from"]
        if before == 0:
            messages = [{"role": "user", "content": [block(call["input"])]}]
        else:
            answer = (call["input"] - before) // 3
            messages = messages + [
                {"role": "assistant", "content": [block(answer)]},
                {"role": "user", "content": [block(call["input"] - before - answer)]},
            ]
        last = messages[-1]["content"][0] | {"cache_control": EPHEMERAL}
        yield messages[:-1] + [messages[-1] | {"content": [last]}]


BODIES = list(bodies())


def limits(headers):
    """The limit headers, and nothing else."""
    return {name: value for name, value in headers.items() if name.startswith("anthropic-ratelimit-")}


def told(wanted):
    """What the SDK is told of one try."""
    first = wanted.get("taken") or wanted["refused"]
    number = int(first["call"].split(".")[1])
    clock(first["at"])
    try:
        answer = CLIENT.messages.with_raw_response.create(
            model=SCRIPT["model"],
            max_tokens=32_000,
            messages=BODIES[number],
            stream=True,
            extra_headers={"x-sim": f"sim:tokens {SCRIPT['calls'][number]['output']}"},
        )
    except anthropic.RateLimitError as error:
        headers = error.response.headers
        return {"refused": True, "retry_after": headers["retry-after"], "headers": limits(headers), "at": clock()}
    usage = {}
    for event in answer.parse():
        if event.type == "message_start":
            usage |= event.message.usage.model_dump(exclude_none=True)
        elif event.type == "message_delta":
            usage |= event.usage.model_dump(exclude_none=True)
    return {"refused": False, "usage": usage, "headers": limits(answer.headers), "at": clock()}


TOLD = [(wanted, told(wanted)) for wanted in SCRIPT["tries"]]


def each(kind):
    """Tries that the replay saw end so, with what the SDK was told."""
    found = [(wanted, got) for wanted, got in TOLD if kind in wanted]
    assert found, f"nothing was {kind}"
    return found


@case
def the_same_tries_are_taken_and_the_same_refused():
    equal([got["refused"] for _, got in TOLD], ["refused" in wanted for wanted, _ in TOLD])


@case
def every_answer_used_what_the_replay_counted():
    for wanted, got in each("taken"):
        usage = got["usage"]
        counted = usage["input_tokens"] + usage["cache_creation_input_tokens"]
        told_of = (counted, usage["cache_read_input_tokens"], usage["output_tokens"])
        ended = wanted["ended"]
        equal((wanted["taken"]["call"], *told_of), (ended["call"], ended["counted"], ended["read"], ended["output"]))
    assert any(wanted["taken"]["read"] > 0 for wanted, _ in each("taken")), "no call read a cache"


@case
def every_answer_began_and_ended_when_the_replays_did():
    for wanted, got in each("taken"):
        equal((wanted["taken"]["call"], got["at"]), (wanted["ended"]["call"], wanted["ended"]["at"]))


@case
def every_refusal_says_to_wait_as_long_as_in_the_replay_and_takes_no_time():
    for wanted, got in each("refused"):
        seconds = max(1, -(-wanted["refused"]["wait"] // 1_000_000_000))
        equal((got["retry_after"], got["at"]), (str(seconds), wanted["refused"]["at"]))


@case
def every_head_has_the_limit_headers_of_the_replays():
    for wanted, got in TOLD:
        of = wanted.get("begun") or wanted["refused"]
        equal((of["call"], got["headers"]), (of["call"], of["headers"]))
    assert all(len(got["headers"]) == 12 for _, got in TOLD)


if __name__ == "__main__":
    run()
