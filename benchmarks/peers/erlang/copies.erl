%% Messages that have to be copied: batches of them to a process that answers when it has them all.
-module(copies).
-export([copies/1]).

-define(BATCH, 100).

%% Made at run time from an argument: literals of a module are not copied when they are sent.
term("dict", N) ->
    #{number => 12340 + N,
      customer => #{name => text("Ada Lovelace", N), mail => text("ada@example.org", N),
                    roles => [text("admin", N), text("author", N), text("reader", N)]},
      items => [#{article => text("article-1", N), price => 9.75 * K, count => K,
                  options => [text("small", N), text("blue", N)], note => none}
                || K <- lists:seq(N, N + 5)],
      note => binary:copy(text("please ring twice; ", N), 12),
      paid => false};
term("list", N) -> lists:seq(999 + N, 1098 + N);
term("frozen", N) -> {order, 6 + N, text("Ada Lovelace", N), {text("new", N), text("large", N)}};
term("dataclass", N) ->
    {job, 6 + N, text("Ada Lovelace", N), [text("new", N), text("large", N)], #{cpu => 1 + N, memory => 3 + N}}.

text(String, N) -> iolist_to_binary([String, integer_to_list(N)]).

sink(Boss) ->
    take(?BATCH),
    Boss ! got_them,
    sink(Boss).

take(0) -> ok;
take(N) -> receive _ -> take(N - 1) end.

post(_To, _Term, 0) -> ok;
post(To, Term, N) -> To ! Term, post(To, Term, N - 1).

batches(_To, _Term, 0) -> ok;
batches(To, Term, N) ->
    post(To, Term, ?BATCH),
    receive got_them -> ok end,
    batches(To, Term, N - 1).

copies(#{n := Count, kind := Kind}) ->
    Boss = self(),
    Term = term(Kind, length(pid_to_list(Boss)) div 100 + 1),
    Sink = spawn(fun() -> sink(Boss) end),
    Rounds = Count div ?BATCH,
    batches(Sink, Term, max(1, Rounds div 10)),
    Start = bench:now_ns(),
    batches(Sink, Term, Rounds),
    #{ns => (bench:now_ns() - Start) / (Rounds * ?BATCH)}.
