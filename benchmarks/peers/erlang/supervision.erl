%% Supervised children: started, and restarted after a kill.
-module(supervision).
-behaviour(supervisor).
-export([restart/1, children/1, init/1, start_child/1, start_quiet/1]).

init(Given) -> {ok, Given}.

start_child(Boss) -> gen_server:start_link(supervised, {tell, Boss}, []).
start_quiet(Number) -> gen_server:start_link(supervised, {keep, Number}, []).

kill_loop(Victim, 0) -> Victim;
kill_loop(Victim, N) ->
    exit(Victim, kill),
    receive {up, Next} -> kill_loop(Next, N - 1) end.

%% A supervisor of its own for each hundred kills: it keeps a list of its restarts, and walks it.
kills(0, Taken) -> Taken;
kills(N, Taken) ->
    Flags = #{strategy => one_for_one, intensity => 100, period => 5},
    Child = #{id => child, start => {?MODULE, start_child, [self()]}},
    {ok, Sup} = supervisor:start_link(?MODULE, {Flags, [Child]}),
    First = receive {up, Pid} -> Pid end,
    Start = bench:now_ns(),
    kill_loop(First, 100),
    Stop = bench:now_ns(),
    gen_server:stop(Sup),
    kills(N - 100, Taken + Stop - Start).

restart(#{n := N}) ->
    logger:set_primary_config(level, none),
    kills(N div 10, 0),
    #{ns => kills(N, 0) / N}.

start_many(N) ->
    Children = [#{id => K, start => {?MODULE, start_quiet, [K]}} || K <- lists:seq(1, N)],
    Start = bench:now_ns(),
    {ok, Pid} = supervisor:start_link(?MODULE, {#{}, Children}),
    Taken = bench:now_ns() - Start,
    N = proplists:get_value(active, supervisor:count_children(Pid)),
    {Taken, Pid}.

children(#{n := N}) ->
    {_, Pid} = start_many(N div 10),
    gen_server:stop(Pid),
    {Taken, _} = start_many(N),
    #{ns => Taken / N}.
