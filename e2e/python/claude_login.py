"""npm's Claude Code, unchanged, signs in by `/login`: a code, a confirmation, our settings, calls, signing out. And our hook in it.

Claude Code takes its managed settings from /etc alone, so it sees another /etc, in a mount namespace of its own.
"""

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

from cases import ANTHROPIC_KEY, BASE_URL, case, equal, run, unique
from claude import CLAUDE, PATIENCE_SECONDS, Session, result, succeeded
from terminal import Terminal

TIDEGATE = os.environ["TIDEGATE"]

ELSEWHERE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"']

CODE = re.compile(r"Code: +([B-Z]{4}-[B-Z]{4})")

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


class User:
    """A user with a key and a limit of which this much is spent."""

    def __init__(self, spent):
        self.name = f"user-{unique()}"
        secret = tidegate("keys", "add", "laptop", "--user", self.name)
        self.key = next(line for line in secret.splitlines() if line.startswith("tg-"))
        tidegate("budget", "set", "user_day", str(LIMIT), "--organisation", "local", "--user", self.name)
        # Beyond a task's limit in one go it could not be spent.
        tidegate("budget", "set", "task", "none", "--soft", "none", "--organisation", "local", "--user", self.name)
        granted = asked("/api/v1/admissions", self.key, {"task": "before", "cost_usd": str(spent)})
        asked(f"/api/v1/reservations/{granted['reservation']}/settle", self.key, {"cost_usd": str(spent)})

    def calls(self):
        """Its calls, as the gateway has recorded them."""
        return asked("/api/v1/calls", self.key)["calls"]

    def tasks(self):
        """States of its tasks, but for the one that was before."""
        tasks = asked("/api/v1/tasks", self.key)["tasks"]
        return {task["state"] for task in tasks if task["task"] != "before"}


class SignedOut(Session):
    """Claude Code without any credential, managed to sign in here."""

    def __init__(self):
        super().__init__()
        for name in ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"]:
            del self.environment[name]
        # The page is confirmed by us: no browser is to open.
        self.environment["BROWSER"] = "true"
        self.etc = self.home.parent / "etc"
        shutil.copytree("/etc", self.etc, symlinks=True, ignore=unreadable)
        managed = self.etc / "claude-code"
        managed.mkdir(exist_ok=True)
        settings = {"forceLoginMethod": "gateway", "forceLoginGatewayUrl": BASE_URL}
        (managed / "managed-settings.json").write_text(json.dumps(settings))
        self.answered_before()

    def open(self):
        """Claude Code on a terminal."""
        arguments = [*ELSEWHERE, str(self.etc), CLAUDE]
        return Terminal(arguments, self.environment, self.work)


def unreadable(folder, names):
    return [name for name in names if not os.access(os.path.join(folder, name), os.R_OK)]


def seen(words):
    return lambda lines: any(words in line for line in lines)


def wait_for(terminal, words):
    terminal.wait_for(seen(words), PATIENCE_SECONDS, words)


def typed(terminal, text):
    """Types a line, sees it, and sends it."""
    terminal.type(text)
    wait_for(terminal, text)
    terminal.type("\r")


def a_place_to_type(lines):
    return any(line.lstrip("│ ").startswith("❯") for line in lines)


def chosen(words):
    return lambda lines: any(line.lstrip().startswith("❯") and words in line for line in lines)


def choose(terminal, words):
    """Says yes where no is chosen."""
    wait_for(terminal, words)
    terminal.type("\x1b[A")
    terminal.wait_for(chosen(words), PATIENCE_SECONDS, f"{words} chosen")
    terminal.type("\r")


def asks_for_a_code(terminal):
    """`/login` up to its code."""
    terminal.wait_for(a_place_to_type, PATIENCE_SECONDS, "a place to type")
    typed(terminal, "/login")
    wait_for(terminal, "Enter to connect")
    terminal.type("\r")
    choose(terminal, "Yes, trust this gateway")
    wait_for(terminal, "Code:")
    shown = "\n".join(terminal.lines())
    return CODE.search(shown).group(1)


def is_connected(terminal, name):
    """From the confirmation on, which it asks its user about, to its screen with our settings."""
    wait_for(terminal, f"Signed in to Cloud gateway as {name}")
    choose(terminal, "Yes, continue")
    wait_for(terminal, "Press Enter to continue")
    terminal.type("\r")
    # It starts itself anew to take our settings over.
    wait_for(terminal, "Restarting Claude Code")
    terminal.wait_for(lambda lines: not seen("Restarting")(lines) and a_place_to_type(lines), PATIENCE_SECONDS, "its screen")


