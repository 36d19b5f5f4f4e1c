"""npm's Claude Code, unchanged: printing, using tools and subagents, meeting errors, and on its own screen."""

import json

from cases import case, equal, run, unique
from claude import CLAUDE, PATIENCE_SECONDS, Session, result, succeeded, texts
from terminal import Terminal

@case
def a_prompt_is_answered():
    with Session() as session:
        events = session.print("sim:say the pelican has landed")
    succeeded(events, "the pelican has landed")
    usage = result(events)["usage"]
    assert usage["output_tokens"] > 0, usage


@case
def tools_are_run_and_their_results_go_back():
    with Session() as session:
        note = session.work / "note.txt"
        note.write_text("the harbour is closed\n")
        bash = json.dumps({"command": "echo $((6 * 7)) > made.txt", "description": "writes a file"})
        read = json.dumps({"file_path": str(note)})
        prompt = f"sim:tool Bash {bash} sim:next sim:tool Read {read} sim:next sim:say all done"
        events = session.print(prompt, "--allowedTools", "Bash,Read")
        equal((session.work / "made.txt").read_text(), "42\n")
    succeeded(events, "all done")
    results = [event["message"]["content"] for event in events if event["type"] == "user"]
    assert "the harbour is closed" in json.dumps(results), results


@case
def a_subagent_works_and_its_answer_comes_back():
    agent = {"description": "asks below", "prompt": "sim:say heard below", "subagent_type": "general-purpose"}
    with Session() as session:
        prompt = f"sim:tool Agent {json.dumps(agent)} sim:next sim:say heard above"
        events = session.print(prompt, "--allowedTools", "Agent,Task")
    equal(texts(events, subagent=True), ["heard below"])
    assert "heard above" in texts(events, subagent=False), events
    equal(result(events)["is_error"], False)


@case
def four_subagents_work_side_by_side():
    agents = [
        {"description": f"asks {number}", "prompt": f"sim:say heard {number}", "subagent_type": "general-purpose"}
        for number in range(4)
    ]
    with Session() as session:
        prompt = " ".join(f"sim:tool Agent {json.dumps(agent)}" for agent in agents) + " sim:next sim:say heard all"
        events = session.print(prompt, "--allowedTools", "Agent,Task")
    equal(sorted(texts(events, subagent=True)), [f"heard {number}" for number in range(4)])
    equal(result(events)["is_error"], False)


@case
def an_error_of_the_provider_is_shown_with_its_status():
    for status in (400, 403, 404):
        with Session() as session:
            last = result(session.print(f"sim:fault {status} {unique()}"))
        equal((last["is_error"], last["api_error_status"]), (True, status))
        assert last["result"], last


@case
def an_overloaded_provider_is_asked_again():
    with Session() as session:
        events = session.print(f"{unique()} sim:fault 529*2 sim:say here after all")
    succeeded(events, "here after all")
    retries = [event for event in events if event.get("subtype") == "api_retry"]
    equal([event["error_status"] for event in retries], [529, 529])


@case
def a_rate_limit_is_waited_for():
    with Session() as session:
        events = session.print(f"{unique()} sim:fault 429=2*1 sim:say here after all")
    succeeded(events, "here after all")
    (retry,) = [event for event in events if event.get("subtype") == "api_retry"]
    equal(retry["error_status"], 429)
    assert 2_000 <= retry["retry_delay_ms"] < 4_000, retry


@case
def a_stream_that_is_lost_midway_is_asked_for_again():
    for fault in ("error-event", "cut-mid-stream"):
        with Session() as session:
            events = session.print(f"{unique()} sim:fault {fault}*1 sim:say here after all")
        succeeded(events, "here after all")


def says(words):
    """Whether a line of the screen is an answer with these words: prompts begin otherwise."""
    return lambda lines: any(line.startswith("●") and words in line for line in lines)


def asks_for_a_prompt(lines):
    return any(line.lstrip("│ ").startswith("❯") for line in lines)


@case
def a_conversation_on_the_screen_goes_both_ways():
    with Session() as session:
        session.answered_before()
        with Terminal([CLAUDE], session.environment, session.work) as terminal:
            terminal.wait_for(asks_for_a_prompt, PATIENCE_SECONDS, "a place to type")
            for answer in ("the pelican has landed", "and it has left again"):
                terminal.type(f"sim:say {answer}")
                shown = f"sim:say {answer}"
                terminal.wait_for(lambda lines: any(shown in line for line in lines), PATIENCE_SECONDS, "what was typed")
                terminal.type("\r")
                terminal.wait_for(says(answer), PATIENCE_SECONDS, f"the answer {answer!r}")
            terminal.wait_for(asks_for_a_prompt, PATIENCE_SECONDS, "a place to type")
            terminal.type("/exit")
            terminal.wait_for(lambda lines: any("/exit" in line for line in lines), PATIENCE_SECONDS, "what was typed")
            terminal.type("\r")
            equal(terminal.wait_for_end(PATIENCE_SECONDS), 0)


if __name__ == "__main__":
    run()
