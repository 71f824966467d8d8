%% Echo over loopback with gen_tcp: round trips, and a stream of 64 KB pieces one way.
-module(sockets).
-export([echo/1]).

-define(OPTIONS, [binary, {packet, 4}, {active, false}, {nodelay, true}, {ip, {127, 0, 0, 1}}]).

echo(#{n := N, chunks := Chunks}) ->
    {ok, Listener} = gen_tcp:listen(0, ?OPTIONS),
    {ok, Port} = inet:port(Listener),
    spawn_link(fun() -> {ok, S} = gen_tcp:accept(Listener), ok = inet:setopts(S, [{active, once}]), serve(S) end),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {packet, 4}, {active, false}, {nodelay, true}]),
    trips(Socket, N div 10),
    T0 = bench:now_ns(),
    trips(Socket, N),
    T1 = bench:now_ns(),
    Chunk = binary:copy(<<0>>, 65536),
    send(Socket, Chunk, Chunks),
    trips(Socket, 1),
    T2 = bench:now_ns(),
    gen_tcp:close(Socket),
    #{ns => (T1 - T0) / N, mb_s => Chunks * 65536 / ((T2 - T1) / 1000)}.

serve(Socket) ->
    receive
        {tcp, Socket, Data} ->
            byte_size(Data) =< 100 andalso gen_tcp:send(Socket, Data),
            ok = inet:setopts(Socket, [{active, once}]),
            serve(Socket);
        {tcp_closed, Socket} -> ok
    end.

trips(_, 0) -> ok;
trips(Socket, N) ->
    ok = gen_tcp:send(Socket, <<"ping">>),
    {ok, <<"ping">>} = gen_tcp:recv(Socket, 0),
    trips(Socket, N - 1).

send(_, _, 0) -> ok;
send(Socket, Chunk, N) ->
    ok = gen_tcp:send(Socket, Chunk),
    send(Socket, Chunk, N - 1).