def logins():
    return json.loads(tidegate("login", "list", "--json"))["logins"]


@case
def a_person_signs_in_calls_sees_the_budget_and_signs_out():
    user = User(SPENT)
    with SignedOut() as session, session.open() as terminal:
        code = asks_for_a_code(terminal)
        tidegate("login", "approve", code, "--user", user.name)
        is_connected(terminal, f"{user.name}@local")
        equal([(it["user"], it["program"]) for it in logins()], [(user.name, "claude_code")])
        answer = f"signed in {unique()}"
        typed(terminal, f"sim:say {answer}")
        terminal.wait_for(
            lambda lines: any(line.startswith("●") and answer in line for line in lines), PATIENCE_SECONDS, "the answer"
        )
        typed(terminal, "/usage")
        wait_for(terminal, "82% used")
        terminal.type("\x1b")
        terminal.wait_for(lambda lines: not seen("82% used")(lines), PATIENCE_SECONDS, "its screen")
        typed(terminal, "/logout")
        wait_for(terminal, "logged out")
    equal(logins(), [])
    calls = user.calls()
    equal({call["outcome"]["kind"] for call in calls}, {"answered"})
    # Our settings name the models; it would ask for older ones by itself.
    models = {call["model_asked"] for call in calls}
    assert "claude-opus-5-5" in models and models <= {"claude-opus-5-5", "claude-haiku-5-5"}, models


@case
def the_page_confirms_and_a_sign_in_that_is_ended_is_said():
    user = User(1)
    with SignedOut() as session, session.open() as terminal:
        code = asks_for_a_code(terminal)
        form = {"user_code": code, "key": user.key, "decision": "approve"}
        confirmed = urllib.request.urlopen(f"{BASE_URL}/device", urllib.parse.urlencode(form).encode(), timeout=10)
        assert f"calls as {user.name} of local" in confirmed.read().decode()
        is_connected(terminal, f"{user.name}@local")
        (login,) = logins()
        tidegate("login", "revoke", login["id"])
        typed(terminal, f"sim:say never {unique()}")
        wait_for(terminal, "/login")
    equal(user.calls(), [call for call in user.calls() if call["outcome"]["kind"] != "answered"])


@case
def a_sign_in_that_is_denied_is_none():
    with SignedOut() as session, session.open() as terminal:
        tidegate("login", "deny", asks_for_a_code(terminal))
        wait_for(terminal, "denied")
    equal(logins(), [])


def installed(session, user):
    """A session of this user with our hook."""
    environment = {"HOME": str(session.home), "TIDEGATE_LISTEN": BASE_URL.removeprefix("http://")}
    tidegate("claude", "install", environment=environment)
    session.environment |= {"ANTHROPIC_CUSTOM_HEADERS": f"x-tidegate-key: {user.key}"}
    return session


@case
def the_hook_blocks_a_prompt_of_a_spent_budget_and_nothing_is_called():
    user = User(LIMIT)
    with Session() as session:
        done = subprocess.run(
            [CLAUDE, "-p", f"sim:say never {unique()}"],
            env=installed(session, user).environment,
            cwd=session.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert "the budget `user_day` is spent" in done.stdout + done.stderr, done
    equal(user.calls(), [])


@case
def the_hook_blocks_a_prompt_on_the_screen_and_says_why():
    user = User(LIMIT)
    with Session() as session:
        installed(session, user).answered_before()
        with Terminal([CLAUDE], session.environment, session.work) as terminal:
            terminal.wait_for(a_place_to_type, PATIENCE_SECONDS, "a place to type")
            typed(terminal, f"sim:say never {unique()}")
            wait_for(terminal, "the budget `user_day` is spent")
    equal(user.calls(), [])


@case
def a_prompt_that_has_ended_has_ended_its_task():
    user = User(1)
    with Session() as session:
        answer = f"done {unique()}"
        succeeded(installed(session, user).print(f"sim:say {answer}"), answer)
    equal(user.tasks(), {"completed"})


@case
def the_hook_is_in_nobodys_way_where_no_gateway_answers():
    event = json.dumps({"hook_event_name": "UserPromptSubmit", "session_id": unique(), "prompt": "p"})
    nobody = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "HOME": os.environ["HOME"]}
    said = json.loads(tidegate("hook", environment=nobody, told=event))
    assert "does not answer" in said["systemMessage"], said
    equal(tidegate("hook", environment=nobody, told=event), "")
    equal(tidegate("hook", environment=nobody, told="no JSON"), "")


run()
