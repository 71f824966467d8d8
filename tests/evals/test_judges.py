"""Judges: models behind an endpoint on loopback, recorded ones, and what goes wrong."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
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
        self.send_header("retry-after", "0")
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
