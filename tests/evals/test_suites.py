"""Suites: cases from files, runs on tasks, reports, the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import transom
from transom.evals import (
    Case,
    CaseResult,
    Check,
    Output,
    Suite,
    contains,
    equals,
    load_cases,
    parametrize,
    run_suite,
)

LINES = """
{"input": "return?", "checks": {"contains": "30 days"}, "tags": ["returns"], "author": "kim"}
{"id": "b", "input": "who?", "checks": [{"lacks": ["secret", "key"]}, "no_personal_data"], "output": "me"}
"""


def echo(text: Any) -> str:
    return f"echo {text}"


# -- cases -------------------------------------------------------------------------------------------------------------


def test_cases_from_lines(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(LINES)
    one, two = load_cases(path)
    assert (one.id, one.input, one.tags, one.metadata) == ("1", "return?", ("returns",), {"author": "kim"})
    assert [check.name for check in (*one.checks, *two.checks)] == ["contains", "lacks", "no_personal_data"]
    assert two.id == "b" and two.output == Output("me")
    assert [case.id for case in load_cases(path, tag="returns")] == ["1"]


def test_cases_from_json_and_csv(tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text('[{"input": 1, "tool_calls": [{"name": "f", "arguments": {"x": 1}}]}]')
    (case,) = load_cases(tmp_path / "cases.json")
    assert case.output is not None and case.output.tool_calls[0].arguments == {"x": 1}
    (tmp_path / "cases.csv").write_text('input,expected,checks,tags,who\nhi,ho,"{""equals"": ""ho""}",a b,kim\n')
    (case,) = load_cases(tmp_path / "cases.csv")
    assert (case.input, case.expected, case.tags, case.metadata) == ("hi", "ho", ("a", "b"), {"who": "kim"})
    assert case.checks[0]("ho").passed


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.jsonl", '{"input": 1}\n{"x": 1}', r"a\.jsonl:2: it has no input"),
        ("a.jsonl", "{", r"a\.jsonl:1: no JSON"),
        ("a.jsonl", '{"input": 1, "checks": {"contain": "x"}}', r"a\.jsonl:1: field 'checks': 'contain': there is no such check; there are contains"),
        ("a.jsonl", '{"input": 1, "checks": {"equals": {"texts": "x"}}}', "field 'checks': 'equals'"),
        ("a.jsonl", '{"input": 1, "checks": 3}', "field 'checks' must be"),
        ("a.jsonl", '{"id": "x", "input": 1}\n{"id": "x", "input": 1}', "already"),
        ("a.json", '{"input": 1}', "must be a list"),
        ("a.csv", "input\na,b\n", r"a\.csv:2: it has more columns"),
        ("a.csv", "input,checks\na,\nb,{\n", r"a\.csv:3: column checks: no JSON"),
        ("a.csv", "input,checks\n\"a\nb\",{\n", r"a\.csv:3: column checks"),
        ("a.csv", "input,who,who\na,b,c\n", r"a\.csv:1: the column 'who' stands there twice"),
        ("a.csv", 'input\n"a"b\n', r"a\.csv:2: no CSV"),
        ("a.csv", "input\n" + "a" * 140_000, r"a\.csv:2: no CSV: field larger"),
        ("a.yaml", "", "files .jsonl, .json and .csv; YAML is not read"),
        ("a.jsonl", '{"input": 1, "checks": {"matches": "("}}', r"a\.jsonl:1: field 'checks': 'matches': missing \)"),
        ("a.jsonl", '{"input": 1, "checks": {"judged": ""}}', r"a\.jsonl:1: field 'checks': 'judged'"),
        ("a.jsonl", '{"input": 1, "tool_calls": [{}]}', r"a\.jsonl:1: field 'tool_calls' must be"),
        ("a.jsonl", '{"input": 1, "tool_calls": [{"name": "f", "arguments": "{}"}]}', "field 'tool_calls' must be"),
        ("a.jsonl", '{"input": 1, "tool_calls": {}}', "field 'tool_calls' must be"),
        ("a.jsonl", '{"input": 1, "output": 5}', r"a\.jsonl:1: field 'output' must be a text, not 5"),
        ("a.jsonl", '{"input": 1, "output": 5, "tool_calls": [{"name": "f"}]}', "field 'output' must be a text, not 5"),
        ("a.jsonl", '{"input": 1, "context": 5}', "field 'context' must be a text or a list of texts, not 5"),
        ("a.jsonl", '{"input": 1, "tags": [5]}', "field 'tags' must be"),
        ("a.jsonl", '{"input": 1, "metadata": []}', "field 'metadata' must be an object"),
        ("a.jsonl", '{"input": 1, "id": true}', "field 'id' must be"),
        ("a.jsonl", '{"input": 1}\n{"input": "' + "\udcff" + '"}', r"a\.jsonl:2: it is no UTF-8: byte 0xff"),
    ],
)
def test_what_is_no_case_is_named(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=told):
        load_cases(tmp_path / name)


def test_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three\x1cfour"
    (tmp_path / "cases.jsonl").write_bytes(f'{{"input": "{text[:9]}"}}\r\n{{"input": 2}}\n'.encode())
    assert [case.input for case in load_cases(tmp_path / "cases.jsonl")] == [text[:9], 2]


def test_a_context_of_several_texts_in_csv(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text('input,context\na,"[""b"", ""c""]"\nd,[e\n')
    assert [case.context for case in load_cases(tmp_path / "cases.csv")] == [("b", "c"), ("[e",)]


@pytest.mark.parametrize("source", [5, {"input": 1}, b"cases.jsonl", None])
def test_what_is_neither_a_file_nor_cases_is_refused(source: Any) -> None:
    with pytest.raises(TypeError, match=r"load_cases\(\) takes"):
        load_cases(source)
    with pytest.raises(TypeError, match="cases must be"):
        Suite(name="s", cases=source)


def test_a_data_set_without_cases_makes_no_test_that_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="has no cases"):
        parametrize(tmp_path / "cases.jsonl")
    with pytest.raises(ValueError, match="with the tag 'x'"):
        parametrize([1, 2], tag="x")


def test_cases_of_python_are_checked_as_well() -> None:
    for fields, told in (({"output": 5}, "output must be"), ({"context": 5}, "context must be texts"),
                         ({"tags": [5]}, "tags must be texts"), ({"metadata": 1}, "metadata must be")):
        with pytest.raises(TypeError, match=told):
            Case(input=1, **fields)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text must be"):
        Output(5)  # type: ignore[arg-type]


@parametrize([{"input": "a", "id": "first"}, {"input": "b"}])
def test_cases_are_parameters_of_tests(case: Case, request: pytest.FixtureRequest) -> None:
    assert request.node.name.endswith("[first]" if case.input == "a" else "[2]")


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_suite_asks_its_subject_and_keeps_the_order() -> None:
    report = run_suite(Suite(name="s", cases=range(50), subject=echo, checks=[contains("echo")]))
    assert report.passed and [result.input for result in report.results] == list(range(50))
    assert report.checks() == {"contains": (50, 50, 1.0)}
    assert report.results[7].tries[0].output == Output("echo 7")


def test_subjects_may_be_coroutines_and_speak_with_agents() -> None:
    class Desk(transom.Agent):
        async def answer(self, text: str) -> str:
            return text.upper()

    async def subject(text: str) -> str:
        desk = await Desk.start()
        answer = await desk.answer(text)
        transom.exit(transom.pid_of(desk), "kill")
        return answer

    assert run_suite(Suite(name="s", cases=["a", "b"], subject=subject, checks=[matches_upper()])).passed


def matches_upper() -> Check:
    return Check("upper", lambda output, case: (float(output.text == case.input.upper()), "upper"))


def test_cases_run_at_once_but_not_more_than_allowed() -> None:
    lock, now, most = threading.Lock(), 0, 0
    all_there = threading.Barrier(4)

    def subject(n: int) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        all_there.wait(30)  # four are in here together, or this fails
        with lock:
            now -= 1
        return "ok"

    assert run_suite(Suite(name="s", cases=range(16), subject=subject, checks=[equals("ok")], concurrency=4)).passed
    assert most == 4


def test_what_goes_wrong_is_that_cases_failure_alone() -> None:
    async def subject(what: str) -> Any:
        if what == "raises":
            raise LookupError("not there")
        if what == "exits":
            transom.exit(transom.current_pid(), "gone")
        if what == "hangs":
            await transom.receive()
        return 3 if what == "no text" else "fine"

    cases = ["fine", "raises", "exits", "hangs", "no text"]
    report = run_suite(Suite(name="s", cases=cases, subject=subject, checks=[equals("fine")], timeout=1.0))
    problems = {result.input: result.problems for result in report.results}
    assert not report.passed and report.pass_rate == 0.2 and problems["fine"] == []
    assert "LookupError: not there" in problems["raises"][0]
    assert "gone" in problems["exits"][0]
    assert problems["hangs"] == ["not done within 1.0 s"]
    assert "not int" in problems["no text"][0]


def test_repeats_have_pass_rates() -> None:
    lock, count = threading.Lock(), 0

    def subject(n: int) -> str:
        nonlocal count
        with lock:
            count += 1
            return "ok" if count % 2 else "no"

    suite = Suite(name="s", cases=[1], subject=subject, checks=[equals("ok")], repeats=4, concurrency=1)
    result = run_suite(suite.options(case_pass_rate=0.5)).results[0]
    assert result.passed and result.pass_rate == 0.5 and len(result.tries) == 4
    assert not run_suite(suite.options(case_pass_rate=0.75)).passed


def test_cases_start_no_faster_than_they_may() -> None:
    starts: list[float] = []

    def started(n: int) -> str:
        starts.append(time.monotonic())
        return "x"

    suite = Suite(name="s", cases=range(5), subject=started, checks=[equals("x")])
    assert run_suite(suite.options(per_minute=1200)).passed
    assert len(starts) == 5 and max(starts) - min(starts) >= 0.15  # 50 ms between any two, by the clock that paces


def test_subjects_are_not_copied() -> None:
    """A subject may hold what cannot be sent, such as a client with its connections."""

    class Client:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self, n: int) -> str:
            with self.lock:
                return "x"

    class Later(Client):
        async def __call__(self, n: int) -> str:  # type: ignore[override]
            return super().__call__(n)

    for subject in (Client(), Later(), Client().__call__):
        report = run_suite(Suite(name="s", cases=range(3), subject=subject, checks=[equals("x")]))
        assert report.passed, report.to_text()


def test_a_subject_may_give_a_coroutine() -> None:
    async def later(text: str) -> str:
        return text + "!"

    assert run_suite(Suite(name="s", cases=["a"], subject=lambda text: later(text), checks=[equals("a!")])).passed


def test_cases_that_can_be_gone_through_once_serve_every_run() -> None:
    suite = Suite(name="s", cases=(n for n in (1, 2)), subject=echo, checks=[contains("echo")])
    assert [len(run_suite(suite.options(repeats=n)).results) for n in (1, 2)] == [2, 2]


def test_results_come_as_they_are_there_and_errors_of_the_listener_are_raised() -> None:
    seen: list[CaseResult] = []
    suite = Suite(name="s", cases=[1, 2], subject=echo, checks=[contains("echo")])
    run_suite(suite, on_result=seen.append)
    assert sorted(result.input for result in seen) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        run_suite(suite, on_result=lambda result: print(1 / 0))


def test_in_a_node_that_runs_and_in_a_process() -> None:
    suite = Suite(name="s", cases=[1, 2], subject=echo, checks=[contains("echo")])

    def main() -> bool:
        return run_suite(suite).passed

    assert transom.run(main) is True
    transom.start()
    try:
        assert run_suite(suite).passed
    finally:
        transom.stop()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"cases": []}, "no cases"),
        ({"checks": []}, "case 1 has no check"),
        ({"subject": None}, "case 1 has no output"),
        ({"concurrency": 0}, "concurrency must be"),
        ({"repeats": 1.5}, "repeats must be"),
        ({"timeout": 0}, "timeout must be"),
        ({"pass_rate": 2}, "pass_rate must be"),
        ({"per_minute": 0}, "per_minute must be"),
        ({"checks": ["30 days"]}, "checks must be"),
        ({"subject": "gpt"}, "subject must be"),
        ({"redact": "all"}, "redact must be"),
    ],
)
def test_suites_that_cannot_be_run_say_so(fields: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"name": "s", "cases": [1], "subject": echo, "checks": [contains("x")], **fields}
    with pytest.raises((TypeError, ValueError), match=told):
        run_suite(Suite(**given))


# -- reports -----------------------------------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script> & \x1b[31m \x00 \ud800"


def evil_suite(**changes: Any) -> Suite:
    cases = [Case(input=EVIL, id=EVIL, output=Output(EVIL), checks=(equals("never"),)), Case(input="b", output="b")]  # type: ignore[arg-type]
    return Suite(name="shop", cases=cases, checks=[Check("seen", lambda output, case: (1.0, EVIL))], **changes)


def test_reports_hold_whatever_outputs_hold(tmp_path: Path) -> None:
    report = run_suite(evil_suite())
    for name in ("r.json", "r.xml", "r.html", "r.txt"):
        report.write(tmp_path / name)
        assert os.stat(tmp_path / name).st_mode & 0o777 == 0o600
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["passed"] is False and data["checks"]["equals"] == {"passed": 0, "of": 1, "mean_score": 0.0}
    assert [case["passed"] for case in data["cases"]] == [False, True]
    suite = ElementTree.parse(tmp_path / "r.xml").getroot()[0]
    assert suite.attrib["tests"] == "2" and suite.attrib["failures"] == "1" and suite[0][0].tag == "failure"
    page = (tmp_path / "r.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    text = (tmp_path / "r.txt").read_text()
    assert "\x1b" not in text and "\x00" not in text and "FAILED shop: 1 of 2 cases (50.0%" in text
    with pytest.raises(ValueError, match=r"r\.pdf: a report is written as"):
        report.write(tmp_path / "r.pdf")


def test_a_report_in_the_place_of_another_is_its_owners_alone(tmp_path: Path) -> None:
    report = run_suite(evil_suite())
    for path in (tmp_path / "r.json", tmp_path / "r.txt"):
        path.write_text("x" * 1_000_000)
        path.chmod(0o644)
        report.write(path)
        assert os.stat(path).st_mode & 0o777 == 0o600 and "xxx" not in path.read_text()
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ValueError, match="a folder is there"):
        report.write(tmp_path / "folder.json")


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_reports_take_any_input(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    inputs = [{("a", 1): {"b": b"c"}, None: 1}, float("nan"), loop, {3}, Rude(), "line " * 100_000]
    call = transom.evals.ToolCall("f", {"x": {(1, 2): Rude()}})
    cases = [Case(input=value, output=Output("o" * 100_000, (call,))) for value in inputs]
    said = Check("mine", lambda output, case: (0.0, "r" * 100_000))
    for redact in (None, len):
        report = run_suite(Suite(name="s\x00", cases=cases, checks=[said], redact=redact and (lambda text: f"<{len(text)}>")))
        data = json.loads(report.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert len(data["cases"]) == len(inputs)
        ElementTree.fromstring(report.to_junit())
        assert report.to_html() and len(report.to_text()) < 20_000
    first = json.loads(run_suite(Suite(name="s", cases=cases[:1], checks=[said])).to_json())["cases"][0]
    assert first["input"] == {"('a', 1)": {"b": "b'c'"}, "None": 1}


def test_reports_can_be_without_texts() -> None:
    secret = "my number is 4711"
    call = Output(secret, (transom.evals.ToolCall("save", {"text": secret, "deep": [{"n": secret}], "times": 2}),))
    suite = Suite(name="s", cases=[Case(input=secret, output=call)], checks=[equals("x"), contains("4711")])
    report = run_suite(suite.options(redact=lambda text: text.replace("4711", "#")))
    whole = report.to_json() + report.to_junit() + report.to_html() + report.to_text()
    assert "4711" not in whole and "my number is #" in whole and '"times": 2' in whole
    assert report.checks()["contains"] == (1, 1, 1.0)  # checks see it as it is


# -- the command -------------------------------------------------------------------------------------------------------

PROGRAM = """
from transom.evals import Suite, contains, no_bias
suite = Suite(name="shop", cases=["a", "b"], subject=lambda text: text + "!", checks=[contains("a")], pass_rate=0.5)
judged = Suite(name="judged", cases=["a"], subject=lambda text: text, checks=[no_bias()])
def made():
    return suite.options(pass_rate=1.0)
