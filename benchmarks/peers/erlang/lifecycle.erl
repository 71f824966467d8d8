%% Birth and death of processes and timers.
-module(lifecycle).
-export([spawn_exit/1, spawn_down/1, timer/1, nothing/0]).

nothing() -> ok.

%% Spawns and lets go; the clock stops when all of them have ended.
spawn_many(Count) ->
    Before = erlang:system_info(process_count),
    Start = bench:now_ns(),
    spawn_loop(Count),
    bench:wait_for_count(Before),
    bench:now_ns() - Start.

spawn_loop(0) -> ok;
spawn_loop(N) -> spawn(fun nothing/0), spawn_loop(N - 1).

spawn_and_wait(Count) ->
    Start = bench:now_ns(),
    monitor_loop(Count),
    bench:now_ns() - Start.

monitor_loop(0) -> ok;
monitor_loop(N) ->
    {_Pid, Ref} = spawn_monitor(fun nothing/0),
    receive {'DOWN', Ref, process, _, _} -> ok end,
    monitor_loop(N - 1).

set_and_cancel(Count) ->
    Start = bench:now_ns(),
    timer_loop(Count),
    bench:now_ns() - Start.

timer_loop(0) -> ok;
timer_loop(N) ->
    Timer = erlang:send_after(10000, self(), late),
    erlang:cancel_timer(Timer),
    timer_loop(N - 1).

spawn_exit(#{n := N}) -> spawn_many(N div 10), #{ns => spawn_many(N) / N}.
spawn_down(#{n := N}) -> spawn_and_wait(N div 10), #{ns => spawn_and_wait(N) / N}.
timer(#{n := N}) -> set_and_cancel(N div 10), #{ns => set_and_cancel(N) / N}.
