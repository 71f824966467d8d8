"""A call runs what reading the attribute in the agent would find, however often it was called before."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import transom

TIMES = 3  # what is remembered is remembered by the first of them


def in_node(body: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """As a main process whose agents end with it."""

    @functools.wraps(body)
    def test(*args: Any, **kwargs: Any) -> None:
        transom.run(functools.partial(body, *args, **kwargs))

    return test


class Base(transom.Agent):
    def who(self, suffix: str = "") -> str:
        return "base" + suffix

    def put(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def put_in_dict(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def drop(self, name: str) -> None:
        delattr(self, name)

    def become(self, kind: type[Any]) -> None:
        self.__class__ = kind


class Plain(Base):
    pass


class Other(Plain):
    def who(self, suffix: str = "") -> str:
        return "other" + suffix


def nested() -> type[Any]:
    """The same as Plain; its functions are not kept for ever."""

    class Nested(transom.Agent):
        def who(self, suffix: str = "") -> str:
            return "base" + suffix

        put, put_in_dict, drop = Base.put, Base.put_in_dict, Base.drop

    return Nested


def own(suffix: str = "") -> str:
    return "own" + suffix


@pytest.fixture(params=["module", "function"])
def kind(request: pytest.FixtureRequest) -> type[Any]:
    """A class of its own for each test: some change it."""
    return nested() if request.param == "function" else type("Fresh", (Base,), {})


async def answers(ref: Any) -> set[str]:
    return {await ref.who("!") for _ in range(TIMES)} | {await ref.who(suffix="!")}


@in_node
async def test_an_attribute_of_the_agent_comes_first(kind: type[Any]) -> None:
    one, two = await kind.start_link(), await kind.start_link()
    assert await answers(one) == await answers(two) == {"base!"}
    await one.put("who", own)
    assert await answers(one) == {"own!"}
    assert await answers(two) == {"base!"}  # though instances of its class may have one
    await two.put("who", own)
    assert await answers(two) == {"own!"}
    await one.drop("who")
    assert await answers(one) == {"base!"}
    assert await answers(two) == {"own!"}


@in_node
async def test_an_attribute_put_into_the_dict_comes_first(kind: type[Any]) -> None:
    ref = await kind.start_link()
    assert await answers(ref) == {"base!"}
    await ref.put_in_dict("".join(["w", "ho"]), own)
    assert await answers(ref) == {"own!"}
    another = await kind.start_link()
    assert await answers(another) == {"base!"}
    await another.put("who", own)  # under the name of the other one's dict
    assert await answers(another) == {"own!"}


@in_node
async def test_an_agent_with_many_attributes(kind: type[Any]) -> None:
    ref = await kind.start_link()
    for i in range(40):  # more than instances share the names of
        await ref.put(f"a{i}", i)
        assert await ref.who() == "base"
    await ref.put("who", own)
    assert await answers(ref) == {"own!"}


@in_node
async def test_a_method_that_is_replaced(kind: type[Any]) -> None:
    ref = await kind.start_link()
    assert await answers(ref) == {"base!"}
    kind.who = lambda self, suffix="": "new" + suffix
    assert await answers(ref) == {"new!"}
    kind.who = staticmethod(own)
    assert await answers(ref) == {"own!"}
    kind.who = property(lambda self: own)
    assert await answers(ref) == {"own!"}


@in_node
async def test_a_method_of_a_base_that_is_replaced() -> None:
    parent = type("Parent", (Base,), {"who": lambda self, suffix="": "parent" + suffix})
    child = type("Child", (parent,), {})
    ref = await child.start_link()
    assert await answers(ref) == {"parent!"}
    parent.who = lambda self, suffix="": "grown" + suffix
    assert await answers(ref) == {"grown!"}
    child.who = lambda self, suffix="": "child" + suffix
    assert await answers(ref) == {"child!"}
    del child.who
    assert await answers(ref) == {"grown!"}
    parent.__bases__ = (Other,)
    del parent.who
    assert await answers(ref) == {"other!"}


@in_node
async def test_a_data_descriptor_comes_before_the_attribute() -> None:
    class Always:
        def __get__(self, agent: Any, kind: type[Any] | None = None) -> Callable[..., str]:
            return lambda suffix="": "always" + suffix

        def __set__(self, agent: Any, value: Any) -> None:
            agent.__dict__["who"] = value

    kind = type("Fresh", (Base,), {})
    ref = await kind.start_link()
    assert await answers(ref) == {"base!"}
    kind.who = Always()  # type: ignore[attr-defined]
    await ref.put("who", own)
    assert await answers(ref) == {"always!"}


@in_node
async def test_a_class_that_answers_for_its_attributes() -> None:
    def look(self: Any, name: str) -> Any:
        return own if name == "who" else object.__getattribute__(self, name)

    kind = type("Fresh", (Base,), {})
    ref = await kind.start_link()
    assert await answers(ref) == {"base!"}
    kind.__getattribute__ = look  # type: ignore[method-assign,assignment]
    assert await answers(ref) == {"own!"}
    del kind.__getattribute__
    assert await answers(ref) == {"base!"}

    hooked = type("Hooked", (Base,), {"__getattr__": lambda self, name: own})
    assert await answers(await hooked.start_link()) == {"base!"}


@in_node
async def test_an_agent_that_becomes_another_class() -> None:
    ref: Any = await Plain.start_link()
    assert await answers(ref) == {"base!"}
    await ref.become(Other)
    assert await answers(ref) == {"other!"}


@in_node
async def test_a_reference_finds_what_its_class_has() -> None:
    kind = type("Fresh", (Base,), {})
    ref = await kind.start_link()
    assert await answers(ref) == {"base!"}
    type(ref).who = lambda self, suffix="": type(self).put(self, "seen", suffix)  # type: ignore[attr-defined]
    assert await ref.who("!") is None
    del type(ref).who
    with pytest.raises(AttributeError, match="has no public method 'who'"):
        _ = ref.who
    bound = ref.put
    assert bound.__name__ == "put" and repr(bound).startswith("<method put of")
    assert bound is not ref.put


@in_node
async def test_more_methods_than_are_remembered() -> None:
    names = [f"m{i}" for i in range(300)]
    kind: Any = type("Wide", (transom.Agent,), {name: eval(f"lambda self: {name!r}") for name in names})
    ref = await kind.start_link()
    for _ in range(2):
        assert [await getattr(ref, name)() for name in names] == names
