%% What processes cost while they do nothing, and a million of them in one run.
-module(memory).
-export([idle_bytes/1, million/1, idle_cpu/1, live/1, rss_bytes/0]).

waits() -> receive _ -> waits() end.

spawn_waiting(0) -> ok;
spawn_waiting(N) -> spawn(fun waits/0), spawn_waiting(N - 1).

idle_bytes(#{n := Count}) ->
    spawn_waiting(1000),
    timer:sleep(200),
    {Rss, Heap} = {rss_bytes(), erlang:memory(processes)},
    Probe = spawn(fun waits/0),
    spawn_waiting(Count - 1),
    timer:sleep(500),
    {memory, Info} = process_info(Probe, memory),
    #{bytes => (rss_bytes() - Rss) / Count,
      memory_processes => (erlang:memory(processes) - Heap) / Count,
      process_info => Info}.

rss_bytes() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Text, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.

member() -> receive {Who, N} -> Who ! N + 1 end.

million(#{n := Count}) ->
    Before = erlang:system_info(process_count),
    Start = bench:now_ns(),
    Pids = [spawn(fun member/0) || _ <- lists:seq(1, Count)],
    Created = bench:now_ns(),
    Live = erlang:system_info(process_count) - Before,
    number(Pids, 0),
    Total = sum(Count, 0),
    bench:wait_for_count(Before),
    End = bench:now_ns(),
    Total = Count * (Count + 1) div 2,
    #{seconds => (End - Start) / 1.0e9, create_s => (Created - Start) / 1.0e9, live => Live}.

number([], _N) -> ok;
number([Pid | Rest], N) -> Pid ! {self(), N}, number(Rest, N + 1).

sum(0, Total) -> Total;
sum(Count, Total) -> receive N -> sum(Count - 1, Total + N) end.

idle_cpu(#{seconds := Seconds}) ->
    timer:sleep(500),
    Before = cpu_ms(),
    timer:sleep(Seconds * 1000),
    #{percent => 100 * (cpu_ms() - Before) / (Seconds * 1000)}.

cpu_ms() -> element(1, erlang:statistics(runtime)).

%% As many alive at once as are asked for, each receives one message and answers it.
live(#{n := Count}) ->
    {Resident, Before} = {rss_bytes(), erlang:system_info(process_count)},
    Start = bench:now_ns(),
    Total = portions(Count, 0),
    End = bench:now_ns(),
    Live = erlang:system_info(process_count) - Before,
    true = Total > 0,
    #{live => Live, bytes => (rss_bytes() - Resident) / Count, seconds => (End - Start) / 1.0e9}.

portions(0, Total) -> Total;
portions(Left, Total) ->
    Size = min(Left, 10000),
    Pids = [spawn(fun echo/0) || _ <- lists:seq(1, Size)],
    number(Pids, 0),
    Sum = sum(Size, 0),
    Sum = Size * (Size + 1) div 2,
    portions(Left - Size, Total + Sum).

echo() -> receive {Who, N} -> Who ! N + 1, echo() end.
