%% Pairs whose halves are bound to different schedulers, so that every message crosses.
-module(split).
-export([split/1]).

answer(Boss, 0) -> Boss ! {self(), erlang:system_info(scheduler_id)};
answer(Boss, N) -> receive {Who, K} -> Who ! {self(), K}, answer(Boss, N - 1) end.

ask(Boss, Partner, Count) ->
    receive go -> ok end,
    ask_loop(Partner, Count),
    Boss ! {self(), erlang:system_info(scheduler_id)}.

ask_loop(_Partner, 0) -> ok;
ask_loop(Partner, N) ->
    Partner ! {self(), N},
    receive {_, _} -> ok end,
    ask_loop(Partner, N - 1).

play(Pairs, RoundTrips) ->
    Boss = self(),
    Left = [spawn_opt(fun() -> answer(Boss, RoundTrips) end, [{scheduler, 1}])
            || _ <- lists:seq(1, Pairs)],
    Right = [spawn_opt(fun() -> ask(Boss, Partner, RoundTrips) end, [{scheduler, 2}])
             || Partner <- Left],
    Start = bench:now_ns(),
    [Asker ! go || Asker <- Right],
    Ends = maps:from_list([receive {_, _} = End -> End end || _ <- Left ++ Right]),
    Took = bench:now_ns() - Start,
    Apart = [1 || {A, B} <- lists:zip(Left, Right), map_get(A, Ends) =/= map_get(B, Ends)],
    {Took, length(Apart) / Pairs}.

split(#{n := Hops, pairs := Pairs}) ->
    RoundTrips = Hops div 2 div Pairs,
    play(Pairs, max(1, RoundTrips div 10)),
    {Took, Crossed} = play(Pairs, RoundTrips),
    #{ns => Took / (2 * RoundTrips * Pairs), crossed => Crossed}.
