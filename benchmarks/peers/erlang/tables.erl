%% Tables (ETS), and one message for many (pg).
-module(tables).
-export([one/1, scaling/1, fanout/1]).

shuffled(Keys, Count, Seed) ->
    rand:seed(exsss, Seed),
    [rand:uniform(Keys) - 1 || _ <- lists:seq(1, Count)].

filled(Keys, Options) ->
    Table = ets:new(table, Options),
    [ets:insert(Table, {K, 0}) || K <- lists:seq(0, Keys - 1)],
    Table.

insert(_, []) -> ok;
insert(T, [K | Rest]) -> ets:insert(T, {K, K}), insert(T, Rest).

lookup(_, []) -> ok;
lookup(T, [K | Rest]) -> ets:lookup(T, K), lookup(T, Rest).

counter(_, []) -> ok;
counter(T, [K | Rest]) -> ets:update_counter(T, K, 1), counter(T, Rest).

one(#{op := Op, keys := Keys, n := Count}) ->
    Table = filled(Keys, [set]),
    Order = shuffled(Keys, Count, 1),
    Start = bench:now_ns(),
    case Op of
        "insert" -> insert(Table, Order);
        "lookup" -> lookup(Table, Order);
        "counter" -> counter(Table, Order)
    end,
    #{ns => (bench:now_ns() - Start) / Count}.

reader(Boss, Table, Keys, Count, Seed) ->
    Order = shuffled(Keys, Count, Seed),
    Boss ! ready,
    receive go -> ok end,
    lookup(Table, Order),
    Boss ! done.

scaling(#{keys := Keys, n := Count, readers := Crowd}) ->
    Boss = self(),
    Table = filled(Keys, [set, {read_concurrency, true}]),
    Pids = [spawn(fun() -> reader(Boss, Table, Keys, Count div Crowd, Seed) end) || Seed <- lists:seq(1, Crowd)],
    [receive ready -> ok end || _ <- Pids],
    Start = bench:now_ns(),
    [Pid ! go || Pid <- Pids],
    [receive done -> ok end || _ <- Pids],
    #{ns => (bench:now_ns() - Start) / Count}.

subscriber(Boss, Rounds) ->
    pg:join(news, self()),
    Boss ! ready,
    listen(Boss, Rounds).

listen(Boss, 0) -> Boss ! done;
listen(Boss, N) -> receive {news, _} -> listen(Boss, N - 1) end.

fanout(#{subscribers := Crowd, n := Rounds}) ->
    Boss = self(),
    {ok, _} = pg:start_link(),
    Pids = [spawn(fun() -> subscriber(Boss, Rounds) end) || _ <- lists:seq(1, Crowd)],
    [receive ready -> ok end || _ <- Pids],
    Start = bench:now_ns(),
    [[Pid ! {news, N} || Pid <- pg:get_members(news)] || N <- lists:seq(1, Rounds)],
    [receive done -> ok end || _ <- Pids],
    #{ns => (bench:now_ns() - Start) / (Crowd * Rounds)}.
