"""JSON schemas, by the library jsonschema. Nothing is fetched: a reference to another document is an error."""

from __future__ import annotations

from typing import Any

from transom.evals._rules import parse_json
from transom.evals._values import Case, Check, MissingExtra, Output


def json_schema(schema: dict[str, Any]) -> Check:
    """The output is JSON that a schema accepts.

    Args:
        schema: A JSON schema; ``$schema`` says of which draft, default 2020-12. References within it work; others are
            not fetched.

    Raises:
        ImportError: ``transom[evals]``, which brings jsonschema, is not installed.
        ValueError: It is no schema.

    Example:
        >>> from transom.evals import json_schema
        >>> check = json_schema({"type": "object", "required": ["city"]})
        >>> check('{"town": "Rome"}').reason
        "1 problem: at the top: 'city' is a required property"
    """
    validator = _validator(schema)

    def judge(output: Output, case: Case) -> tuple[float, str]:
        try:
            value = parse_json(output.text)
        except ValueError as error:
            return 0.0, f"it is no JSON: {error}"
        problems = [_problem(error) for error, _ in zip(validator.iter_errors(value), range(10), strict=False)]
        if not problems:
            return 1.0, "the schema accepts it"
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        return 0.0, f"{count}: {'; '.join(problems)}"

    return Check("json_schema", judge)


def _validator(schema: dict[str, Any]) -> Any:
    try:
        import jsonschema  # type: ignore[import-untyped, import-not-found, unused-ignore]
        import referencing  # type: ignore[import-not-found, unused-ignore]
        from jsonschema.validators import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            validator_for,
        )
    except ImportError:
        raise MissingExtra("json_schema() needs the library jsonschema: pip install transom[evals]") from None
    if not isinstance(schema, dict | bool):
        raise ValueError(f"json_schema(): it is no schema: {schema!r}")
    kind: Any = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"json_schema(): it is no schema: {error.message}") from None
    # An own registry: the default one fetches references from the network.
    return kind(schema, registry=referencing.Registry())


def _problem(error: Any) -> str:
    path = "/".join(str(part) for part in error.absolute_path)
    return f"{'at ' + path if path else 'at the top'}: {error.message[:200]}"
