%% Runs scripted state machines on gen_statem and prints what their callbacks saw.
%%
%% erl -noshell -pa DIR -s order main FILE
%%
%% FILE holds terms {Id, Enter, InitActions, Script, Externals}, see __main__.py. The n-th callback answers with the
%% n-th {EventResponse, EnterResponse} of the script, later ones with keep_state. One line of JSON a machine.
-module(order).
-behaviour(gen_statem).
-export([main/1, init/1, callback_mode/0, handle_event/4]).

main([File]) ->
    {ok, Machines} = file:consult(atom_to_list(File)),
    lists:foreach(fun run/1, Machines),
    halt().

run({Id, Enter, InitActions, Script, Externals}) ->
    persistent_term:put(enter, Enter),
    {ok, Pid} = gen_statem:start(?MODULE, {InitActions, Script}, []),
    lists:foreach(fun({cast, X}) -> gen_statem:cast(Pid, X); ({info, X}) -> Pid ! X end, Externals),
    {State, {_, Log}} = sys:get_state(Pid),
    {status, _, _, [_, _, _, _, Misc]} = sys:get_status(Pid),
    Data = lists:append([D || {data, D} <- Misc]),
    Postponed = proplists:get_value("Postponed", Data),
    {_, Timers} = proplists:get_value("Time-outs", Data),
    io:format("[~p, ~ts, \"~p\", ~ts, ~ts]~n",
              [Id, seen(lists:reverse(Log)), State, seen([kind(E) || E <- Postponed]),
               json(lists:sort([key(T) || T <- Timers]))]),
    exit(Pid, kill).

seen(List) -> json([[T, integer_to_list(C), atom_to_list(S)] || {T, C, S} <- List]).
kind({Type, Content}) -> {name(Type), Content, '-'}.
key({Type, Content}) -> [name(Type), integer_to_list(Content)].
name({timeout, Name}) -> "timeout " ++ atom_to_list(Name);
name(timeout) -> "event_timeout";
name(Type) -> atom_to_list(Type).

json([]) -> "[]";
json(List = [First | _]) when is_list(First) -> ["[", lists:join(", ", [json(X) || X <- List]), "]"];
json(Text) -> ["\"", Text, "\""].

callback_mode() ->
    case persistent_term:get(enter) of
        true -> [handle_event_function, state_enter];
        false -> handle_event_function
    end.

init({Actions, Script}) -> {ok, s0, {Script, []}, Actions}.

handle_event(enter, Old, State, {Script, Log}) ->
    answer(enter, {Script, [{"enter", list_to_integer(tl(atom_to_list(Old))), State} | Log]});
handle_event(Type, Content, State, {Script, Log}) ->
    answer(event, {Script, [{name(Type), Content, State} | Log]}).

answer(_, {[], Log}) -> {keep_state, {[], Log}};
answer(Which, {[{Event, Enter} | Script], Log}) ->
    Data = {Script, Log},
    case case Which of event -> Event; enter -> Enter end of
        {next, State, Actions} -> {next_state, State, Data, Actions};
        {keep, Actions} -> {keep_state, Data, Actions};
        {repeat, Actions} -> {repeat_state, Data, Actions}
    end.
