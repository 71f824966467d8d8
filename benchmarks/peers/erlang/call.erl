%% A call (request, monitored reply) with an empty mailbox and with junk waiting in it.
-module(call).
-export([call/1]).

server() ->
    receive {ReplyTo, N} -> ReplyTo ! {ReplyTo, N}, server() end.

%% What gen_server:call does: one reference is the monitor, the reply address and the match.
ask(To, N) ->
    Ref = monitor(process, To, [{alias, reply_demonitor}]),
    To ! {Ref, N},
    receive
        {Ref, Answer} -> Answer;
        {'DOWN', Ref, process, _, Reason} -> exit(Reason)
    end.

calls(To, Count) ->
    Start = bench:now_ns(),
    call_loop(To, Count),
    (bench:now_ns() - Start) / Count.

call_loop(_To, 0) -> ok;
call_loop(To, N) -> ask(To, N), call_loop(To, N - 1).

block(To, Count, Junk) ->
    Empty = calls(To, Count),
    [self() ! {junk, N} || N <- lists:seq(1, Junk)],
    Full = calls(To, Count),
    [receive {junk, _} -> ok end || _ <- lists:seq(1, Junk)],
    {Empty, Full}.

call(#{n := Count, junk := Junk, blocks := Blocks}) ->
    To = spawn(fun server/0),
    calls(To, Count),
    Times = [block(To, Count, Junk) || _ <- lists:seq(1, Blocks)],
    #{ns => median([E || {E, _} <- Times]),
      junk_ns => median([F || {_, F} <- Times]),
      junk_ratio => median([F / E || {E, F} <- Times])}.

median(Values) ->
    Sorted = lists:sort(Values),
    Half = length(Sorted) div 2,
    case length(Sorted) rem 2 of
        1 -> lists:nth(Half + 1, Sorted);
        0 -> (lists:nth(Half, Sorted) + lists:nth(Half + 1, Sorted)) / 2
    end.
