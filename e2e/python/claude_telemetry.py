"""npm's Claude Code, unchanged, with its telemetry on: what it says of a prompt is found beside the calls that were made for it."""

import json
import os
import pathlib
import subprocess
import tomllib
import urllib.request

from cases import BASE_URL, case, equal, run
from claude import Session, result, succeeded

CONFIGURATION = tomllib.loads((pathlib.Path(os.environ["TIDEGATE_DATA"]).parent / "tidegate.toml").read_text())
ENDPOINTS = {
    "http/protobuf": BASE_URL,
    "http/json": f"http://{CONFIGURATION['otlp']['http']}",
    "grpc": f"http://{CONFIGURATION['otlp']['grpc']}",
}


def get(path):
    with urllib.request.urlopen(BASE_URL + path) as answer:
        return json.load(answer)


def logs(text):
    """What `tidegate logs` finds."""
    found = subprocess.run(
        [os.environ["TIDEGATE"], "logs", "--json", "--limit", "1000", text],
        env={"HOME": os.environ["HOME"], "TIDEGATE_DATA": os.environ["TIDEGATE_DATA"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [json.loads(line) for line in found.splitlines()]


def telemetry_over(protocol):
    with Session() as session:
        session.environment |= {
            "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
            "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
            "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINTS[protocol],
            # What it says more than by default must not be kept either.
            "OTEL_LOG_USER_PROMPTS": "1",
            "OTEL_LOG_ASSISTANT_RESPONSES": "1",
            "OTEL_LOG_TOOL_DETAILS": "1",
        }
        note = session.work / "note.txt"
        note.write_text("a pelican\n")
        read = json.dumps({"file_path": str(note)})
        events = session.print(f"sim:tool Read {read} sim:next sim:say the flamingo has landed", "--allowedTools", "Read")
    succeeded(events, "the flamingo has landed")
    name = result(events)["session_id"]
    said = [it for it in logs(f"session:{name}") if it.get("service") == "claude-code"]
    calls = [it for it in get(f"/api/v1/calls?session={name}")["calls"] if it["path"] == "/v1/messages"]

    requests = {it["request_id"] for it in said if it.get("event") == "api_request"}
    equal(requests, {it["request_id"] for it in calls})
    (prompt,) = {it["task"] for it in said if it.get("event") == "user_prompt"}
    assert prompt in {it["root_task"] for it in calls}, (prompt, calls)
    assert any(it.get("event") == "tool_result" for it in said), said
    equal({it["user"] for it in said}, {"local"})

    text = json.dumps(said)
    assert "[withheld]" in text, text
    equal([it for it in said if "flamingo" in json.dumps(it)], [])

    (trace,) = {it["trace_id"] for it in said if it.get("event") == "api_request"}
    spans = get(f"/api/v1/traces/{trace}")["spans"]
    operations = {it["operation"] for it in spans}
    assert {"claude_code.interaction", "claude_code.llm_request"} <= operations, operations
    assert requests <= {it.get("request_id") for it in spans}, spans
    ours = [it for it in spans if it.get("service") != "claude-code"]
    assert ours, "no span of our calls is in the trace"


for each in ENDPOINTS:

    def over(protocol=each):
        telemetry_over(protocol)

    over.__name__ = f"events_and_spans_over_{each}_join_the_calls"
    case(over)

run()