number = 3
def answer(text): return text
async def later(): return suite
class Kind:
    def __init__(self, text): pass
"""
WANTS = """
from transom.evals import Endpoint, Suite, json_schema
def asks(): return Endpoint("http://127.0.0.1:1/v1", "m")
def checks(): return Suite(name="s", cases=["a"], subject=str, checks=[json_schema({})])
def lines(): return Suite(name="s", cases=[{"input": 1, "checks": {"json_schema": {}}}], subject=str)
"""


def command(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    (place / "prog.py").write_text(PROGRAM)
    (place / "wants.py").write_text(WANTS)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TRANSOM_JUDGE")}
    line = [sys.executable, "-m", "transom", "eval", *args]
    return subprocess.run(line, capture_output=True, text=True, timeout=50, cwd=place, env=environment, check=False)


def test_the_command_runs_reports_and_exits(tmp_path: Path) -> None:
    done = command(tmp_path, "prog.py", "--report", "r.json", "--report", "r.xml")
    assert done.returncode == 0, done.stderr
    assert "shop: 1 of 2 cases" in done.stdout and sorted(done.stderr) == ["\n", ".", "F"]
    assert json.loads((tmp_path / "r.json").read_text())["pass_rate"] == 0.5
    done = command(tmp_path, "prog:made", "--quiet", "--limit", "2", "--redact", "--report", "r.json")
    assert done.returncode == 1 and done.stderr == ""
    assert "<1 characters>" in (tmp_path / "r.json").read_text()


def test_the_command_says_what_cannot_be_run(tmp_path: Path) -> None:
    for target, told in (("prog:number", "not a Suite"), ("prog:shop", "It has: suite, judged."), ("nowhere:suite", "nowhere")):
        done = command(tmp_path, target)
        assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
    for path, told in (("r.pdf", "written as"), ("nowhere/r.json", "no folder nowhere")):
        done = command(tmp_path, "prog:suite", "--report", path)
        assert done.returncode == 2 and told in done.stderr
        assert done.stderr.startswith("transom: ") and done.stdout == ""  # nothing was run
    done = command(tmp_path, "prog:judged", "--replay", "missing.jsonl")
    assert done.returncode == 2 and "missing.jsonl" in done.stderr
    done = command(tmp_path, "prog:judged")
    assert done.returncode == 1 and "no judge is set up" in done.stdout


@pytest.mark.parametrize("name", ["answer", "later", "Kind"])
def test_the_command_takes_suites_and_functions_that_give_them(tmp_path: Path, name: str) -> None:
    done = command(tmp_path, f"prog.py:{name}")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "not a Suite or a function without arguments that gives one" in done.stderr and name in done.stderr


def test_the_command_names_the_extra_that_is_missing(tmp_path: Path) -> None:
    for name in ("httpx", "jsonschema"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')")
    for name in ("asks", "checks", "lines"):
        done = command(tmp_path, f"wants.py:{name}")
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        assert "pip install transom[evals]" in done.stderr


def test_nobody_pays_for_evaluations_who_does_not_use_them() -> None:
    code = (
        "import sys; sys.modules.update(pytest=None, httpx=None, jsonschema=None)\n"
        "import transom, transom._cli\nassert 'transom.evals' not in sys.modules\n"
        "import transom.evals\nassert transom.evals.contains('a')('a').passed\n"
        "try: transom.evals.Endpoint('http://127.0.0.1:1', 'm')\n"
        "except ImportError as error: assert 'transom[evals]' in str(error)\nelse: raise SystemExit('no error')\n"
        "try: transom.evals.json_schema({})\n"
        "except ImportError as error: assert 'transom[evals]' in str(error)\nelse: raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
