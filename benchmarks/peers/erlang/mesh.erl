%% Tokens that wander through a mesh of processes, so that no placement keeps the traffic local.
-module(mesh).
-export([mesh/1]).

relay(Boss) ->
    receive {neighbours, Pids} -> relay(Boss, Pids, Pids) end.

%% Passes each token on to the next of its neighbours; a token that is used up goes home.
relay(Boss, [], All) -> relay(Boss, All, All);
relay(Boss, [Next | Rest], All) ->
    receive
        {_Who, 0} -> Boss ! done;
        {_Who, N} -> Next ! {self(), N - 1}
    end,
    relay(Boss, Rest, All).

sample(Pids) ->
    Shuffled = lists:sort([{rand:uniform(), Pid} || Pid <- Pids]),
    [Pid || {_, Pid} <- lists:sublist(Shuffled, 16)].

wander(Relays, Tokens, Hops) ->
    Boss = self(),
    Pids = [spawn(fun() -> relay(Boss) end) || _ <- lists:seq(1, Relays)],
    [Pid ! {neighbours, sample(Pids)} || Pid <- Pids],
    Start = bench:now_ns(),
    [Pid ! {Boss, Hops - 1} || Pid <- lists:sublist(Pids, Tokens)],
    [receive done -> ok end || _ <- lists:seq(1, Tokens)],
    Took = bench:now_ns() - Start,
    [exit(Pid, kill) || Pid <- Pids],
    Took.

mesh(#{n := Messages, relays := Relays, tokens := Tokens}) ->
    Hops = Messages div Tokens,
    wander(Relays, Tokens, max(1, Hops div 10)),
    #{ns => wander(Relays, Tokens, Hops) / (Hops * Tokens)}.
