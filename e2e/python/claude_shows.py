"""npm's Claude Code, unchanged, in its gateway mode: our budgets on its own screens, and our line below its prompt.

The operator pays; Claude Code carries a Tidegate key whose user has spent most of a day's limit already.
"""

import json
import os
import subprocess
import urllib.request

from cases import BASE_URL, case, equal, run, unique
from claude import CLAUDE, PATIENCE_SECONDS, Session, result, succeeded
from terminal import Terminal

TIDEGATE = os.environ["TIDEGATE"]

# Dollars a day, and what of them is spent before anything begins: a prompt of Claude Code costs some ten cents.
LIMIT, SPENT = 50, 41


def tidegate(*arguments, environment=None, told=None):
    """Runs a command of ours; what it prints."""
    done = subprocess.run(
        [TIDEGATE, *arguments],
        env=os.environ | (environment or {}),
        input=told,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def asked(path, key, body=None):
    """An answer of the gateway, as JSON."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{BASE_URL}{path}", body and json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request, timeout=10))


class Spender:
    """A user with a key, a limit and most of it spent."""

    def __init__(self):
        self.user = f"user-{unique()}"
        secret = tidegate("keys", "add", "laptop", "--user", self.user)
        self.key = next(line for line in secret.splitlines() if line.startswith("tg-"))
        tidegate("budget", "set", "user_day", str(LIMIT), "--organisation", "local", "--user", self.user)
        # Beyond a task's limit in one go it could not be spent.
        tidegate("budget", "set", "task", "none", "--soft", "none", "--organisation", "local", "--user", self.user)
        granted = asked("/api/v1/admissions", self.key, {"task": "before", "cost_usd": str(SPENT)})
        settle = f"/api/v1/reservations/{granted['reservation']}/settle"
        asked(settle, self.key, {"cost_usd": str(SPENT)})

    def calls(self):
        """Its calls, as the gateway has recorded them."""
        return asked("/api/v1/calls", self.key)["calls"]

    def spent(self):
        """Dollars spent today."""
        budgets = asked("/api/v1/budgets?level=user_day", self.key)["budgets"]
        return float(budgets[0]["spent"]["usd"])

    def enters(self, session):
        """Points a session at the gateway in gateway mode."""
        del session.environment["ANTHROPIC_API_KEY"]
        # It asks nobody but the gateway in this mode.
        del session.environment["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"]
        session.environment |= {
            "CLAUDE_CODE_USE_GATEWAY": "1",
            "ANTHROPIC_AUTH_TOKEN": self.key,
            "ANTHROPIC_MODEL": "claude-opus-5-5",
        }
        session.answered_before()
        return session


@case
def a_program_that_reads_events_is_told_what_is_spent():
    spender = Spender()
    with Session() as session:
        events = spender.enters(session).print(f"sim:say here {unique()}")
    equal(result(events)["is_error"], False)
    told = [event["rate_limit_info"] for event in events if event["type"] == "rate_limit_event"]
    assert told, [event["type"] for event in events]
    equal({it["status"] for it in told}, {"allowed_warning"})
    shown = told[-1]["utilization"]
    assert SPENT / LIMIT <= shown < 0.95, told


@case
def a_spent_limit_ends_the_call_with_our_sentence():
    spender = Spender()
    tidegate("budget", "set", "user_day", str(SPENT), "--organisation", "local", "--user", spender.user)
    with Session() as session:
        events = spender.enters(session).print(f"sim:say never {unique()}")
    last = result(events)
    equal((last["is_error"], last["api_error_status"]), (True, 429))
    assert "budget `user_day`" in last["result"], last


def seen(words):
    return lambda lines: any(words in line for line in lines)


def typed(terminal, text):
    """Types a line, sees it, and sends it."""
    terminal.type(text)
    terminal.wait_for(seen(text), PATIENCE_SECONDS, "what was typed")
    terminal.type("\r")


def a_place_to_type(lines):
    return any(line.lstrip("│ ").startswith("❯") for line in lines)


@case
def the_screen_shows_a_notice_a_bar_and_the_status_line():
    spender = Spender()
    with Session() as session:
        spender.enters(session)
        installed = {
            "HOME": str(session.home),
            "TIDEGATE_LISTEN": BASE_URL.removeprefix("http://"),
        }
        tidegate("claude", "install", environment=installed)
        with Terminal([CLAUDE], session.environment, session.work) as terminal:
            terminal.wait_for(a_place_to_type, PATIENCE_SECONDS, "a place to type")
            answer = f"here after all {unique()}"
            typed(terminal, f"sim:say {answer}")
            # It goes again after a while.
            terminal.wait_for(seen("You've used 82% of your"), PATIENCE_SECONDS, "the notice")
            terminal.wait_for(
                lambda lines: any(line.startswith("●") and answer in line for line in lines), PATIENCE_SECONDS, "the answer"
            )
            terminal.wait_for(seen(f"of ${LIMIT}.00, $8."), PATIENCE_SECONDS, "our status line")
            typed(terminal, "/usage")
            terminal.wait_for(seen("82% used"), PATIENCE_SECONDS, "the bar")
            terminal.wait_for(seen(f"/ ${LIMIT}.00 spent"), PATIENCE_SECONDS, "its amounts")
        tidegate("claude", "uninstall", environment=installed)
        equal((session.home / ".claude" / "settings.json").exists(), False)
    calls = spender.calls()
    # The quota probe was answered without a call, and nothing was asked that is not there.
    equal({call["outcome"]["kind"] for call in calls}, {"answered"})
    equal([call for call in calls if call["max_tokens_asked"] == 1], [])


@case
def the_status_line_is_quick_and_quiet_where_no_gateway_answers():
    told = json.dumps({"session_id": "s", "cost": {"total_cost_usd": 0.25}})
    nobody = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "HOME": os.environ["HOME"]}
    equal(tidegate("statusline", environment=nobody, told=told), "session $0.25\n")
    equal(tidegate("statusline", environment=nobody, told="no JSON"), "")


if __name__ == "__main__":
    run()
