%% A gen_server: the round trip of a call, and what an idle one costs.
-module(agent).
-behaviour(gen_server).
-export([call/1, idle_bytes/1, init/1, handle_call/3, handle_cast/2]).

init(Start) -> {ok, {Start, <<"counter">>, 100}}.
handle_call({add, K}, _From, {N, Name, Limit}) -> {reply, N + K, {N + K, Name, Limit}}.
handle_cast(_, State) -> {noreply, State}.

call(#{n := Count}) ->
    {ok, Pid} = gen_server:start_link(?MODULE, 0, []),
    loop(Pid, Count div 10),
    Start = bench:now_ns(),
    loop(Pid, Count),
    Took = bench:now_ns() - Start,
    Count = gen_server:call(Pid, {add, 0}) - Count div 10,
    #{ns => Took / Count}.

loop(_Pid, 0) -> ok;
loop(Pid, N) -> gen_server:call(Pid, {add, 1}), loop(Pid, N - 1).

idle_bytes(#{n := Count}) ->
    start(1000),
    timer:sleep(200),
    Before = rss_bytes(),
    Start = bench:now_ns(),
    start(Count),
    Took = bench:now_ns() - Start,
    timer:sleep(500),
    #{bytes => (rss_bytes() - Before) / Count, start_ns => Took / Count}.

start(0) -> ok;
start(N) -> {ok, _} = gen_server:start(?MODULE, N, []), start(N - 1).

rss_bytes() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Text, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.
