%% Pauses: what a process that ticks every millisecond sees beside a crowd that works, crashes and is restarted.
-module(pauses).
-export([pauses/1, rounds/1, worker/2, life/1]).

-define(TURN, 2).
-define(MESSAGES, 40).
-define(CRASHES, 2).

pauses(#{n := Count, seconds := Seconds}) ->
    %% What is measured is the crash, not its report.
    logger:set_primary_config(level, none),
    Boss = self(),
    Pids = ets:new(pids, [set]),
    [ets:insert(Pids, {N, spawn(?MODULE, worker, [N, 0])} ) || N <- lists:seq(0, Count - 1)],
    timer:sleep(1000),
    settle(),
    _ = rand:seed(exsss, 1),
    spawn_link(fun() -> Boss ! {gaps, tick(bench:now_ns(), bench:now_ns() + Seconds * 1000000000, [])} end),
    {Gaps, Answers, Restarts} = churn(Pids, Count, erlang:monotonic_time(millisecond) + ?TURN, 0, 0),
    #{samples => Gaps, answers => Answers, restarts => Restarts}.

settle() ->
    case erlang:statistics(total_run_queue_lengths) of
        Few when Few =< 10 -> ok;
        _ -> timer:sleep(100), settle()
    end.

tick(Last, Until, Gaps) ->
    receive after 1 -> ok end,
    Now = bench:now_ns(),
    case Now < Until of
        true -> tick(Now, Until, [Now - Last | Gaps]);
        false -> Gaps
    end.

worker(Number, Seen) ->
    receive
        stop -> error({crash, Number});
        {Who, _Message} -> Who ! Seen + 1, worker(Number, Seen + 1)
    end.

churn(Pids, Count, Due, Answers, Restarts) ->
    [pid(Pids, rand:uniform(Count) - 1) ! {self(), {Due, "text"}} || _ <- lists:seq(1, ?MESSAGES)],
    [restart(Pids, rand:uniform(Count) - 1) || _ <- lists:seq(1, ?CRASHES)],
    case answers(Due, Answers) of
        {gaps, Gaps, More} -> {Gaps, More, Restarts + ?CRASHES};
        More -> churn(Pids, Count, Due + ?TURN, More, Restarts + ?CRASHES)
    end.

pid(Pids, N) -> ets:lookup_element(Pids, N, 2).

restart(Pids, N) ->
    pid(Pids, N) ! stop,
    ets:insert(Pids, {N, spawn(?MODULE, worker, [N, 0])}).

answers(Due, Answers) ->
    receive
        {gaps, Gaps} -> {gaps, Gaps, Answers};
        N when is_integer(N) -> answers(Due, Answers + 1)
    after max(0, Due - erlang:monotonic_time(millisecond)) -> Answers
    end.

%% Memory after many lives; a process on the BEAM has no cycles, but the same amount of state.
life(Number) -> {Number, [Number, #{back => Number}]}.

rounds(#{n := Count}) ->
    lives(min(Count, 100000)),
    Before = memory:rss_bytes(),
    Start = bench:now_ns(),
    lives(Count),
    End = bench:now_ns(),
    After = memory:rss_bytes(),
    #{growth_percent => 100 * (After - Before) / Before, ns => (End - Start) / Count,
      before_mb => Before / 1.0e6}.

lives(0) -> ok;
lives(N) ->
    {_, Ref} = spawn_monitor(?MODULE, life, [N]),
    receive {'DOWN', Ref, process, _, _} -> lives(N - 1) end.
