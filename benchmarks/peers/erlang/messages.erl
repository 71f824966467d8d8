%% Messages: one pair, many independent pairs, four senders to one receiver.
-module(messages).
-export([pairs/1, fanin/1]).

pong() ->
    receive {Who, N} -> Who ! {self(), N}, pong() end.

%% Waits for its start, does Count round trips, reports.
ping(Boss, Peer, Count) ->
    receive go -> ok end,
    ping_loop(Peer, Count),
    Boss ! done.

ping_loop(_Peer, 0) -> ok;
ping_loop(Peer, N) ->
    Peer ! {self(), N},
    receive {_, _} -> ok end,
    ping_loop(Peer, N - 1).

play(Pairs, RoundTrips) ->
    Boss = self(),
    Pongs = [spawn(fun pong/0) || _ <- lists:seq(1, Pairs)],
    Pings = [spawn(fun() -> ping(Boss, Pong, RoundTrips) end) || Pong <- Pongs],
    Start = bench:now_ns(),
    [Ping ! go || Ping <- Pings],
    [receive done -> ok end || _ <- Pings],
    Took = bench:now_ns() - Start,
    [exit(Pong, kill) || Pong <- Pongs],
    Took.

pairs(#{n := Hops, pairs := Pairs}) ->
    RoundTrips = Hops div 2 div Pairs,
    play(Pairs, max(1, RoundTrips div 10)),
    #{ns => play(Pairs, RoundTrips) / (2 * RoundTrips * Pairs)}.

producer(Sink, Count) ->
    receive go -> ok end,
    produce(Sink, Count).

produce(_Sink, 0) -> ok;
produce(Sink, N) -> Sink ! {self(), N}, produce(Sink, N - 1).

consumer(Boss, 0, Total) -> Boss ! Total;
consumer(Boss, N, Total) -> receive {_, K} -> consumer(Boss, N - 1, Total + K) end.

%% The long queue stays out of the consumer's heap: the setting that OTP gives for such a process.
gather(Producers, Each) ->
    Boss = self(),
    Sink = spawn_opt(fun() -> consumer(Boss, Producers * Each, 0) end,
                     [{message_queue_data, off_heap}]),
    Sources = [spawn(fun() -> producer(Sink, Each) end) || _ <- lists:seq(1, Producers)],
    Start = bench:now_ns(),
    [Source ! go || Source <- Sources],
    Total = receive T -> T end,
    Took = bench:now_ns() - Start,
    Total = Producers * (Each * (Each + 1) div 2),
    Took.

fanin(#{n := Messages}) ->
    Producers = 4,
    Each = Messages div Producers,
    gather(Producers, max(1, Each div 10)),
    #{ns => gather(Producers, Each) / (Each * Producers)}.
