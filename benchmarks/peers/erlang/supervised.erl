%% The child of the supervision scenarios.
-module(supervised).
-behaviour(gen_server).
-export([init/1, handle_call/3, handle_cast/2]).

init({tell, Boss}) -> Boss ! {up, self()}, {ok, none};
init({keep, Number}) -> {ok, Number}.

handle_call(_, _, State) -> {reply, ok, State}.
handle_cast(_, State) -> {noreply, State}.
