%% Entry of the Erlang side: `erl ... -run bench main -extra hop n=1000 ...`, one JSON line out.
-module(bench).
-export([main/0, now_ns/0, wait_for_count/1]).

main() ->
    [Name | Rest] = init:get_plain_arguments(),
    Params = maps:from_list([pair(string:split(A, "=")) || A <- Rest]),
    Boss = self(),
    %% A process of its own, so that the heap of the init process plays no part.
    {_, Ref} = spawn_monitor(fun() -> Boss ! {result, scenario(Name, Params)} end),
    receive
        {result, Result} -> io:format("~s~n", [json(Result)]), erlang:halt(0);
        {'DOWN', Ref, process, _, Why} -> io:format(standard_error, "~p~n", [Why]), erlang:halt(1)
    end.

pair([Key, Text]) ->
    case string:to_integer(Text) of
        {Number, []} -> {list_to_atom(Key), Number};
        _ -> {list_to_atom(Key), Text}
    end.

scenario("hop", P) -> messages:pairs(P#{pairs => 1});
scenario("pairs", P) -> messages:pairs(P);
scenario("fanin", P) -> messages:fanin(P);
scenario("mesh", P) -> mesh:mesh(P);
scenario("split", P) -> split:split(P);
scenario("spawn", P) -> lifecycle:spawn_exit(P);
scenario("down", P) -> lifecycle:spawn_down(P);
scenario("restart", P) -> supervision:restart(P);
scenario("children", P) -> supervision:children(P);
scenario("timer", P) -> lifecycle:timer(P);
scenario("sockets", P) -> sockets:echo(P);
scenario("copy", P) -> copies:copies(P);
scenario("call", P) -> call:call(P);
scenario("agent-call", P) -> agent:call(P);
scenario("agent-memory", P) -> agent:idle_bytes(P);
scenario("latency", P) -> latency:latency(P);
scenario("bytes", P) -> memory:idle_bytes(P);
scenario("million", P) -> memory:million(P);
scenario("idle", P) -> memory:idle_cpu(P);
scenario("pauses", P) -> pauses:pauses(P);
scenario("rounds", P) -> pauses:rounds(P);
scenario("live", P) -> memory:live(P);
scenario("table", P) -> tables:one(P);
scenario("table-readers", P) -> tables:scaling(P);
scenario("broadcast", P) -> tables:fanout(P).

now_ns() -> erlang:monotonic_time(nanosecond).

%% Until no more than that many processes are left.
wait_for_count(Count) ->
    case erlang:system_info(process_count) > Count of
        true -> erlang:yield(), wait_for_count(Count);
        false -> ok
    end.

json(Result) ->
    Fields = [["\"", atom_to_list(K), "\": ", value(V)] || {K, V} <- maps:to_list(Result)],
    ["{", lists:join(", ", Fields), "}"].

value(V) when is_integer(V) -> integer_to_list(V);
value(V) when is_float(V) -> float_to_list(V, [{decimals, 6}, compact]);
value(V) when is_list(V) -> ["[", lists:join(", ", [value(X) || X <- V]), "]"].
