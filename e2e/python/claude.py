"""Claude Code in a home of its own, pointed at the gateway."""

import json
import os
import pathlib
import subprocess
import tempfile

from cases import ANTHROPIC_KEY, BASE_URL, equal

CLAUDE = os.environ["CLAUDE"]

# With ten retries of its own Claude Code can be patient; nothing here asks it for more than three.
PATIENCE_SECONDS = 90


class Session:
    """An empty home and an empty folder to work in."""

    def __init__(self):
        self.base = tempfile.TemporaryDirectory(dir=os.environ["HOME"])
        base = pathlib.Path(self.base.name)
        self.home, self.work = base / "home", base / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "ANTHROPIC_BASE_URL": BASE_URL,
            "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.base.cleanup()

    def print(self, prompt, *options, patience=PATIENCE_SECONDS):
        """`claude -p`: its events."""
        done = subprocess.run(
            [CLAUDE, "-p", prompt, "--output-format", "stream-json", "--verbose", *options],
            env=self.environment,
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert events, f"no events, exit code {done.returncode}: {done.stderr}"
        return events

    def answered_before(self):
        """What Claude Code asks at its first start is answered already: theme, key, folder."""
        settings = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [ANTHROPIC_KEY[-20:]], "rejected": []},
            "projects": {str(self.work): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
        }
        (self.home / ".claude.json").write_text(json.dumps(settings))


def result(events):
    """The last result; background work may bring several."""
    return [event for event in events if event["type"] == "result"][-1]


def texts(events, subagent):
    """What was said, by subagents or by the main loop."""
    said = []
    for event in events:
        if event["type"] == "assistant" and bool(event.get("parent_tool_use_id")) == subagent:
            said += [block["text"] for block in event["message"]["content"] if block["type"] == "text"]
    return said


def succeeded(events, answer):
    """Ended without an error and with this answer."""
    last = result(events)
    equal((last["is_error"], last["result"]), (False, answer))
