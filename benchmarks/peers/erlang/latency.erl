%% How long a small request takes while hogs want every core.
-module(latency).
-export([latency/1]).

echo() ->
    receive {Who, N} -> Who ! N, echo() end.

%% Kinds that mean something here: a loop of calls, and a regex (the BIF gives way by itself).
hog("python", N, Size) -> hog("python", N + 1, Size);
hog("regex", N, Size) ->
    re:run(lists:duplicate(Size, $a) ++ "!", "(a+)+$", [{match_limit, 16#7fffffff}]),
    hog("regex", N, Size);
hog("sleep", N, Size) -> timer:sleep(1000), hog("sleep", N, Size).

kinds("all") -> ["python", "regex", "sleep"];
kinds(Kind) -> [Kind].

%% Times of the request, and the same counted from when the request was due.
ask(_To, 0, Samples, Due) -> {Samples, Due};
ask(To, N, Samples, Due) ->
    Pause = rand:uniform(2),
    Before = bench:now_ns(),
    receive after Pause -> ok end,
    Start = bench:now_ns(),
    To ! {self(), N},
    receive N -> ok end,
    End = bench:now_ns(),
    ask(To, N - 1, [End - Start | Samples], [End - Before - Pause * 1000000 | Due]).

latency(#{n := Count, kind := Kind, hogs := Each, size := Size}) ->
    Server = spawn(fun echo/0),
    ask(Server, 50, [], []),
    {Quiet, _} = ask(Server, min(Count, 300), [], []),
    [spawn_link(fun() -> hog(K, 0, Size) end) || K <- kinds(Kind), _ <- lists:seq(1, Each)],
    timer:sleep(500),
    {Samples, Due} = ask(Server, Count, [], []),
    #{samples => Samples, due => Due, quiet => Quiet}.
