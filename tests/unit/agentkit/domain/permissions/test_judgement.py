"""Every command of two tables gets the decision it should, whatever way it is written."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st
from permission_cases import ordinary_commands, verdicts
from permission_cases.memory_files import MemoryFiles

from syntor.agentkit.domain.permissions.judgement import ALLOW, DENY, REQUIRE_APPROVAL, Judgement, judge
from syntor.agentkit.domain.permissions.programs import program_files, staging
from syntor.contracts.run.v1 import Permissions

ROOT = MemoryFiles.root
FILES = MemoryFiles()
SETTINGS = {
    "ask": Permissions(mode="ask"),
    "edit": Permissions(mode="auto-edit"),
    "auto": Permissions(mode="auto"),
    "plan": Permissions(mode="plan"),
    "plan-all": Permissions(mode="plan", allow=["*"]),
    "deny-push": Permissions(mode="auto", deny=["bash(git push *)"]),
    "claude-deny": Permissions(mode="auto", deny=["bash(git push:*)"]),
    "deny-force": Permissions(mode="auto", deny=["bash(git push --force*)"]),
    "deny-curl": Permissions(mode="auto", deny=["bash(*curl*)"]),
    "deny-wrapper": Permissions(mode="auto", deny=["bash(sudo *)", "bash(xargs *)", "bash(bash -c *)", "bash(npx *)"]),
    "deny-files": Permissions(mode="auto", deny=["write_file(src/*)", "read_file(notes*)"]),
    "ask-push": Permissions(mode="auto", ask=["bash(git push *)"]),
    "allow-make": Permissions(mode="ask", allow=["bash(make *)"]),
    "allow-exact": Permissions(mode="ask", allow=["bash(npm run test)"]),
    "allow-git": Permissions(mode="ask", allow=["bash(git status:*)"]),
    "allow-wrapper": Permissions(
        mode="ask", allow=["bash(timeout *)", "bash(find *)", "bash(env *)", "bash(xargs *)", "bash(uv run pytest *)"]
    ),
    "allow-all": Permissions(mode="auto", allow=["*"]),
}
DECISIONS = {"allow": ALLOW, "ask": REQUIRE_APPROVAL, "deny": DENY}
MAX_ASKED_IN_AUTO = 3  # of the ordinary commands


def _judge(command: str, settings: str, granted: tuple[str, ...] = ()) -> Judgement:
    return judge(command, SETTINGS[settings], granted, FILES)


@pytest.mark.parametrize(("settings", "decision", "reason", "command"), verdicts())
def test_a_command_gets_the_decision_and_the_reason_of_its_row(
    settings: str, decision: str, reason: str, command: str
) -> None:
    judged = _judge(command, settings)
    assert (judged.decision, judged.reason) == (DECISIONS[decision], judged.reason)
    assert reason in judged.reason


def test_no_ordinary_command_is_denied_and_few_ask_in_mode_auto() -> None:
    commands = ordinary_commands()
    assert len(commands) >= 300
    assert [each for each in commands if _judge(each, "ask").decision == DENY] == []
    asked = [each for each in commands if _judge(each, "auto").decision != ALLOW]
    assert len(asked) <= MAX_ASKED_IN_AUTO, asked


def test_a_denied_command_is_denied_in_every_mode_and_whatever_allows_it() -> None:
    for settings, decision, _, command in verdicts():
        if decision == "deny" and settings == "deny-push":
            permissions = Permissions(mode="auto", allow=["*"], deny=["bash(git push *)"])
            assert judge(command, permissions, ("bash",), FILES).decision == DENY, command


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ("git status -s", "bash(git status *)"),
        ("git --no-pager diff -w", "bash(git diff *)"),
        ("git -C . status -s", ""),
        ("git push origin main", "bash(git push origin main)"),
        ("ls", "bash(ls)"),
        ("ls -la src", "bash(ls *)"),
        ("make test", "bash(make test)"),
        ("FOO=1 pytest -q", "bash(pytest *)"),
        ("timeout 60 pytest -q", "bash(pytest *)"),
        ("cd src && make test", "bash(make test)"),
        ("python -m pytest -q", "bash(python -m pytest *)"),
        ("python x.py", "bash(python x.py)"),
        ("npm run build", "bash(npm run build)"),
        ("npm run build > out.txt", ""),
        ("LD_PRELOAD=./x.so pytest -q", ""),
        ("python -c 'print(1)'", ""),
        ("bash -c 'ls'", ""),
        ("bash x.sh", ""),
        ("npx tsc --noEmit", ""),
        ("npx create-app x", ""),
        ("uv run pytest", ""),
        ("docker exec web ls", ""),
        ("ssh host ls", ""),
        ("xargs wc", ""),
        ("ls | sh", ""),
        ("ls && make", ""),
        ("rm -r build", ""),
        ("git reset --hard", ""),
        ("rm *.txt", ""),
        ("$X y", ""),
        ("echo 'half", ""),
    ],
)
def test_the_rule_offered_is_as_narrow_as_the_command_means(command: str, rule: str) -> None:
    judged = _judge(command, "ask")
    assert (judged.decision, judged.rule) == (REQUIRE_APPROVAL, rule)
    if rule:
        assert _judge(command, "ask", (rule,)).decision == ALLOW


def test_a_part_of_a_command_carries_its_own_decision_rule_and_number() -> None:
    judged = judge("ls && git push origin && make", SETTINGS["ask-push"], (), FILES)
    assert [(part.text, part.decision, part.rule) for part in judged.parts if part.text] == [
        ("ls", ALLOW, ""),
        ("git push origin", REQUIRE_APPROVAL, "bash(git push *)"),
        ("make", ALLOW, ""),
    ]
    assert judged.reason == "rule bash(git push *) asks: `git push origin`, part 2 of 3"


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("sh scripts/push.sh", ["scripts/push.sh"]),
        ("cd scripts && ./push.sh", ["scripts/push.sh"]),
        ("timeout 5 bash scripts/push.sh -x", ["scripts/push.sh"]),
        ("python tools/x.py --flag", ["tools/x.py"]),
        ("node server.js", ["server.js"]),
        ("make -f build.mk", ["build.mk"]),
        ("npm test", ["package.json"]),
        (". scripts/lint.sh", ["scripts/lint.sh"]),
        ("python -c 'print(1)'", []),
        ("/usr/bin/git status", []),
        ("cat scripts/push.sh", []),
    ],
)
def test_the_files_a_command_runs_as_programs_are_known(command: str, files: list[str]) -> None:
    assert program_files(command, FILES) == [f"{ROOT}/{name}" for name in files]


@pytest.mark.parametrize(
    ("command", "paths"),
    [
        ("git add .", ["."]),
        ("git add -A", ["."]),
        ("cd src && git add app.py", ["src/app.py"]),
        ("git -C src add app.py", ["src/app.py"]),
        ("git commit -am x", ["."]),
        ("git add -n .", []),
        ("git status", []),
    ],
)
def test_the_paths_a_command_stages_are_known(command: str, paths: list[str]) -> None:
    assert staging(command, FILES) == paths


@pytest.mark.parametrize("sign", ["a|", "((1)) ", "cat <<E\n", "a;", "$(a)", "a() ", "'", "{", "a\n", "<(a) ", ")*"])
@pytest.mark.parametrize("size", [5_000, 64_000, 400_000])
def test_no_length_of_a_command_takes_much_memory(sign: str, size: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    judged = _judge(sign * (size // len(sign)), "ask")
    assert judged.decision == REQUIRE_APPROVAL
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


def test_characters_outside_ascii_are_parts_of_words() -> None:
    for character in map(chr, (0xA0, 0x2003, 0x3000, 0xE000, 0xFFFD, 0x10000, 0x1F600, 0x85E5B, 0x10FFFF)):
        for text in (f"{{{character}", f"echo {{{character} a", f"${{{character}}}", f"cat <<{character}"):
            assert _judge(text, "plan").decision == DENY
        assert _judge(f"git{character}push", "deny-push").decision != DENY, "one word, which is no program of that name"
    assert _judge("echo é; git push origin ö", "deny-push").decision == DENY
    assert "`git push origin ö`" in _judge("echo é; git push origin ö", "deny-push").reason


@given(st.text(max_size=60), st.sampled_from(["{", "${", "<<", "$(", "[[ "]))
def test_no_character_ends_the_process(text: str, sign: str) -> None:
    assert _judge(sign + text, "plan").decision == DENY


LABORIOUS = [
    "".join(f"for v{depth} in 1 2 3 4 5 6 7 8; do " for depth in range(9)) + "true; " + "done; " * 9,
    "v0=xxxxxxxxxx; " + "".join(f"v{each + 1}=$v{each}$v{each}; " for each in range(40)) + "echo $v40",
    "echo " + "{a,b}" * 40,
    "echo " + "{1..9}" * 20,
    "".join(f"f{each}() {{ " + f"f{each + 1}; " * 12 + "}; " for each in range(12)) + "f12() { true; }; f0",
    "echo " + "$(echo " * 11 + "x" + ")" * 11 + " " + "$(echo {a,b}{a,b}{a,b}{a,b}{a,b}{a,b})" * 300,
    "x='a b c d e f g h'; " + "for y in $x; do " * 6 + "echo; " + "done; " * 6,
    "x=true; " + 'eval "$x; $x; $x"; x="$x; $x"; ' * 30,
    "set -- " + "a " * 3000 + '; for i in "$@"; do for j in "$@"; do echo $i; done; done',
    *("xargs " * 2500 + "true", "env " * 4000 + "true", "timeout 1 " * 1500 + "true"),
    *("find . " + "-exec true {} \\; " * 800, "ls " + "*?" * 3000, "$a" * 5000, "a" * 16_000),
    "rm " + " ".join("/*" * 50 for _ in range(100)),
]
"""Commands that are short, and take very long to follow to their ends."""


@pytest.mark.timeout(30)
@pytest.mark.parametrize("command", LABORIOUS, ids=range(len(LABORIOUS)))
def test_no_command_takes_long_to_judge(command: str) -> None:
    rules = Permissions(mode="auto", deny=["bash(git push *)", "bash(*a*a*a*a*a*a*a*a*q)"], allow=["bash(make *)"])
    assert judge(command, rules, (), FILES).decision in (ALLOW, REQUIRE_APPROVAL)


@given(st.text(alphabet="abg it$(){}[]'\"`\\|&;<>\n=*?~/.-#!", max_size=40), st.sampled_from(sorted(SETTINGS)))
def test_no_text_breaks_the_engine(command: str, settings: str) -> None:
    assert _judge(command, settings).decision in DECISIONS.values()


@given(st.sampled_from(ordinary_commands()), st.sampled_from(ordinary_commands()))
def test_a_command_is_no_freer_behind_another(first: str, second: str) -> None:
    joined = judge(f"{first}\n{second}", SETTINGS["allow-make"], (), FILES).decision
    alone = judge(second, SETTINGS["allow-make"], (), FILES).decision
    assert not (joined == ALLOW and alone == DENY)
