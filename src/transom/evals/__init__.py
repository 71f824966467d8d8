"""Evaluations: assertions on what a model or an agent has put out, one at a time or over data sets.

A check judges one output: a rule (``contains``, ``matches``, ``json_schema``, ``no_personal_data``, ``tool_called``,
``similar``) or a question to a model (``faithful``, ``relevant``, ``no_hallucination``, ``no_bias``, ``no_toxicity``,
``judged``). ``assert_output`` makes a test of checks; a ``Suite`` runs them over cases, concurrently, and reports.

Reading order:

    _values.py    cases, outputs, verdicts, checks
    _rules.py, _schema.py, _personal.py, _tools.py, _similar.py   checks without a model
    _judge.py, _judged.py   the model that judges, and the checks that ask it
    _recorded.py  its answers in a file, for runs without it
    _endpoint.py  requests to endpoints that are compatible with OpenAI's; _rate.py: so many a minute
    _dataset.py   cases from files
    _suite.py, _run.py   suites, and running them on tasks
    _report.py, _html.py    what came of it, for people and machines; _redact.py: without the texts
    _command.py   transom eval
"""

from transom.evals._dataset import load_cases as load_cases
from transom.evals._dataset import parametrize as parametrize
from transom.evals._endpoint import Endpoint as Endpoint
from transom.evals._endpoint import EndpointError as EndpointError
from transom.evals._judge import Judge as Judge
from transom.evals._judge import Judgement as Judgement
from transom.evals._judge import ModelJudge as ModelJudge
from transom.evals._judge import NoJudge as NoJudge
from transom.evals._judge import Question as Question
from transom.evals._judge import use_judge as use_judge
from transom.evals._judged import faithful as faithful
from transom.evals._judged import judged as judged
from transom.evals._judged import no_bias as no_bias
from transom.evals._judged import no_hallucination as no_hallucination
from transom.evals._judged import no_toxicity as no_toxicity
from transom.evals._judged import relevant as relevant
from transom.evals._personal import Finding as Finding
from transom.evals._personal import find_personal_data as find_personal_data
from transom.evals._personal import no_personal_data as no_personal_data
from transom.evals._rate import RateLimit as RateLimit
from transom.evals._recorded import NotRecorded as NotRecorded
from transom.evals._recorded import RecordedJudge as RecordedJudge
from transom.evals._report import CaseResult as CaseResult
from transom.evals._report import Report as Report
from transom.evals._rules import at_most as at_most
from transom.evals._rules import contains as contains
from transom.evals._rules import contains_any as contains_any
from transom.evals._rules import equals as equals
from transom.evals._rules import is_json as is_json
from transom.evals._rules import lacks as lacks
from transom.evals._rules import matches as matches
from transom.evals._schema import json_schema as json_schema
from transom.evals._similar import similar as similar
from transom.evals._similar import similar_meaning as similar_meaning
from transom.evals._suite import Suite as Suite
from transom.evals._suite import run_suite as run_suite
from transom.evals._tools import tool_called as tool_called
from transom.evals._tools import tool_not_called as tool_not_called
from transom.evals._values import Case as Case
from transom.evals._values import Check as Check
from transom.evals._values import EvaluationFailed as EvaluationFailed
from transom.evals._values import Output as Output
from transom.evals._values import ToolCall as ToolCall
from transom.evals._values import Verdict as Verdict
from transom.evals._values import assert_output as assert_output
from transom.evals._values import check_output as check_output
