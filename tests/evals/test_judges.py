"""Judges: models behind an endpoint on loopback, recorded ones, and what goes wrong."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import transom
from transom.evals import (
    Case,
    Endpoint,
    EndpointError,
    Judgement,
    ModelJudge,
    NoJudge,
    NotRecorded,
    Question,
    RateLimit,
    RecordedJudge,
    Suite,
    _endpoint,  # type: ignore[attr-defined, unused-ignore]
    assert_output,
    faithful,
    judged,
    no_bias,
    no_hallucination,
    no_toxicity,
    relevant,
    run_suite,
    similar_meaning,
    use_judge,
)
from transom.evals._judge import environment_judge, read_judgement

FACTS = ("Returns are accepted within 30 days.",)
KEY = "sk-very-secret"


class Stub:
    """Answers with a score it was given, and keeps the questions."""

    def __init__(self, score: float = 1.0) -> None:
        self.score = score
        self.questions: list[Question] = []

    def judge(self, question: Question) -> Judgement:
        self.questions.append(question)
        return Judgement(self.score, f"answer {len(self.questions)}")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, Any]] = []
        self.wait_for: threading.Barrier | None = None
        self.retry_after = "0"
        self.seen: list[tuple[str, dict[str, Any], str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append((self.path, body, self.headers["authorization"]))
        if self.server.wait_for is not None:
            self.server.wait_for.wait(30)
        status, answer = self.server.answers.pop(0)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("retry-after", self.server.retry_after)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # of a case that was out of time
            self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("httpx")
    monkeypatch.setenv("TRANSOM_JUDGE_KEY", KEY)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def said(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}]}


def test_the_checks_ask_with_what_they_need() -> None:
    stub = Stub()
    with use_judge(stub):
        assert_output(
            "30 days", faithful(), relevant(), no_hallucination(), no_bias(), no_toxicity(), input="?", context=FACTS
        )
    names = [question.check for question in stub.questions]
    assert names == ["faithful", "relevant", "no_hallucination", "no_bias", "no_toxicity"]
    assert {question.context for question in stub.questions} == {FACTS}
    assert len({question.criterion for question in stub.questions}) == 5


def test_without_context_or_input_the_question_is_refused() -> None:
    with use_judge(Stub()):
        for check in (faithful(), no_hallucination()):
            with pytest.raises(ValueError, match="no context"):
                check("x")
        with pytest.raises(ValueError, match="no input"):
            relevant()("x")


def test_thresholds_and_repeats_of_judges() -> None:
    assert not judged("It is kind.", judge=Stub(0.79))("x").passed
    assert judged("It is kind.", judge=Stub(0.79), threshold=0.5)("x").passed
    stub = Stub()
    assert judged("It is kind.", judge=stub).repeated(3)("x").passed
    assert [question.attempt for question in stub.questions] == [0, 1, 2]


def test_the_innermost_judge_is_asked() -> None:
    outer, inner = Stub(), Stub()
    with use_judge(outer), use_judge(inner):
        no_bias()("x")
    assert (len(outer.questions), len(inner.questions)) == (0, 1)


def test_no_judge_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSOM_JUDGE_URL", raising=False)
    with pytest.raises(NoJudge, match="TRANSOM_JUDGE_URL"):
        no_bias()("x")


def test_a_model_judges(server: Server) -> None:
    server.answers = [(200, said('```json\n{"score": 0.9, "reason": "it is there"}\n```'))]
    judge = ModelJudge(Endpoint(server.url, "m"))
    verdict = faithful(FACTS, judge=judge)("within 30 days")
    assert verdict.passed and verdict.score == 0.9 and verdict.reason == "it is there"
    path, body, sent = server.seen[0]
    assert path == "/v1/chat/completions" and body["model"] == "m" and body["temperature"] == 0
    assert sent == f"Bearer {KEY}" and KEY not in repr(judge) and KEY not in str(vars(judge.endpoint))
    material = json.loads(body["messages"][1]["content"])
    assert material["context"] == list(FACTS) and material["output"] == "within 30 days"


def test_answers_that_cannot_be_read_are_asked_for_again_then_an_error(server: Server) -> None:
    judge = ModelJudge(Endpoint(server.url, "m"))
    server.answers = [(200, said("well...")), (200, said('So: {"score": 1, "reason": "fine"} I think'))]
    assert no_bias(judge=judge)("x").passed
    server.answers = [(200, said('{"score": 7}')), (200, said('{"score": "NaN"}'))]
    with pytest.raises(EndpointError, match="cannot be read"):
        no_bias(judge=judge)("x")
    assert len(server.seen) == 4


FINE = '{"score": 1, "reason": "fine"}'
ANSWERS = [
    (FINE, 1.0),
    (f"Sure! {FINE} Anything else?", 1.0),
    (f"```json\n{FINE}\n```", 1.0),
    (f"Here:\n```\n{FINE}\n```\nbye", 1.0),
    (f"{FINE}\n{FINE}", 1.0),
    (f'<think>maybe {{"score": 0}}?</think>{FINE}', 1.0),
    ('{"score": 0, "reason": "it has a brace } and { too"}', 0.0),
    ('I say {"score": 0, "reason": "the output says: {\\"score\\": 1}"}.', 0.0),
    ('The set {a, b}: {"score": "0.5"}', 0.5),
    ('{"verdict": {"score": 1}, "score": 0}', 0.0),
    ('{"score": 0, "reason": "it says {"score": 1}"}', None),  # broken, and the inner one is no judgement
    ('{"score": 1} or rather {"score": 0}', None),
    ('{"score": 1, "score": 0}', None),
    ('{"verdict": {"score": 1}}', None),
    ('{"score": true}', None),
    ('{"score": 2}', None),
    ('{"score": NaN}', None),
    ('{"score": null}', None),
    ("It is very good.", None),
    ("", None),
    ("{" * 100_000, None),
    ('{"a":' * 100_000, None),
    ("{ " * 1000 + FINE, None),
]


@pytest.mark.parametrize(("text", "score"), ANSWERS)
def test_what_an_answer_says(text: str, score: float | None) -> None:
    judgement = read_judgement(text)
    assert (judgement.score if judgement else None) == score


@pytest.mark.parametrize("key", ["sk-secret\n", " sk-secret\r\n"])
def test_white_space_around_the_key_is_none_of_it(server: Server, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("TRANSOM_JUDGE_KEY", key)
    server.answers = [(200, said("hello sk-secret")), (401, b"no key sk-secret")]
    assert Endpoint(server.url, "m").chat([]) == "hello <redacted>"
    assert server.seen[0][2] == "Bearer sk-secret"
    with pytest.raises(EndpointError) as caught:
        Endpoint(server.url, "m").chat([])
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-sec\nret", "sk-sécret", "sk-\x7fsecret", "sk-sec\tret"])
def test_a_key_that_cannot_be_sent_is_named_by_its_setting(
    server: Server, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("TRANSOM_JUDGE_KEY", key)
    judge = ModelJudge(Endpoint(server.url, "m"))
    with pytest.raises(EndpointError, match="TRANSOM_JUDGE_KEY: the key has characters") as caught:
        judge.endpoint.chat([])
    assert "sk-" not in str(caught.value) and server.seen == []
    report = run_suite(Suite(name="s", cases=["a"], subject=str, checks=[no_bias(judge=judge)]))
    assert "TRANSOM_JUDGE_KEY" in report.to_json() and "sk-" not in report.to_json()


@pytest.mark.parametrize("before", [290, 295, 299, 310])
def test_a_key_at_the_cut_of_an_error_is_taken_out(server: Server, before: int) -> None:
    server.answers = [(400, b"x" * before + KEY.encode())]
    with pytest.raises(EndpointError) as caught:
        Endpoint(server.url, "m").chat([])
    assert "sk-" not in str(caught.value) and len(str(caught.value)) < 500


def test_an_answer_in_a_coding_that_is_none_is_an_error_of_the_endpoint(server: Server) -> None:
    class Broken(Handler):
        def end_headers(self) -> None:
            self.send_header("content-encoding", "gzip")
            super().end_headers()

    server.RequestHandlerClass = Broken
    server.answers = [(200, b"no gzip")]
    with pytest.raises(EndpointError, match="DecodingError"):
        Endpoint(server.url, "m").chat([])


def test_how_long_an_endpoint_asks_to_wait(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr(_endpoint, "_sleep", naps.append)
    for asked, low, high in (
        ("7", 7, 7),
        ("90", 90, 90),
        ("100000", 300, 300),
        ("-3", 0, 0),
        (format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True), 30, 61),
        (format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True), 0, 0),
        ("inf", 0.25, 0.75),
        ("nan", 0.25, 0.75),
        ("soon", 0.25, 0.75),
    ):
        server.retry_after = asked
        server.answers = [(429, {}), (200, said("hello"))]
        assert Endpoint(server.url, "m").chat([]) == "hello"
        assert low <= naps.pop() <= high and naps == [], asked
    server.answers = [(429, {"error": "slow down"})] * 2
    with pytest.raises(EndpointError, match="status 429: .*slow down") as caught:
        Endpoint(server.url, "m", tries=2).chat([])
    assert caught.value.status == 429 and len(naps) == 1


def test_rates_that_are_none_are_refused() -> None:
    pytest.importorskip("httpx")
    with pytest.raises(TypeError, match="rate must be"):
        Endpoint("http://127.0.0.1:1/v1", "m", rate="60")  # type: ignore[arg-type]


def test_judges_that_are_none_are_refused() -> None:
    with pytest.raises(TypeError, match="a judge has a method"):
        no_bias(judge="gpt")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a judge has a method"), use_judge("gpt"):  # type: ignore[arg-type]
        pass
    with pytest.raises(TypeError, match="a judge has a method"):
        RecordedJudge("judge.jsonl", "gpt")  # type: ignore[arg-type]

    class Wrong:
        def judge(self, question: Question) -> Any:
            return 0.9

    with pytest.raises(TypeError, match="answers with a Judgement"):
        no_bias(judge=Wrong())("x")


def test_the_environments_judge_follows_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_JUDGE_URL", server.url)
    for model in ("one", "two", "two"):
        monkeypatch.setenv("TRANSOM_JUDGE_MODEL", model)
        server.answers = [(200, said(FINE))]
        assert no_bias()("x").passed
    assert [body["model"] for _, body, _ in server.seen] == ["one", "two", "two"]
    assert environment_judge() is environment_judge()
    monkeypatch.setenv("TRANSOM_JUDGE_URL", "ftp://x")
    with pytest.raises(NoJudge, match=r"cannot be used .*http:// or https://"):
        no_bias()("x")


def test_a_busy_endpoint_is_asked_again_and_a_broken_one_is_not(server: Server) -> None:
    endpoint = Endpoint(server.url, "m")
    server.answers = [(429, {}), (503, {}), (200, said("hello"))]
    assert endpoint.chat([]) == "hello"
    server.answers = [(401, f"no such key: {KEY}".encode())]
    with pytest.raises(EndpointError, match="status 401") as caught:
        endpoint.chat([])
    assert caught.value.status == 401 and KEY not in str(caught.value) and "<redacted>" in str(caught.value)
    wrong: tuple[Any, ...] = (b"<html>", [], {"choices": []}, {"choices": [{"message": {"content": None}}]})
    for answer in wrong:
        server.answers = [(200, answer)]
        with pytest.raises(EndpointError):
            endpoint.chat([])


def test_similar_meaning(server: Server) -> None:
    endpoint = Endpoint(server.url, "m")
    rows = [{"index": 1, "embedding": [0.0, 2.0]}, {"index": 0, "embedding": [0.0, 1.0]}]
    server.answers = [(200, {"data": rows}), (200, {"data": [{"index": 0, "embedding": [1.0]}]})]
    assert similar_meaning("a", endpoint=endpoint)("b").score == 1
    with pytest.raises(EndpointError, match="not one embedding"):
        similar_meaning("a", endpoint=endpoint)("b")


def test_endpoints_that_are_none_are_refused() -> None:
    pytest.importorskip("httpx")
    for url in ("ftp://x", "http://", "http://me:pass@127.0.0.1/v1", ""):
        with pytest.raises(ValueError, match="Endpoint: url"):
            Endpoint(url, "m")
    with pytest.raises(ValueError, match="which model"):
        Endpoint("http://127.0.0.1:1/v1", "")


def test_rates_are_kept_in_order() -> None:
    now = 0.0
    limit = RateLimit(60, clock=lambda: now)
    assert [limit.reserve() for _ in range(3)] == [0, 1, 2]
    now = 10.0
    assert [limit.reserve() for _ in range(2)] == [0, 1]
    burst = RateLimit(60, burst=3, clock=lambda: now)
    assert [burst.reserve() for _ in range(4)] == [0, 0, 0, 1]


def test_recorded_answers_are_replayed_without_a_judge(tmp_path: Path) -> None:
    path, stub = tmp_path / "judge.jsonl", Stub(0.9)
    with use_judge(RecordedJudge(path, stub)):
        first = faithful(FACTS).repeated(2)("within 30 days")
    assert len(stub.questions) == 2 and (os.stat(path).st_mode & 0o777) == 0o600
    assert "30 days" not in path.read_text()  # neither output nor context
    with use_judge(RecordedJudge(path, mode="replay")):
        assert faithful(FACTS).repeated(2)("within 30 days") == first
        with pytest.raises(NotRecorded, match="record it anew"):
            faithful(FACTS)("within 31 days")
        with pytest.raises(NotRecorded):
            faithful("Other facts.")("within 30 days")


def test_recording_again_replaces_and_auto_asks_once(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    question = Question("kind", "It is kind.", "x")
    auto = Stub(1.0)
    for _ in range(2):
        assert RecordedJudge(path, auto).judge(question).score == 1
    assert len(auto.questions) == 1
    again = RecordedJudge(path, Stub(0.2), mode="record")
    assert again.judge(question).score == again.judge(question).score == 0.2
    assert RecordedJudge(path, mode="replay").judge(question).score == 0.2


class Named(Stub):
    def __init__(self, identity: str, score: float) -> None:
        super().__init__(score)
        self.identity = identity


def test_another_judge_gets_none_of_the_answers_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRANSOM_JUDGE_URL", "TRANSOM_JUDGE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "judge.jsonl"
    question, other = Question("kind", "It is kind.", "x"), Question("kind", "It is kind.", "y")
    old, new = Named("old", 0.1), Named("new", 0.9)
    assert RecordedJudge(path, old).judge(question).score == RecordedJudge(path, old).judge(other).score == 0.1
    assert RecordedJudge(path, mode="replay").judge(question).score == 0.1
    assert RecordedJudge(path, new).judge(question).score == 0.9
    assert (len(old.questions), len(new.questions)) == (2, 1)
    for judge, score in ((old, 0.1), (new, 0.9), (None, 0.9)):  # nobody: the latest answer will do
        assert RecordedJudge(path, judge, mode="replay").judge(question).score == score
    assert RecordedJudge(path, mode="replay").judge(other).score == 0.1
    with pytest.raises(NotRecorded):
        RecordedJudge(path, new, mode="replay").judge(other)
    assert RecordedJudge(path, new, identity="old").judge(other).score == 0.1
    assert RecordedJudge(path).judge(question).score == 0.9  # all there: no environment is wanted
    assert "old" not in path.read_text()


def test_the_environments_model_is_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("httpx")
    monkeypatch.setenv("TRANSOM_JUDGE_URL", "http://127.0.0.1:9/v1")
    question, keys = Question("kind", "It is kind.", "x"), set()
    for model in ("one", "two"):
        monkeypatch.setenv("TRANSOM_JUDGE_MODEL", model)
        keys.add(RecordedJudge(tmp_path / "judge.jsonl").key(question))
    assert len(keys) == 2


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with pytest.raises(FileNotFoundError):
        RecordedJudge(path, mode="replay")
    path.write_text('\n{"key": "x", "score": 9, "reason": ""}\n')
    with pytest.raises(ValueError, match=r"judge\.jsonl:2: no recorded answer"):
        RecordedJudge(path)
    with pytest.raises(ValueError, match="mode must be"):
        RecordedJudge(path, mode="rewind")  # type: ignore[arg-type]


def test_a_case_gives_input_and_context() -> None:
    stub = Stub()
    judged("It fits.", judge=stub)("x", Case(input={"a": 1}, context=("b",)))
    assert stub.questions[0].input == "{'a': 1}" and stub.questions[0].context == ("b",)


def test_cases_of_a_suite_wait_for_the_model_without_holding_slots(server: Server) -> None:
    """All are at the model at once, on one scheduler, and none blocks: what waits for all of them there shows it."""
    count = 32
    here = threading.Barrier(count)
    server.wait_for = here
    server.answers = [(200, said('{"score": 1, "reason": "fine"}'))] * count
    judge = ModelJudge(Endpoint(server.url, "m"))
    suite = Suite(name="s", cases=range(count), subject=str, checks=[no_bias(judge=judge)], concurrency=count)
    report = transom.run(lambda: run_suite(suite), schedulers=1)
    assert report.passed, report.to_text()
    assert not here.broken


def test_a_case_out_of_time_leaves_its_request(server: Server) -> None:
    server.wait_for = here = threading.Barrier(2)
    server.answers = [(200, said('{"score": 1, "reason": "late"}'))]
    judge = ModelJudge(Endpoint(server.url, "m"))
    report = run_suite(Suite(name="s", cases=[1], subject=str, checks=[no_bias(judge=judge)], timeout=0.5))
    assert report.results[0].problems == ["not done within 0.5 s"]
    here.wait(30)  # its handler is still there; it finds nobody to answer to
