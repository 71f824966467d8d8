"""A suite whose cases a judge behind HTTP judges."""

from __future__ import annotations

from time import perf_counter_ns

from benchmarks.judge_endpoint import judge_endpoint
from benchmarks.side import Params, Result
from transom import run
from transom.evals import Case, Endpoint, ModelJudge, Output, Suite, relevant, run_suite


def measured(url: str, count: int, flight: int) -> float:
    judge = ModelJudge(Endpoint(url, "m"))
    cases = [Case(input=f"question {n}", output=Output(f"answer {n}")) for n in range(count)]
    suite = Suite(name="bench", cases=cases, checks=[relevant(judge=judge)], concurrency=flight)
    start = perf_counter_ns()
    report = run_suite(suite)
    assert report.passed and len(report.results) == count
    return (perf_counter_ns() - start) / count / 1e6


def evals(params: Params) -> Result:
    with judge_endpoint() as url:
        count, flight = params.int("cases"), params.int("flight")
        return {"ms": run(measured, url, count, flight, schedulers=params.int("slots"))}
